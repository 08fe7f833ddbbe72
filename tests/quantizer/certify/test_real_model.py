"""A real text reader, on words drawn in a bitmap font: one INT8 artifact reads on, the other reads nothing."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from quanary.quantizer.certify import certify_front, is_certified, open_metric
from quanary.quantizer.data import Sample
from quanary.quantizer.graph import normalize
from quanary.quantizer.inference import Array, Model, open_model
from tests.quantizer.real_models import REC

WORDS, SCALE, HEIGHT = 40, 4, 48
GLYPHS: Final = {
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "N": "10001 11001 10101 10101 10011 10001 10001",
    "P": "11110 10001 10001 11110 10000 10000 10000",
    "F": "11111 10000 10000 11110 10000 10000 10000",
    "7": "11111 00001 00010 00100 00100 01000 01000",
}


def draw(word: str) -> Array:
    """Dark on light, [1, 3, 48, width], -1 to 1, edges softened."""
    columns = [np.zeros((7, 2))]
    for letter in word:
        columns += [np.array([list(row) for row in GLYPHS[letter].split()], float), np.zeros((7, 1))]
    ink = np.kron(np.hstack([*columns, np.zeros((7, 2))]), np.ones((SCALE, SCALE)))
    page = np.pad(ink, ((10, HEIGHT - 10 - len(ink)), (0, max(0, 64 - ink.shape[1]))))
    for axis in (0, 1):
        page = (np.roll(page, 1, axis) + 2 * page + np.roll(page, -1, axis)) / 4
    return np.repeat((1 - 2 * page)[None], 3, axis=0)[None].astype(np.float32)


@pytest.fixture(scope="module")
def reader() -> Model:
    return open_model(REC.path(), "spec.model.uri")


@pytest.fixture(scope="module")
def samples(reader: Model) -> list[Sample]:
    letters = np.random.default_rng(1)
    words = ["".join(letters.choice(list(GLYPHS), letters.integers(4, 8))) for _ in range(WORDS)]
    feeds = [{reader.inputs[0].name: draw(word)} for word in words]
    return [Sample("a.npz", i, feed, np.array(word)) for i, (feed, word) in enumerate(zip(feeds, words, strict=True))]


def artifact(source: Path, name: str, *operators: str) -> Model:
    path = source.with_name(name)
    quantize_dynamic(source, path, op_types_to_quantize=list(operators), per_channel=True, weight_type=QuantType.QInt8)
    return open_model(path, "spec.model.uri")


def test_a_front_of_readers_is_certified_by_its_character_errors(
    tmp_path: Path, reader: Model, samples: list[Sample]
) -> None:
    source = normalize(reader, tmp_path, samples[:2]).path
    front = [artifact(source, "safe.onnx", "MatMul"), artifact(source, "fast.onnx", "MatMul", "Conv")]
    vocabulary = tuple(reader.session.get_modelmeta().custom_metadata_map["character"].splitlines())
    metric = open_metric("cer", vocabulary=vocabulary)
    safe, fast = certify_front(reader, front, samples, metric, max_drop=0.15, confidence=0.95, opening=1)
    assert safe.float_ < 0.1
    assert is_certified(safe)
    assert fast.int8 > 0.5
    assert fast.drop > fast.max_drop
    assert safe.interval.startswith("approximate")
    assert fast.disagreement == 1
