"""Features are those of the magika package; sets share no sample."""

import hashlib
import importlib.util
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2e.demo import magika
from e2e.demo.build import cache_folder

WHEEL = cache_folder() / "downloads" / "magika-1.0.3-py3-none-manylinux_2_28_x86_64.whl"
CONTENTS = {
    "long": bytes(range(256)) * 64,
    "short": b"def main():\n    return 0\n",
    "white space around": b" \n\t" * 400 + b"print(1)\n" * 300 + b"\n " * 700,
    "exactly a half": b"x" * 1024,
    "one more than a block": b" " + b"y" * 4096,
    "eight bytes": b"12345678",
    "zeros": bytes(5000),
}


def sample(number: int, kind: str) -> magika.Sample:
    tokens = np.full(2048, number, np.int32)
    return magika.Sample(hashlib.sha256(tokens.tobytes()).hexdigest(), kind, 0, tokens)


def packages_own(content: bytes) -> Any:
    """What the package itself extracts, its two modules loaded without its other dependencies."""
    package = types.ModuleType("magika_of_the_wheel")
    package.__path__ = [str(WHEEL / "magika" / "types")]
    with zipfile.ZipFile(WHEEL) as archive:
        source = archive.read("magika/magika.py").decode()
        seekable_source = archive.read("magika/types/seekable.py").decode()
    names: dict[str, Any] = {}
    exec(compile(seekable_source, "seekable.py", "exec"), names)
    functions = source[source.index("    @staticmethod\n    def _extract_features_from_seekable") :]
    functions = functions[: functions.index("    def _get_model_outputs_from_features")]
    names["ModelFeatures"] = types.SimpleNamespace
    code = "from __future__ import annotations\nfrom typing import List\nclass Magika:\n" + functions
    exec(compile(code, "magika.py", "exec"), names)
    found = names["Magika"]._extract_features_from_seekable(
        names["Buffer"](content) if "Buffer" in names else names["Seekable"](__import__("io").BytesIO(content)),
        1024,
        0,
        1024,
        256,
        4096,
        False,
    )
    return found.beg + found.end
