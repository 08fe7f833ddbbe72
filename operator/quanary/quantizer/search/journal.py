"""Every evaluation, as it is made: a search that was killed goes on where it was.

One line of JSON each, appended in one write. A line that a kill tore is no JSON, and is ignored.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from quanary.quantizer.machine import cpu_features, tool_versions

_FORMAT: Final = 1
Values = dict[str, float | str]


def key_of(subject: str, metric: str, samples: Iterable[bytes]) -> str:
    """A digest of everything that an evaluation depends on besides the recipe."""
    hasher = hashlib.sha256()
    known = {"format": _FORMAT, "subject": subject, "metric": metric, "tools": tool_versions(), "cpu": cpu_features()}
    hasher.update(json.dumps(known, sort_keys=True).encode())
    for digest in samples:
        hasher.update(digest)
    return hasher.hexdigest()


@dataclass(frozen=True)
class Journal:
    """Values by the key of an evaluation. Of two lines with one key the later stands."""

    path: Path
    known: dict[str, Values]

    @classmethod
    def open(cls, folder: Path, key: str) -> Self:
        """Read what an earlier run with the same key has left."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"search-{key[:32]}.jsonl"
        text = path.read_bytes() if path.exists() else b""
        if text and not text.endswith(b"\n"):
            _append(path, b"\n")  # so that the next line does not join the torn one
        return cls(path, dict(_lines(text)))

    def find(self, key: str) -> Values | None:
        """None: never evaluated."""
        return self.known.get(key)

    def add(self, key: str, values: Values) -> None:
        """On disk when this returns."""
        self.known[key] = values
        _append(self.path, json.dumps({"key": key, **values}).encode() + b"\n")


def _lines(text: bytes) -> Iterable[tuple[str, Values]]:
    for line in text.splitlines():
        try:
            values = json.loads(line)
            yield values.pop("key"), values
        except (ValueError, KeyError, AttributeError, TypeError):
            continue


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
