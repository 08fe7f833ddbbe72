"""Real files out of pinned wheels, as the file-type classifier magika wants to see them.

Reproducible: the wheels by hash, the samples ordered by the digest of their features.
"""

import hashlib
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from e2e.demo.shards import Arrays

MODEL_SHA256: Final = "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"
MODEL_FOLDER: Final = "magika/models/standard_v3_3"
INPUT: Final = "bytes"
PADDING: Final = 256  # the token after the 256 byte values
BLOCK: Final = 4096  # bytes looked at from each end of a file
HALF: Final = 1024  # of them, tokens kept from each end
LEAST: Final = 8  # a file with fewer bytes is not for the model

CALIBRATION_SAMPLES: Final = 200
VALIDATION_SAMPLES: Final = 1200  # enough to certify a drop of at most 1 %
SEALED_PER_KIND: Final = 450
LIVE_PER_KIND: Final = 1500
NARROW_KIND: Final = "javascript"
NARROW_SAMPLES: Final = 320  # enough to certify a drop of at most 1 % where nothing is lost

# Extensions that say nothing of what is inside: any text, and in these wheels mostly templates.
NO_LABEL: Final = {"txt", "html", "htm"}
# Extensions that the model's own table lacks.
MORE_EXTENSIONS: Final = {"so": "elf", "psm1": "powershell", "pxd": "python", "pyx": "python", "cfg": "ini"}


@dataclass(frozen=True)
class Sample:
    """One file: what the model sees of it, and which class its name says it is."""

    digest: str  # sha256 of the features: equal to the model means equal here
    kind: str
    label: int
    features: NDArray[np.int32]  # [2048]


@dataclass(frozen=True)
class Classes:
    """The model's classes and the extensions that name exactly one of them."""

    names: tuple[str, ...]
    by_extension: Mapping[str, str]

    def of(self, path: str) -> str | None:
        """The class that a file's name says, if it says one."""
        return self.by_extension.get(PurePosixPath(path).suffix.lstrip(".").lower())


def read_model(wheels: Iterable[Path]) -> tuple[bytes, Classes]:
    """The ONNX model's bytes, verified, and its classes."""
    wheel = next(each for each in wheels if each.name.startswith("magika-"))
    with zipfile.ZipFile(wheel) as archive:
        model = archive.read(f"{MODEL_FOLDER}/model.onnx")
        config = json.loads(archive.read(f"{MODEL_FOLDER}/config.min.json"))
        kinds = json.loads(archive.read("magika/config/content_types_kb.min.json"))
    found = hashlib.sha256(model).hexdigest()
    if found != MODEL_SHA256:
        message = f"model.onnx of {wheel.name}: sha256 is {found}; allowed: {MODEL_SHA256}"
        raise ValueError(message)
    return model, classes_of(config["target_labels_space"], kinds)


def classes_of(names: Sequence[str], kinds: Mapping[str, Mapping[str, Sequence[str]]]) -> Classes:
    """Extensions that name exactly one class; one that names two is no label."""
    claims: dict[str, set[str]] = defaultdict(set)
    for name in names:
        for extension in kinds[name]["extensions"]:
            claims[extension].add(name)
    clear = {extension: next(iter(owners)) for extension, owners in claims.items() if len(owners) == 1}
    by_extension = {
        extension: name for extension, name in (MORE_EXTENSIONS | clear).items() if extension not in NO_LABEL
    }
    return Classes(tuple(names), by_extension)


def features(content: bytes) -> NDArray[np.int32] | None:
    """What magika's model sees of a file: int32 [2048], or None where too little is left to look at.

    The first and the last 4,096 bytes, stripped of white space on the outer side, 1,024 tokens of each.
    """
    begin = content[:BLOCK].lstrip()[:HALF]
    end = content[-BLOCK:].rstrip()[-HALF:]
    if len(content) < LEAST or len(begin) < LEAST:
        return None
    tokens = np.full(2 * HALF, PADDING, np.int32)
    tokens[: len(begin)] = np.frombuffer(begin, np.uint8)
    tokens[2 * HALF - len(end) :] = np.frombuffer(end, np.uint8)
    return tokens


def read_samples(wheels: Iterable[Path], classes: Classes) -> list[Sample]:
    """Every distinct file with a label, ordered by digest."""
    index = {name: position for position, name in enumerate(classes.names)}
    found: dict[str, Sample] = {}
    for path, content in _files(wheels):
        kind = classes.of(path)
        tokens = features(content) if kind else None
        if kind and tokens is not None:
            digest = hashlib.sha256(tokens.tobytes()).hexdigest()
            found.setdefault(digest, Sample(digest, kind, index[kind], tokens))
    return sorted(found.values(), key=lambda sample: sample.digest)


def _files(wheels: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    yield entry.filename, archive.read(entry)


def mixed(samples: Iterable[Sample], *, per_kind: int) -> list[Sample]:
    """At most `per_kind` of a class, the first by digest, in an order that mixes the classes."""
    kept: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.digest):
        if len(kept[sample.kind]) < per_kind:
            kept[sample.kind].append(sample)
    # Another order than the one that chose, or the classes with the most files would all come first.
    return sorted((sample for group in kept.values() for sample in group), key=lambda sample: sample.digest[::-1])


@dataclass(frozen=True)
class Split:
    """Sets that share no sample."""

    calibration: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    narrow: tuple[Sample, ...]  # one class only: sealed data that say nothing of the rest
    live: tuple[Sample, ...]


def split(samples: Sequence[Sample]) -> Split:
    """Deal every sample to one set."""
    narrow = [sample for sample in samples if sample.kind == NARROW_KIND][:NARROW_SAMPLES]
    taken = {sample.digest for sample in narrow}
    pool = mixed((sample for sample in samples if sample.digest not in taken), per_kind=SEALED_PER_KIND)
    calibration, validation = pool[:CALIBRATION_SAMPLES], pool[CALIBRATION_SAMPLES:][:VALIDATION_SAMPLES]
    taken |= {sample.digest for sample in (*calibration, *validation)}
    live = mixed((sample for sample in samples if sample.digest not in taken), per_kind=LIVE_PER_KIND)
    return Split(tuple(calibration), tuple(validation), tuple(narrow), tuple(live))


def arrays(samples: Sequence[Sample]) -> Arrays:
    """Arrays of a shard: the model's input [n, 2048] and `label` [n]."""
    return {
        INPUT: np.stack([sample.features for sample in samples]),
        "label": np.array([sample.label for sample in samples], np.int64),
    }
