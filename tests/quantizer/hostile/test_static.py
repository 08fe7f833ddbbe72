"""What is refused for what it says of itself, before anything is loaded."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from quanary.quantizer.graph import limits
from quanary.quantizer.graph.read import read_graph
from quanary.quantizer.graph.source import locate_model
from quanary.wire.report import RefusedError
from tests.quantizer.hostile.corpus import STATIC, TARS, Hostile, functions, linear, nested, whole, write
from tests.quantizer.models import classifier


def names(hostile: Hostile) -> str:
    return hostile.name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One below the test's own, so that there is something outside of it."""
    inner = tmp_path / "model"
    inner.mkdir()
    return inner


@pytest.mark.parametrize("hostile", STATIC, ids=names)
def test_a_hostile_model_is_refused_for_what_it_says(folder: Path, hostile: Hostile) -> None:
    path = hostile.build(folder)
    with pytest.raises(RefusedError) as caught:
        read_graph(path, "spec.model.uri")
    refusal = caught.value.refusal
    assert refusal.field == "spec.model.uri"
    assert hostile.found in refusal.found
    assert hostile.allowed in refusal.allowed


@pytest.mark.parametrize("hostile", TARS, ids=names)
def test_a_hostile_tar_is_refused_and_nothing_of_it_leaves_its_folder(folder: Path, hostile: Hostile) -> None:
    path = hostile.build(folder)
    with pytest.raises(RefusedError) as caught:
        locate_model(path, folder / "unpacked", lambda *words: RefusedError("spec.model.uri", *words))
    assert hostile.found in caught.value.refusal.found
    assert hostile.allowed in caught.value.refusal.allowed
    assert sorted(each.name for each in folder.parent.iterdir()) == ["model"]


def test_a_file_larger_than_a_protobuf_is_refused_unread(folder: Path) -> None:
    path = write(folder, b"")
    with path.open("r+b") as file:
        file.truncate(3 << 30)
    with pytest.raises(RefusedError, match=r"3221225472 bytes.*weights as external data, in a folder or tar"):
        read_graph(path)


@pytest.mark.parametrize(("limit", "words"), [("NODES", "1 nodes; allowed: at most 0"), ("TENSORS", "0 tensors")])
def test_counts_have_a_limit(folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str, words: str) -> None:
    monkeypatch.setattr(limits, limit, 0)
    with pytest.raises(RefusedError, match=words):
        read_graph(whole(linear())(folder))


def test_a_link_is_refused_without_a_look_at_what_it_leads_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe or a device may be behind it, and a file may change after the look."""
    hostile = next(each for each in STATIC if each.name == "symlink")
    opened: list[int] = []
    monkeypatch.setattr(os, "fdopen", lambda handle, *_: opened.append(handle))
    with pytest.raises(RefusedError, match="a symbolic link"):
        read_graph(hostile.build(folder))
    assert opened == []


@pytest.mark.parametrize("seed", range(4))
def test_damage_anywhere_is_refused_or_harmless(folder: Path, seed: int) -> None:
    """Whatever is wrong, it is said as a refusal: no other exception comes out."""
    draw = np.random.default_rng(seed)
    onnx.save(classifier(), folder / "whole.onnx", save_as_external_data=True, location="w", size_threshold=16)
    sources = [linear(), nested(3), functions(("F", ["G"]), ("G", ["Relu"]))]
    content = [each.SerializeToString() for each in sources] + [(folder / "whole.onnx").read_bytes()]
    refused = 0
    for turn in range(300):
        damaged = bytearray(content[turn % len(content)])
        for _ in range(draw.choice([1, 2, 4, 16])):
            damaged[draw.integers(len(damaged))] = draw.integers(256)
        try:
            read_graph(write(folder, bytes(damaged)))
        except RefusedError:
            refused += 1
    assert 0 < refused < 300
