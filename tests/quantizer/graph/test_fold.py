"""Branches and Identity taken away: what is left must compute the same."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from quanary.quantizer.graph.fold import fold
from quanary.quantizer.graph.steps import name_nodes
from quanary.quantizer.graph.walk import all_nodes
from quanary.quantizer.inference import Array, open_model
from tests.quantizer.models import model_of, save, weights

X = np.array([[1.0, -2.0, 3.0]], np.float32)


def branch(name: str, factor: float) -> GraphProto:
    """x times a matrix: the names within are the same in every branch."""
    matrix = numpy_helper.from_array(weights(3, 3, seed=3) * np.float32(factor), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"], "product"), helper.make_node("Relu", ["m"], ["y"], "act")]
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], [matrix])


def choice(condition: str, output: str) -> NodeProto:
    return helper.make_node(
        "If", [condition], [output], output, then_branch=branch("then", 1), else_branch=branch("else", 2)
    )


def model_with(*nodes: NodeProto, outputs: tuple[str, ...] = ("scores",)) -> ModelProto:
    conditions = {"yes": np.array(True), "no": np.array([False])}
    return model_of(list(nodes), conditions, {"x": ["n", 3]}, outputs)


def folded(model: ModelProto) -> tuple[ModelProto, list[str]]:
    """The model folded, loaded, and proven equal on one input."""
    before = answers(model)
    steps: list[str] = []
    fold(model, steps)
    name_nodes(model, steps)
    assert all(np.array_equal(one, other) for one, other in zip(before, answers(model), strict=True))
    return model, steps


def answers(model: ModelProto) -> list[Array]:
    with tempfile.TemporaryDirectory() as folder:
        return open_model(save(model, Path(folder) / "model.onnx"), "f").run({"x": X})


def kinds(model: ModelProto) -> list[str]:
    return [node.op_type for node in all_nodes(model.graph)]


@pytest.mark.parametrize("condition", ["yes", "no"])
def test_an_if_on_a_constant_becomes_its_branch(condition: str) -> None:
    model, steps = folded(model_with(choice(condition, "scores")))
    assert kinds(model) == ["MatMul", "Relu"]
    assert steps[0] == "folded 1 If on constants"


def test_branches_with_the_same_names_within_do_not_mix() -> None:
    total = helper.make_node("Add", ["a", "b"], ["scores"], "total")
    model, steps = folded(model_with(choice("yes", "a"), choice("no", "b"), total))
    assert kinds(model) == ["MatMul", "Relu", "MatMul", "Relu", "Add"]
    assert len({node.name for node in model.graph.node}) == 5
    assert "renamed 2 nodes with another's name" in steps


def test_an_if_within_a_branch_is_folded_too() -> None:
    inner = helper.make_graph(
        [choice("yes", "inner")], "around", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)]
    )
    outer = helper.make_node("If", ["no"], ["scores"], "outer", then_branch=branch("then", 3), else_branch=inner)
    model, steps = folded(model_with(outer))
    assert kinds(model) == ["MatMul", "Relu"]
    assert "folded 2 If on constants" in steps


def test_an_if_on_an_input_stays_with_its_names() -> None:
    total = helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0)
    positive = helper.make_node("Greater", ["sum", "sum"], ["positive"])
    model, steps = folded(model_with(total, positive, choice("positive", "scores")))
    assert "If" in kinds(model)
    assert not [step for step in steps if "If" in step]


def test_identities_go_and_inputs_and_outputs_keep_their_names() -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Identity", ["b"], ["c"]),
        helper.make_node("Identity", ["c"], ["scores"]),
        helper.make_node("Identity", ["c"], ["again"]),
        helper.make_node("Identity", ["x"], ["input"]),
    ]
    model, steps = folded(model_with(*nodes, outputs=("scores", "again", "input")))
    assert steps[0] == "removed 3 Identity"
    assert [each.name for each in model.graph.output] == ["scores", "again", "input"]
    assert sorted(kinds(model)) == ["Identity", "Identity", "Relu"]


def test_a_branch_that_reads_what_an_identity_made_reads_its_source() -> None:
    copied = helper.make_node("Identity", ["x"], ["copy"])
    total = helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0)
    positive = helper.make_node("Greater", ["sum", "sum"], ["positive"])
    within = choice("positive", "scores")
    for attribute in within.attribute:
        attribute.g.node[0].input[0] = "copy"
    model, steps = folded(model_with(copied, total, positive, within))
    assert "removed 1 Identity" in steps
    assert "copy" not in {name for node in all_nodes(model.graph) for name in node.input}


def test_a_branch_that_hands_on_a_value_from_around_it_is_folded() -> None:
    passing = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "pass",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    node = helper.make_node("If", ["yes"], ["p"], "p", then_branch=passing, else_branch=branch("else", 2))
    model, _ = folded(model_with(node, helper.make_node("Neg", ["p"], ["scores"], "minus")))
    assert kinds(model) == ["Neg"]
    assert model.graph.node[0].input[0] == "x"
