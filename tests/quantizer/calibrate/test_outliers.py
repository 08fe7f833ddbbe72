from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper, shape_inference

from quanary.quantizer.calibrate import Calibration
from quanary.quantizer.calibrate.outliers import INPUT_GAP, LEAST_SAMPLES, judge
from quanary.quantizer.inference import Array, answer_of, open_model
from quanary.quantizer.making import make
from quanary.quantizer.recipe import Method, Recipe
from tests.quantizer.calibrate.sources import calibrated, data_of
from tests.quantizer.models import classifier, images, model_of, save, weights

WILD = 7
PROTOTYPES = 6


def one_wild(count: int, factor: float = 1e4) -> Array:
    batch = images(count, seed=11)
    batch[WILD] *= np.float32(factor)
    return batch


def labels(count: int, seed: int) -> Array:
    """Which prototype each of `images` was made of."""
    return np.random.default_rng(seed).integers(0, PROTOTYPES, count)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    """The classifier with a head fitted by least squares to tell prototypes."""
    model = classifier()
    model.graph.output.append(ValueInfoProto(name="f"))
    body = open_model(save(model, tmp_path_factory.mktemp("body") / "model.onnx"), "f")
    features = np.concatenate([body.run({"image": image[None]})[1] for image in images(300, seed=10)])
    with_one = np.concatenate([features, np.ones((300, 1), np.float32)], axis=1)
    head = np.linalg.lstsq(with_one, np.eye(PROTOTYPES)[labels(300, seed=10)], rcond=None)[0].astype(np.float32)
    model.graph.output.pop()
    for each in model.graph.initializer:
        if each.name in {"w3", "b3"}:
            each.CopyFrom(numpy_helper.from_array(head[:-1] if each.name == "w3" else head[-1:], each.name))
    return shape_inference.infer_shapes(model)


def accuracy(model: ModelProto, found: Calibration, work: Path, method: Method) -> float:
    """Of the artifact on 200 unseen images."""
    normalized = save(model, work / "normalized.onnx")
    int8 = open_model(make(normalized, Recipe(method=method), found.bounds(method), work), "f")
    answers = np.concatenate([answer_of(int8.run({"image": image[None]})[0]) for image in images(200, seed=12)])
    return float(np.mean(answers == labels(200, seed=12)))


@pytest.mark.parametrize("method", Method)
def test_one_wild_sample_among_eleven_does_not_ruin_the_artifact(
    tmp_path: Path, trained: ModelProto, method: Method
) -> None:
    found = calibrated(trained, data_of(tmp_path, trained, {"image": one_wild(11)}), tmp_path)
    assert [each.where for each in found.excluded] == [f"shard shard-000.npz, sample {WILD}"]
    assert "times as far as on the other samples" in found.excluded[0].reason
    assert found.used == 10
    assert accuracy(trained, found, tmp_path, method) > 0.9


def test_it_would_have_ruined_it(tmp_path: Path, trained: ModelProto) -> None:
    """So the test above can fail: the same samples, too few to judge."""
    batch = one_wild(11)[WILD - LEAST_SAMPLES + 2 : WILD + 1]
    found = calibrated(trained, data_of(tmp_path, trained, {"image": batch}), tmp_path)
    assert found.excluded == ()
    assert accuracy(trained, found, tmp_path, Method.MIN_MAX) < 0.5


def test_ranges_are_those_without_the_wild_sample(tmp_path: Path) -> None:
    batch = one_wild(40)
    with_it, without = (
        calibrated(classifier(), data_of(tmp_path / name, classifier(), {"image": each}), tmp_path / name)
        for name, each in (("with", batch), ("without", np.delete(batch, WILD, axis=0)))
    )
    for method in Method:
        assert with_it.bounds(method) == without.bounds(method)
    assert with_it.baselines[0].low == without.baselines[0].low
    assert len(with_it.samples) == 40  # it was read all the same: it must not come back as a sealed sample


def test_an_input_of_the_wrong_unit_is_found_though_a_normalisation_follows(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gain"], ["n"], axis=-1),
        helper.make_node("MatMul", ["n", "w"], ["scores"], "dense"),
    ]
    model: ModelProto = model_of(nodes, {"gain": np.ones(8, np.float32), "w": weights(8, 4, seed=1)}, {"x": ["n", 8]})
    batch = weights(30, 8, seed=2)
    batch[3] *= 255
    found = calibrated(model, data_of(tmp_path, model, {"x": batch}), tmp_path, tensors=("n", "scores"))
    assert [each.where for each in found.excluded] == ["shard shard-000.npz, sample 3"]
    assert "its input x" in found.excluded[0].reason


def test_more_than_a_few_are_part_of_the_data_and_said(tmp_path: Path) -> None:
    batch = images(60, seed=11)
    batch[:3] *= 1e4
    found = calibrated(classifier(), data_of(tmp_path, classifier(), {"image": batch}), tmp_path)
    assert found.excluded == ()
    assert found.used == 60
    assert "3 of 60 calibration samples reach far beyond the others" in found.warnings[0]
    assert "shard shard-000.npz, sample 0" in found.warnings[0]


@pytest.mark.parametrize("factor", [0.0, 1e-6, 1.0, 3.0])
def test_a_quiet_or_slightly_loud_sample_is_kept(tmp_path: Path, factor: float) -> None:
    data = data_of(tmp_path, classifier(), {"image": one_wild(30, factor)})
    assert calibrated(classifier(), data, tmp_path).excluded == ()


@pytest.mark.parametrize("seed", range(20))
def test_long_tails_are_kept(seed: int) -> None:
    """Log-normal magnitudes spread over four decades, shared by all tensors."""
    draw = np.random.default_rng(seed)
    loudness = np.exp(draw.standard_normal(300) * 1.5)
    tensors = {str(i): loudness * draw.uniform(0.8, 1.2, 300) for i in range(10)}
    assert judge(tensors, {"0": tensors["0"]}, [""] * 300).reasons == {}


def test_one_tensor_that_is_loud_once_is_not_enough() -> None:
    tensors = {str(i): np.ones(100) for i in range(10)}
    tensors["3"][50] = 1e6
    assert judge(tensors, {}, [""] * 100).reasons == {}


def test_tensors_that_are_mostly_silent_do_not_judge() -> None:
    silent = np.zeros(100)
    silent[4] = 5.0
    assert judge({"a": silent, "b": np.ones(100)}, {"x": silent}, [""] * 100).reasons == {}


def test_two_wild_samples_of_different_size_are_both_found() -> None:
    magnitudes = np.linspace(1, 2, 200)
    magnitudes[[20, 90]] = 1e4, 1e7
    assert set(judge({"a": magnitudes}, {}, [""] * 200).reasons) == {20, 90}


def test_a_silent_input_that_is_empty_is_no_reason() -> None:
    empty = np.full(20, np.nan)
    assert judge({"a": np.ones(20)}, {"x": empty}, [""] * 20).reasons == {}
    assert INPUT_GAP < 255
