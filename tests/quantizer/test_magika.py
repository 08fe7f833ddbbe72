"""The claims on a real model: magika's file-type classifier, judged on real files of this machine's Python."""

import bz2
import gzip
import json
import lzma
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from typing_extensions import override

from quanary.quantizer.__main__ import main
from tests.quantizer.models import save_shards
from tests.quantizer.real_models import MAGIKA, MAGIKA_LABELS

KINDS = {".py": "python", ".pyc": "pythonbytecode", ".so": "elf", ".json": "json", ".txt": "txt"}
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip": bz2.compress,
    "xz": lzma.compress,
}  # of Python files
PER_KIND = 15
CALIBRATION = 24


def features(content: bytes) -> npt.NDArray[np.int32]:
    """As the model's maker does it: 1,024 bytes from either end, blanks stripped, 256 where there is none."""
    begin, end = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
    row = np.full(2048, 256, np.int32)
    row[: len(begin)] = np.frombuffer(begin, np.uint8)
    row[2048 - len(end) :] = np.frombuffer(end, np.uint8)
    return row


def files() -> Iterator[tuple[bytes, str]]:
    """Contents of files of installed packages and their kind, `PER_KIND` of each, spread over all there are."""
    by_suffix: dict[str, list[Path]] = {suffix: [] for suffix in KINDS}
    for path in sorted(Path(sysconfig.get_path("purelib")).rglob("*")):
        if path.suffix in by_suffix and path.stat().st_size > 0:
            by_suffix[path.suffix].append(path)
    for suffix, paths in by_suffix.items():
        spread = paths[:: max(1, len(paths) // PER_KIND)][:PER_KIND]
        yield from ((path.read_bytes(), KINDS[suffix]) for path in spread)
        if suffix == ".py":
            yield from ((pack(path.read_bytes()), kind) for path in spread for kind, pack in PACKED.items())


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Calibration and sealed data, disjoint, kinds mixed."""
    labels = json.loads(MAGIKA_LABELS.path().read_text())["target_labels_space"]
    rows = [(features(content), labels.index(kind)) for content, kind in files()]
    order = np.random.default_rng(0).permutation(len(rows))
    inputs = np.stack([rows[index][0] for index in order])
    label = np.array([rows[index][1] for index in order])
    folder = tmp_path_factory.mktemp("magika")
    calibration = save_shards(folder / "calibration", {"bytes": inputs[:CALIBRATION]})
    half = (len(rows) + CALIBRATION) // 2
    parts = (slice(CALIBRATION, half), slice(half, None))
    return calibration, save_shards(
        folder / "sealed", *({"bytes": inputs[part], "label": label[part]} for part in parts)
    )


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, folder: Path, samples: int) -> None:
        self._rows = iter(np.load(folder / "shard-000.npz")["bytes"][:samples])

    @override
    def get_next(self) -> dict[str, Any] | None:
        row = next(self._rows, None)
        return None if row is None else {"bytes": row[None]}


def quantize(sets: tuple[Path, Path], out: Path, *more: str) -> dict[str, Any]:
    words = [str(MAGIKA.path()), "--validation", str(sets[1]), "--metric", "accuracy", "--max-drop", "0.08"]
    assert main([*words, "--out", str(out), "--min-speedup", "0.1", *more]) == 0
    report: dict[str, Any] = json.loads((out / "report.json").read_text())
    return report


pytestmark = pytest.mark.usefixtures("quick_benefit")


def test_compute_nodes_with_channel_scales_keep_the_accuracy(sets: tuple[Path, Path], tmp_path: Path) -> None:
    fixed = ("--strategy", "static", "--max-evaluations", "1")
    report = quantize(sets, tmp_path / "out", "--calibration", str(sets[0]), *fixed)
    assert report["verdict"] == "Beneficial"
    assert report["signoff"]["float"] > 0.7
    assert report["signoff"]["dropUpperBound"] <= 0.08
    assert report["artifact"]["sizeRatio"] < 0.3
    assert len(report["graph"]["quantizedNodes"]) == 3


def test_the_literal_defaults_of_the_library_ruin_the_model_and_are_refused(
    sets: tuple[Path, Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.onnx"
    quantize_static(MAGIKA.path(), bad, Reader(sets[0], CALIBRATION))
    report = quantize(sets, tmp_path / "out", "--provided", str(bad))
    assert report["verdict"] == "OverBudget"
    assert report["signoff"]["drop"] > 0.5
