"""Broken and malicious models, made by code: each writes itself into a folder, with what lies beside it."""

import io
import itertools
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from tests.quantizer.models import classifier, model_of, weights

SECRET = b"not for the model's eyes"
WIDTH = 3


@dataclass(frozen=True)
class Hostile:
    """One model, and words that its refusal must have: what was found, and what is allowed."""

    name: str
    build: Callable[[Path], Path]
    found: str
    allowed: str


def whole(model: ModelProto) -> Callable[[Path], Path]:
    return lambda folder: write(folder, model.SerializeToString())


def write(folder: Path, content: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return path


def linear(*nodes: NodeProto, **weight: npt.NDArray[Any]) -> ModelProto:
    """Any nodes, and a MatMul from x to scores."""
    product = helper.make_node("MatMul", ["x", "w"], ["scores"], "product")
    return model_of([*nodes, product], {"w": weights(WIDTH, 2, seed=1)} | weight, {"x": ["n", WIDTH]})


def external(
    entries: dict[str, str], files: Callable[[Path], None] = lambda folder: None, shape: tuple[int, ...] = (WIDTH, 2)
) -> Callable[[Path], Path]:
    """The weight w in another file, as `entries` say."""

    def build(folder: Path) -> Path:
        files(folder)
        model = linear()
        model.graph.initializer[0].CopyFrom(reference("w", entries, shape))
        return write(folder, model.SerializeToString())

    return build


def reference(name: str, entries: dict[str, str], shape: tuple[int, ...] = (WIDTH, 2)) -> TensorProto:
    tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def secret_outside(folder: Path) -> None:
    (folder.parent / "secret").write_bytes(SECRET)


def symlink(folder: Path) -> None:
    secret_outside(folder)
    (folder / "weights").symlink_to(folder.parent / "secret")


def hardlink(folder: Path) -> None:
    secret_outside(folder)
    (folder / "weights").hardlink_to(folder.parent / "secret")


def plain(folder: Path) -> None:
    (folder / "weights").write_bytes(bytes(24))


def injected_in_an_attribute(folder: Path) -> Path:
    """A Constant node's tensor, that a check of initializers alone would miss."""
    secret_outside(folder)
    node = helper.make_node("Constant", [], ["c"], value=reference("c", {"location": "../secret"}))
    return write(folder, linear(node).SerializeToString())


def stored_twice(folder: Path) -> Path:
    secret_outside(folder)
    model = linear()
    model.graph.initializer[0].external_data.add(key="location", value="../secret")
    return write(folder, model.SerializeToString())


def overlapping(folder: Path) -> Path:
    (folder / "weights").write_bytes(bytes(64))
    model = linear()
    spans = ({"location": "weights", "offset": "0"}, {"location": "weights", "offset": "20"})
    model.graph.initializer[0].CopyFrom(reference("w", spans[0]))
    model.graph.initializer.append(reference("v", spans[1]))
    return write(folder, model.SerializeToString())


def declared(shape: list[int]) -> ModelProto:
    """A weight that says it is large, and holds four bytes."""
    model = linear()
    model.graph.initializer[0].CopyFrom(
        TensorProto(name="w", dims=shape, data_type=TensorProto.FLOAT, raw_data=bytes(4))
    )
    return model


def branch(body: list[NodeProto], output: str) -> GraphProto:
    return helper.make_graph(body, "branch", [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])


def nested(depth: int) -> ModelProto:
    node = helper.make_node("Identity", ["x"], ["y0"])
    for level in range(1, depth + 1):
        inner = branch([node], f"y{level - 1}")
        node = helper.make_node("If", ["yes"], [f"y{level}"], then_branch=inner, else_branch=inner_copy(inner))
    return linear(node, yes=np.array(True))


def inner_copy(graph: GraphProto) -> GraphProto:
    """The other branch may be shallow: depth is the point, and two deep ones would double with every level."""
    return branch([helper.make_node("Identity", ["x"], [graph.output[0].name])], graph.output[0].name)


def deeper_than_protobuf(folder: Path) -> Path:
    """Graph in attribute in node in graph, by hand: no writer of protobuf would do it."""
    content = b""
    for _ in range(2000):
        for field in (6, 5, 1):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            content = bytes([field << 3 | 2]) + varint(len(content)) + content
    return write(folder, bytes([7 << 3 | 2]) + varint(len(content)) + content)


def varint(number: int) -> bytes:
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def cyclic() -> ModelProto:
    around = [helper.make_node("Add", ["x", "b"], ["a"], "first"), helper.make_node("Relu", ["a"], ["b"], "second")]
    return linear(*around)


def functions(*calls: tuple[str, list[str]]) -> ModelProto:
    """Functions of the model itself; each calls others, one after the other."""
    model = linear(helper.make_node(calls[0][0], ["x"], ["f"], domain="local"))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    for name, called in calls:
        values = ["a", *(f"v{index}" for index in range(1, len(called))), "b"]
        pairs = itertools.pairwise(values)
        body = [
            helper.make_node(call, [before], [after], domain="local" if call in dict(calls) else "")
            for call, (before, after) in zip(called, pairs, strict=True)
        ]
        model.functions.append(helper.make_function("local", name, ["a"], ["b"], body, imports))
    model.opset_import.append(imports[1])
    return model


def of_opset(version: int) -> ModelProto:
    return model_of(list(linear().graph.node), {"w": weights(WIDTH, 2, seed=1)}, {"x": ["n", WIDTH]}, opset=version)


def made_twice() -> ModelProto:
    return linear(helper.make_node("Relu", ["x"], ["y"], "one"), helper.make_node("Neg", ["x"], ["y"], "two"))


def listed_twice() -> ModelProto:
    model = linear()
    model.graph.output.append(model.graph.output[0])
    return model


def claiming_an_input_of(shape: list[int]) -> ModelProto:
    return model_of(list(linear().graph.node), {"w": weights(WIDTH, 2, seed=1)}, {"x": list(shape)})


def custom() -> ModelProto:
    model = linear(helper.make_node("Backdoor", ["x"], ["y"], domain="acme"))
    model.opset_import.append(helper.make_opsetid("acme", 1))
    return model


def custom_in_a_branch() -> ModelProto:
    inner = branch([helper.make_node("Backdoor", ["x"], ["y"], domain="acme")], "y")
    model = linear(helper.make_node("If", ["yes"], ["z"], then_branch=inner, else_branch=inner), yes=np.array(True))
    model.opset_import.append(helper.make_opsetid("acme", 1))
    return model


def no_text(folder: Path) -> Path:
    """The parser hands bytes to whoever expects a string."""
    return write(folder, linear().SerializeToString().replace(b"product", b"prod\xff\xfet"))


def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "weights")


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        path = folder / "model.tar"
        with tarfile.open(path, "w") as archive:
            for member, content in members:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    return build


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


MODEL = (member("model.onnx"), linear().SerializeToString())
BESIDE = "beside the model"

STATIC = [
    Hostile("no model", lambda folder: write(folder, b"hello, this is no model"), "no ONNX model", "one ONNX file"),
    Hostile("empty", lambda folder: write(folder, b""), "without a graph", "one ONNX file"),
    Hostile(
        "truncated", lambda folder: write(folder, classifier().SerializeToString()[:-200]), "no ONNX model", "whole"
    ),
    Hostile("dots", external({"location": "../secret"}, secret_outside), "'../secret'", BESIDE),
    Hostile("dots within", external({"location": "a/../../secret"}, secret_outside), "'a/../../secret'", BESIDE),
    Hostile("absolute", external({"location": "/etc/passwd"}), "'/etc/passwd'", BESIDE),
    Hostile("backslashes", external({"location": "..\\secret"}), "secret'", BESIDE),
    Hostile("end of string", external({"location": "weights\0.txt"}, plain), "'weights", BESIDE),
    Hostile("symlink", external({"location": "weights"}, symlink), "a symbolic link", BESIDE),
    Hostile("hardlink", external({"location": "weights"}, hardlink), "2 names (hard links)", BESIDE),
    Hostile("pipe", external({"location": "weights"}, a_pipe), "no regular file", BESIDE),
    Hostile("folder", external({"location": "."}), "'.'", BESIDE),
    Hostile("missing", external({"location": "weights"}), "no such file", BESIDE),
    Hostile("no location", external({"offset": "0"}, plain), "entries offset", "one location"),
    Hostile("key injection", external({"location": "weights", "raw_data": "x"}, plain), "'raw_data'", "location"),
    Hostile("attribute", injected_in_an_attribute, "'../secret'", BESIDE),
    Hostile("two places", stored_twice, "and in an external file", "one place"),
    Hostile("negative offset", external({"location": "weights", "offset": "-4"}, plain), "'-4'", "0 or more"),
    Hostile("past the end", external({"location": "weights", "offset": "4"}, plain), "4 to 28", "24 bytes"),
    Hostile("short length", external({"location": "weights", "length": "8"}, plain), "8 bytes", "24 bytes"),
    Hostile("huge external", external({"location": "weights"}, plain, (1 << 40, 1)), "more than 16 GiB", "16 GiB"),
    Hostile("overlap", overlapping, "20 to 44", "do not overlap"),
    Hostile("huge tensor", whole(declared([1 << 40])), "holds 4 bytes", "as many"),
    Hostile("overflowing dims", whole(declared([1 << 62, 1 << 62, 16])), "holds 4 bytes", "as many"),
    Hostile("negative dims", whole(declared([-1, 4])), "[-1, 4]", "none below 0"),
    Hostile("huge input", whole(claiming_an_input_of([1 << 30, 1 << 30, 1 << 30])), "'x' of shape", "elements"),
    Hostile("deep", whole(nested(18)), "16 deep", "16 levels"),
    Hostile("deeper", deeper_than_protobuf, "no ONNX model", "one ONNX file"),
    Hostile("cycle", whole(cyclic()), "first -> second", "without cycles"),
    Hostile("made twice", whole(made_twice()), "'y' that is made twice", "once"),
    Hostile("listed twice", whole(listed_twice()), "'scores' that is listed twice", "once"),
    Hostile("own circle", whole(functions(("F", ["G"]), ("G", ["F"]))), "in a circle", "functions that end"),
    Hostile(
        "unfolding",
        whole(functions(*((f"F{level}", [f"F{level + 1}"] * 10) for level in range(9)), ("F9", ["Relu"] * 10))),
        "unfold to",
        "at most 200000",
    ),
    Hostile("no text", no_text, "that is none", "UTF-8"),
    Hostile("long name", whole(linear(helper.make_node("Relu", ["x"], ["y" * 5000]))), "5000 characters", "4096"),
    Hostile("future", whole(of_opset(99)), "opset 99, newer", "export at opset 17"),
    Hostile("past", whole(of_opset(4)), "opset 4, too old", "export at opset 17"),
    Hostile("custom", whole(custom()), "acme::Backdoor", "export without custom ones"),
    Hostile("custom within", whole(custom_in_a_branch()), "acme::Backdoor", "export without custom ones"),
]

TARS = [
    Hostile("tar dots", tar_of(MODEL, (member("../evil"), b"x")), "'../evil'", BESIDE),
    Hostile("tar absolute", tar_of(MODEL, (member("/tmp/evil"), b"x")), "'/tmp/evil'", BESIDE),
    Hostile("tar symlink", tar_of(MODEL, (member("w", tarfile.SYMTYPE, "/etc/passwd"), b"")), "'w'", BESIDE),
    Hostile("tar hardlink", tar_of(MODEL, (member("w", tarfile.LNKTYPE, "model.onnx"), b"")), "'w'", BESIDE),
    Hostile("tar device", tar_of(MODEL, (member("w", tarfile.CHRTYPE), b"")), "'w'", BESIDE),
    Hostile("tar twice", tar_of(MODEL, MODEL), "'model.onnx' twice", "once"),
    Hostile("tar without", tar_of((member("readme"), b"x")), "0 .onnx files", "one .onnx file"),
]
