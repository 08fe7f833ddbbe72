"""Four real models with real data: a speech detector, a file-type classifier, a text classifier, a text reader."""

import ast
import hashlib
import io
import shutil
import subprocess
import tarfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from e2e.demo import build, download
from tests.quantizer.real_models import CLS, REC

HERE: Final = Path(__file__).parent
LINES: Final = 1400
CALIBRATION_LINES: Final = 300


@dataclass(frozen=True)
class Case:
    """A model, two folders of shards, and what must hold."""

    name: str
    model: Path
    calibration: Path
    validation: Path
    metric: str
    max_drop: float


def make(work: Path, python: Path) -> list[Case]:
    """All four. `python` is the peer's, that draws the text."""
    files = build.build()
    cases = []
    for name, metric, drop in (("silero-vad", "agreement", 0.02), ("magika", "accuracy", 0.01)):
        folders = {
            part: _unpack(files[f"{name}:{part}"].path, work / name / part) for part in ("calibration", "validation")
        }
        cases.append(
            Case(name, files[f"{name}:model"].path, folders["calibration"], folders["validation"], metric, drop)
        )
    drawn = _draw(work / "text", python)
    for name, model, pattern, metric, drop in (
        ("cls", CLS.path(), "cls.npz", "accuracy", 0.02),
        ("rec", REC.path(), "rec-*.npz", "cer", 0.01),
    ):
        calibration, validation = _part(sorted(drawn.glob(pattern)), work / name)
        cases.append(Case(name, model, calibration, validation, metric, drop))
    return cases


def _unpack(archive: Path, to: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(to, filter="data")
    return to


def _draw(work: Path, python: Path) -> Path:
    work.mkdir(parents=True)
    cache = build.cache_folder() / "downloads"
    (work / "lines.txt").write_text("\n".join(_lines(download.wheels(cache))))
    fonts = download.debian(
        cache, "fonts-dejavu-core", "2.37-6", "8892669e51aab4dc56682c8e39d8ddb7d70fad83c369344e1e240bf3ca22bb76"
    )
    subprocess.run(["dpkg-deb", "--extract", fonts, work / "fonts"], check=True)
    subprocess.run([python, HERE / "render.py", work / "lines.txt", work / "fonts", work], check=True)
    return work


def _lines(wheels: Sequence[Path]) -> list[str]:
    """First lines of docstrings in pinned wheels: real English, ordered by digest."""
    found = {line for wheel in wheels for line in _docstrings(wheel)}
    return sorted(found, key=lambda line: hashlib.sha256(line.encode()).digest())[:LINES]


def _docstrings(wheel: Path) -> Iterator[str]:
    if not wheel.name.startswith(("docutils", "sphinx", "statsmodels", "nbconvert")):
        return
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.namelist():
            if entry.endswith(".py"):
                yield from _first_lines(archive.read(entry))


def _first_lines(source: bytes) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            line = (ast.get_docstring(node) or "").partition("\n")[0]
            if 12 <= len(line) <= 28 and line.isascii() and line.isprintable():
                yield line


def _part(shards: Sequence[Path], to: Path) -> tuple[Path, Path]:
    """A fixed share of each shard calibrates, the rest is sealed."""
    folders = to / "calibration", to / "validation"
    for folder in folders:
        folder.mkdir(parents=True)
    for shard in shards:
        with np.load(shard) as arrays:
            whole = dict(arrays)
        cut = len(whole["label"]) * CALIBRATION_LINES // LINES
        for folder, rows in zip(folders, (slice(0, cut), slice(cut, None)), strict=True):
            if len(whole["label"][rows]):
                buffer = io.BytesIO()
                np.savez(buffer, **{name: array[rows] for name, array in whole.items()})
                (folder / shard.name).write_bytes(buffer.getvalue())
    return folders


def clear(work: Path) -> Path:
    """A new folder."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    return work
