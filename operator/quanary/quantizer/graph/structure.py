"""What every graph must be before a tool may walk it: each name made once, nothing that waits for itself."""

from collections import Counter
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter

from onnx import FunctionProto, GraphProto, ModelProto

from quanary.quantizer.graph.limits import NODES, Refuse
from quanary.quantizer.graph.walk import all_nodes, inputs_of, subgraphs_of


def check_structure(model: ModelProto, refuse: Refuse) -> None:
    """Refuse cycles, names that are made twice, and functions that never end.

    Raises:
        RefusedError: naming what is.
    """
    _check_functions(model, refuse)
    _check_graph(model.graph, refuse)


def _check_graph(graph: GraphProto, refuse: Refuse) -> None:
    stored = [each.name for each in graph.initializer]
    made = stored + [name for node in graph.node for name in node.output if name]
    # Up to IR version 3 every initializer is an input as well.
    known = set(stored)
    made += [each.name for each in graph.input if each.name not in known]
    _refuse_twice(made, "a value {} that is made twice", refuse)
    _refuse_twice([each.name for each in graph.output], "an output {} that is listed twice", refuse)
    _refuse_cycle(graph, refuse)
    for node in graph.node:
        for inner in subgraphs_of(node):
            _check_graph(inner, refuse)


def _refuse_twice(names: Iterable[str], text: str, refuse: Refuse) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise refuse(text.format(repr(twice[0][:80])), "each name once")


def _refuse_cycle(graph: GraphProto, refuse: Refuse) -> None:
    maker = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needs = {index: {maker[name] for name in inputs_of(node) if name in maker} for index, node in enumerate(graph.node)}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        around = [graph.node[index] for index in error.args[1]]
        names = " -> ".join(node.name or node.op_type for node in around[:8])
        raise refuse(f"a cycle of nodes {names}", "a graph without cycles") from None


def _check_functions(model: ModelProto, refuse: Refuse) -> None:
    """Functions that call each other in a circle never end; a few that double each other fill any memory."""
    functions = {(each.domain, each.name): each for each in model.functions}
    calls = {key: [call for call in _calls(each) if call in functions] for key, each in functions.items()}
    sizes: dict[tuple[str, str], int] = {}
    try:
        for key in TopologicalSorter({key: set(called) for key, called in calls.items()}).static_order():
            sizes[key] = len(list(all_nodes(functions[key]))) + sum(sizes[call] for call in calls[key])
    except CycleError as error:
        names = " -> ".join(name for _, name in error.args[1][:8])
        raise refuse(f"functions that call each other in a circle: {names}", "functions that end") from None
    total = sum(sizes.get((node.domain, node.op_type), 1) for node in all_nodes(model.graph))
    if total > NODES:
        raise refuse(f"functions that unfold to {total:.3g} nodes", f"at most {NODES}")


def _calls(function: FunctionProto) -> list[tuple[str, str]]:
    return [(node.domain, node.op_type) for node in all_nodes(function)]
