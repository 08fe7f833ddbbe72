"""Features are those of the magika package; sets share no sample."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from e2e.demo import magika

# What the package's own `_extract_features_from_seekable` (magika 1.0.3) gives, as sha256 of int32 [2048].
OF_THE_PACKAGE = {
    "long": (bytes(range(256)) * 64, "901da7bde2e794ff"),
    "short": (b"def main():\n    return 0\n", "d96c395edf088b49"),
    "white space around": (b" \n\t" * 400 + b"print(1)\n" * 300 + b"\n " * 700, "8860d81b1346f67a"),
    "exactly a half": (b"x" * 1024, "af554859561b1701"),
    "one more than a block": (b" " + b"y" * 4096, "1f2eb6312b306591"),
    "eight bytes": (b"12345678", "bfb16ef82c2ed863"),
    "zeros": (bytes(5000), "9f1dcbc35c350d60"),
}


def sample(number: int, kind: str) -> magika.Sample:
    tokens = np.full(2048, number, np.int32)
    return magika.Sample(hashlib.sha256(tokens.tobytes()).hexdigest(), kind, 0, tokens)


@pytest.mark.parametrize("name", OF_THE_PACKAGE)
def test_features_equal_the_packages_own(name: str) -> None:
    content, digest = OF_THE_PACKAGE[name]
    tokens = magika.features(content)
    assert tokens is not None
    assert tokens.dtype == np.int32
    assert hashlib.sha256(tokens.tobytes()).hexdigest().startswith(digest)


@pytest.mark.parametrize("content", [b"", b"1234567", b" " * 5000, b" " * 4090 + b"1234567"])
def test_what_is_too_short_for_the_model_is_left_out(content: bytes) -> None:
    assert magika.features(content) is None


def test_extension_that_names_two_classes_is_no_label() -> None:
    kinds = {"matlab": {"extensions": ["m"]}, "objectivec": {"extensions": ["m", "mm"]}, "txt": {"extensions": ["txt"]}}
    classes = magika.classes_of(["matlab", "objectivec", "txt"], kinds)
    assert classes.of("a/b.m") is None
    assert classes.of("a/b.MM") == "objectivec"
    assert classes.of("a/b.txt") is None
    assert classes.of("lib/b.so") == "elf"
    assert classes.of("Makefile") is None


def test_mixed_keeps_at_most_so_many_of_a_class_and_does_not_sort_them_by_class() -> None:
    samples = [sample(number, "svg") for number in range(300)] + [sample(300 + number, "po") for number in range(30)]
    kept = magika.mixed(samples, per_kind=50)
    assert Counter(each.kind for each in kept) == {"svg": 50, "po": 30}
    assert kept == magika.mixed(reversed(samples), per_kind=50)
    halves = [sum(each.kind == "svg" for each in part) for part in (kept[:40], kept[40:])]
    assert min(halves) > 15


def test_sets_share_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"CALIBRATION": 20, "VALIDATION": 60, "NARROW": 10}.items():
        monkeypatch.setattr(magika, f"{name}_SAMPLES", size)
    kinds = ("svg", "po", "javascript", "csv")
    parts = magika.split([sample(number, kinds[number % 4]) for number in range(400)])
    sets = [parts.calibration, parts.validation, parts.narrow, parts.live]
    assert [len(each) for each in sets] == [20, 60, 10, 310]
    assert len({each.digest for part in sets for each in part}) == 400
    assert {each.kind for each in parts.narrow} == {"javascript"}
    assert {each.kind for each in parts.validation} == set(kinds)
