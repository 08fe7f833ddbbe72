"""Take away what only stands between the compute nodes: functions, branches that are never chosen, Identity."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, inliner, numpy_helper

from quanary.quantizer.graph.walk import subgraphs_of

M = TypeVar("M", NodeProto, ValueInfoProto)


def inline_functions(model: ModelProto, steps: list[str]) -> ModelProto:
    """The model without functions of its own."""
    if not model.functions:
        return model
    steps.append(f"inlined {len(model.functions)} functions")
    return inliner.inline_local_functions(model)


def fold(model: ModelProto, steps: list[str]) -> None:
    """Replace each If whose condition is a constant by its branch, and remove Identity, until nothing changes."""
    branches = identities = 0
    while True:
        identities += _remove_identities(model.graph)
        folded = _fold_branches(model.graph)
        branches += folded
        if not folded:
            break
    if branches:
        steps.append(f"folded {branches} If on constants")
    if identities:
        steps.append(f"removed {identities} Identity")


def _fold_branches(graph: GraphProto) -> int:
    """Of one level: branches within branches come up, to be folded in the next round."""
    constants = _constants(graph)
    makers = Counter(_made(graph))
    nodes, folded = [], 0
    for node in graph.node:
        condition = constants.get(node.input[0]) if node.op_type == "If" and not node.domain else None
        if condition is None:
            nodes.append(node)
            continue
        folded += 1
        nodes += _unwrap(node, _branch(node, chosen=condition), graph, makers)
    if folded:
        _replace_nodes(graph, nodes)
    return folded


def _constants(graph: GraphProto) -> dict[str, bool]:
    """Truth of the constants of one element."""
    stored: dict[str, TensorProto] = {each.name: each for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            stored[node.output[0]] = node.attribute[0].t
    # With IR version 3 and before a caller may replace an initializer that is an input as well.
    inputs = {each.name for each in graph.input}
    return {
        name: bool(numpy_helper.to_array(tensor).reshape(-1)[0])
        for name, tensor in stored.items()
        if tensor.data_type == TensorProto.BOOL and list(tensor.dims) in ([], [1]) and name not in inputs
    }


def _branch(node: NodeProto, *, chosen: bool) -> GraphProto:
    wanted = "then_branch" if chosen else "else_branch"
    return next(each.g for each in node.attribute if each.name == wanted)


def _unwrap(node: NodeProto, branch: GraphProto, graph: GraphProto, makers: Counter[str]) -> list[NodeProto]:
    """The branch's nodes for the graph around it; its weights are moved there. Names that others make too change."""
    own = [each.name for each in branch.initializer] + [name for each in branch.node for name in each.output if name]
    rename_values(branch, {name: _free(f"{node.name}/{name}", makers) for name in own if makers[name] > 1})
    graph.initializer.extend(branch.initializer)
    graph.sparse_initializer.extend(branch.sparse_initializer)
    ends = [
        helper.make_node("Identity", [inner.name], [outer], name=f"{node.name}/{outer}")
        for inner, outer in zip(branch.output, node.output, strict=False)
        if outer
    ]
    return [*branch.node, *ends]


def _made(graph: GraphProto) -> Iterator[str]:
    """Names of values where they are made, at any depth."""
    yield from (each.name for each in (*graph.input, *graph.initializer))
    for node in graph.node:
        yield from (name for name in node.output if name)
        for inner in subgraphs_of(node):
            yield from _made(inner)


def _free(name: str, makers: Counter[str]) -> str:
    while makers[name]:
        name += "_"
    makers[name] += 1
    return name


def rename_values(graph: GraphProto, renamed: Mapping[str, str]) -> None:
    """Everywhere in a graph, but not where a branch or body within makes the same name anew."""
    if not renamed:
        return
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
        for inner in subgraphs_of(node):
            own = {each.name for each in (*inner.input, *inner.initializer)}
            own |= {name for each in inner.node for name in each.output}
            rename_values(inner, {old: new for old, new in renamed.items() if old not in own})
    for each in (*graph.output, *graph.initializer, *graph.value_info):
        each.name = renamed.get(each.name, each.name)


def _remove_identities(graph: GraphProto) -> int:
    """All but those between an input, or a weight, and an output, where the two names must both stay."""
    outputs = {each.name for each in graph.output}
    made = {name for node in graph.node for name in node.output}
    renamed: dict[str, str] = {}
    kept: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "Identity" or node.domain:
            kept.append(node)
            continue
        source, target = _last(node.input[0], renamed), node.output[0]
        if target not in outputs:
            renamed[target] = source
        elif source in made and source not in outputs:
            renamed[source] = target
        else:
            kept.append(node)
    removed = len(graph.node) - len(kept)
    if removed:
        _keep(graph, kept, {name: _last(name, renamed) for name in renamed})
    return removed


def _last(name: str, renamed: Mapping[str, str]) -> str:
    while name in renamed:
        name = renamed[name]
    return name


def _keep(graph: GraphProto, nodes: Iterable[NodeProto], renamed: Mapping[str, str]) -> None:
    known = [_copy(each) for each in graph.value_info if each.name not in renamed]
    _replace_nodes(graph, nodes)
    del graph.value_info[:]
    graph.value_info.extend(known)
    rename_values(graph, renamed)


def _replace_nodes(graph: GraphProto, nodes: Iterable[NodeProto]) -> None:
    kept = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def _copy(message: M) -> M:
    """What a repeated field held is gone once it is cleared."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
