"""8-bit weights beside 8-bit activations overflow the 16-bit sums of x86 CPUs without VNNI, and of no others."""

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper
from onnx.reference import ReferenceEvaluator

from quanary.quantizer.machine import cpu_features
from quanary.quantizer.search import Found
from quanary.quantizer.search.gap import REDUCED
from tests.quantizer.models import CLASSES, SIDE, Floats, model_of, weights
from tests.quantizer.search.scene import Scene

SATURATES = "avx2" in cpu_features() and not {"avx512_vnni", "avx_vnni"} & set(cpu_features())


def bright(count: int, seed: int) -> Floats:
    """Images all of whose values are near the largest, around a few prototypes."""
    draw = np.random.default_rng(seed)
    prototypes = np.random.default_rng(0).uniform(0.6, 1.0, (6, 3, SIDE, SIDE))
    noise = draw.normal(0, 0.02, (count, 3, SIDE, SIDE))
    return np.clip(prototypes[draw.integers(0, 6, count)] + noise, 0, 1).astype(np.float32)


def heavy() -> ModelProto:
    """A Conv whose weights are all near the largest: each of its sums is larger than 16 bits hold."""
    kernel = np.random.default_rng(1).uniform(0.6, 1.0, (16, 3, 3, 3)).astype(np.float32)
    initializers = {"w": kernel, "b": np.zeros(16, np.float32), "v": weights(16, CLASSES, seed=2)}

    def model() -> ModelProto:
        nodes = [
            helper.make_node("Conv", ["image", "w", "b"], ["c"], "conv"),
            helper.make_node("Tanh", ["c"], ["t"], "tanh"),
            helper.make_node("GlobalAveragePool", ["t"], ["p"], "pool"),
            helper.make_node("Flatten", ["p"], ["f"], "flat"),
            helper.make_node("MatMul", ["f", "v"], ["scores"], "head"),
        ]
        return model_of(nodes, initializers, {"image": ["n", 3, SIDE, SIDE]})

    wide = helper.make_tensor_value_info("c", 1, None)
    probe = model()
    probe.graph.output.append(wide)
    sums = np.asarray(ReferenceEvaluator(probe).run(["c"], {"image": bright(50, seed=3)})[0])
    initializers["b"] = -sums.mean(axis=(0, 2, 3)).astype(np.float32)
    return model()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene")).prepare(heavy(), bright(120, seed=4))


def searched(scene: Scene, cache: Path, *, full_range: bool) -> Found:
    return scene.search(cache, max_drop=0.5, strategy="static", full_range=full_range)


def test_the_gap_tells_saturation_and_the_remedy_is_seven_bits(scene: Scene, tmp_path: Path) -> None:
    found = searched(scene, tmp_path, full_range=True)
    assert found.gap
    assert found.gap.saturates == SATURATES
    assert found.gap.drop_emulated <= 0.2
    assert (found.gap.drop_on_kernels > 0.25) == SATURATES
    assert found.gap.remedy == (REDUCED if SATURATES else "")
    assert {each.recipe.reduce_range for each in found.front} == {SATURATES}
    assert found.front[-1].in_budget
    # What saturated stays in the report.
    assert not found.trials[0].recipe.reduce_range


def test_seven_bits_saturate_on_no_cpu(scene: Scene, tmp_path: Path) -> None:
    found = searched(scene, tmp_path, full_range=False)
    assert found.gap
    assert not found.gap.saturates
    assert {each.recipe.reduce_range for each in found.trials} == {True}
    assert found.front[-1].in_budget
