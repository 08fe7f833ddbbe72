"""Everything the demo brings along, made once into a cache: two models, their data, and two bad INT8 models.

The bad models are no sabotage: both are what `onnxruntime.quantization.quantize_static` gives with every operator
quantized, as it does by default. magika's layer norm does not survive that: one class wins whatever comes in.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from e2e.demo import download, magika, speech
from e2e.demo.shards import Arrays, first, write_tar

SMALL_SAMPLES: Final = 250  # of the sealed ones: enough to certify a drop of at most 2 %
CALIBRATION_OF_BAD: Final = 24  # the library keeps every activation of every sample in memory
LIVE: Final = "live"


@dataclass(frozen=True)
class File:
    """One file and its identity."""

    path: Path
    sha256: str


# By reference without registry: `magika:model`, `magika:live`, …
Files = Mapping[str, File]


def cache_folder() -> Path:
    """Where downloads and what is made of them lie."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quanary" / "demo"


def build(cache: Path | None = None) -> Files:
    """Make what is missing; a second call only reads the manifest."""
    root = cache or cache_folder()
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"built-{_recipe()}"
    manifest = folder / "manifest.json"
    if not manifest.exists():
        with tempfile.TemporaryDirectory(dir=root, prefix="build-") as work:
            made = Path(work) / "made"
            made.mkdir()
            _make(root / "downloads", made)
            digests = {path.name: _digest(path) for path in sorted(made.iterdir())}
            (made / "manifest.json").write_text(json.dumps(digests, indent=1))
            # All or nothing: a build that was broken off is no build. Those of other recipes are of no more use.
            for old in root.glob("built-*"):
                shutil.rmtree(old)
            made.rename(folder)
    read = json.loads(manifest.read_text())
    return {_reference(name): File(folder / name, digest) for name, digest in read.items()}


def load_live(files: Files, model: str) -> Arrays:
    """Inputs of a model's live traffic, by input name, and `answer` where float's is known; one row a request."""
    with np.load(files[f"{model}:{LIVE}"].path) as archive:
        return {name: archive[name] for name in archive.files}


def _reference(file: str) -> str:
    """`magika--int8-defaults.onnx` -> `magika:int8-defaults`."""
    return file.rsplit(".", 1)[0].replace("--", ":")


def _recipe() -> str:
    """Digest of the code that makes the data and of what it downloads."""
    here = Path(__file__).parent
    names = ("requirements.txt", "download.py", "magika.py", "speech.py", "shards.py", "build.py")
    return hashlib.sha256(b"".join((here / name).read_bytes() for name in names)).hexdigest()[:12]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _make(downloads: Path, out: Path) -> None:
    wheels = download.wheels(downloads)
    _make_magika(wheels, out)
    _make_speech(wheels, download.speech(downloads), out)


def _make_magika(wheels: Sequence[Path], out: Path) -> None:
    model, classes = magika.read_model(wheels)
    parts = magika.split(magika.read_samples(wheels, classes))
    path, calibration = out / "magika--model.onnx", magika.arrays(parts.calibration)
    path.write_bytes(model)
    write_tar(out / "magika--calibration.tar", calibration)
    write_tar(out / "magika--validation.tar", magika.arrays(parts.validation))
    write_tar(out / "magika--validation-small.tar", magika.arrays(parts.validation[:SMALL_SAMPLES]))
    write_tar(out / "magika--narrow.tar", magika.arrays(parts.narrow))
    live = {magika.INPUT: magika.arrays(parts.live)[magika.INPUT][:, None]}
    np.savez_compressed(out / f"magika--{LIVE}.npz", **live)  # type: ignore[arg-type]
    inputs = first(calibration, CALIBRATION_OF_BAD)[magika.INPUT]
    quantize_everything(path, out / "magika--int8-defaults.onnx", inputs, {})
    quantize_everything(path, out / "magika--int8-all-ops.onnx", inputs, _unsigned())


def _make_speech(wheels: Sequence[Path], package: Path, out: Path) -> None:
    model = speech.read_model(wheels)
    sets = speech.make_sets(model, speech.read_clips(package))
    (out / "silero-vad--model.onnx").write_bytes(model)
    write_tar(out / "silero-vad--calibration.tar", _without_answer(sets.calibration))
    write_tar(out / "silero-vad--validation.tar", _without_answer(sets.validation))
    np.savez_compressed(out / f"silero-vad--{LIVE}.npz", **sets.live)  # type: ignore[arg-type]


def _without_answer(arrays: Arrays) -> Arrays:
    return {name: array for name, array in arrays.items() if name != speech.ANSWER}


def _unsigned() -> dict[str, Any]:
    """Unsigned activations, as the library's documentation advises; every operator still."""
    from onnxruntime.quantization import QuantType  # noqa: PLC0415  slow to import, and seldom needed

    return {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}


def quantize_everything(model: Path, out: Path, inputs: NDArray[np.int32], options: Mapping[str, Any]) -> None:
    """`quantize_static` with no choice of operators: what a user writes first. `inputs` is [n, 2048]."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    from onnxruntime.quantization import CalibrationDataReader, quantize_static  # noqa: PLC0415

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows = iter(inputs)

        @override
        def get_next(self) -> dict[str, NDArray[np.int32]] | None:
            row = next(self._rows, None)
            return None if row is None else {magika.INPUT: row[None]}

    quantize_static(model, out, Reader(), **options)


if __name__ == "__main__":
    for reference, file in build().items():
        print(f"{reference:28}{file.sha256}  {file.path}")
    sys.exit(0)
