"""A real speech detector on recorded speech: the same samples and answers whatever the format, clips kept together."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from e2e.demo import build, download, speech
from quanary.artifacts.verify import Wanted
from quanary.quantizer.data import DataSet, content_of, gather_data, split
from quanary.quantizer.inference import Array, Model, open_model
from tests.quantizer.data.sets import FIELD, fixed_lists, lists, npz, save_parquet, tar_of
from tests.quantizer.models import save_shards
from tests.quantizer.real_models import VAD

CLIPS, FRAMES = 16, 8  # of each clip, evenly spread

ENTRY = """
import numpy as np
from pathlib import Path

def frames():
    with np.load(Path(__file__).parent / "npz" / "shard-000.npz") as shard:
        rows = {name: shard[name] for name in shard.files}
    for index in range(len(rows["input"])):
        yield {name: values[index] for name, values in rows.items()}
"""


@pytest.fixture(scope="module")
def model() -> Model:
    return open_model(VAD.path(), "spec.model.uri")


@pytest.fixture(scope="module")
def frames(model: Model) -> dict[str, Array]:
    """Frames of recorded prompts with the state that the model had reached there; a clip is a group."""
    cache = build.cache_folder() / "downloads"
    rows: list[dict[str, Array]] = []
    for number, clip in enumerate(speech.read_clips(download.speech(cache))[:CLIPS]):
        state = {"h": np.zeros(speech.STATE, np.float32), "c": np.zeros(speech.STATE, np.float32)}
        stream = []
        for frame in speech.frames(clip):
            stream.append({"input": frame, "group": np.array(f"clip {number}")} | state)
            feed = {name: stream[-1][name] for name in ("input", "h", "c")}
            _, state["h"], state["c"] = model.run(feed)
            state = dict(state)
        rows += stream[:: max(1, len(stream) // FRAMES)][:FRAMES]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def forms(frames: dict[str, Array], folder: Path) -> dict[str, str]:
    """The same data by format, as a person would name it."""
    nested = {name: lists(rows) for name, rows in frames.items() if name != "group"}
    flat = {name: fixed_lists(rows.reshape(len(rows), -1)) for name, rows in frames.items() if name != "group"}
    group = {"group": pa.array(frames["group"].tolist())}
    save_shards(folder / "npz", frames)
    (folder / "loader.py").write_text(ENTRY)
    return {
        "npz": str(folder / "npz"),
        "tar": str(tar_of(folder / "d.tar.gz", ("a.npz", npz(**frames)), mode="w:gz")),
        "nested": str(save_parquet(folder / "nested" / "a.parquet", nested | group, row_group_size=50)),
        "flat": str(save_parquet(folder / "flat.parquet", flat | group)),
        "function": f"{folder}/loader.py:frames",
    }


def test_samples_groups_and_answers_are_the_same_in_every_format(
    model: Model, frames: dict[str, Array], tmp_path: Path
) -> None:
    sets: dict[str, DataSet] = {}
    for name, uri in forms(frames, tmp_path).items():
        wanted = Wanted(uri, "", FIELD)
        sets[name] = gather_data(wanted, tmp_path, model.inputs, insecure_hosts=frozenset(), code=name == "function")
    contents = {name: content_of(data) for name, data in sets.items()}
    assert len(contents["npz"].group_names) == CLIPS
    assert all(content == contents["npz"] for content in contents.values())
    answers = {name: [float(model.run(each.feed)[0].ravel()[0]) for each in data.read()] for name, data in sets.items()}
    assert all(each == answers["npz"] for each in answers.values())
    assert min(answers["npz"]) < 0.2 < 0.8 < max(answers["npz"])
    parts = {name: split(data, 60, frozenset(), frozenset()) for name, data in sets.items()}
    assert len({each.calibration.sha256 for each in parts.values()}) == 1
    clips = [{each.group for each in part.read()} for part in (parts["flat"].calibration, parts["flat"].tuning)]
    assert not clips[0] & clips[1]
    assert len(clips[0] | clips[1]) == CLIPS
