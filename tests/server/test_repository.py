"""Triton's model repository, its configuration read back by Triton's own protobuf."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2

from quanary.server.messages import Signature
from quanary.server.repository import LARGEST_ROWS, main, render_config
from quanary.wire.inference import ELEMENT_BYTES, TensorMetadata
from tests.server import models


def parsed(text: str) -> Any:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def written(tmp_path: Path, model: bytes, *flags: str) -> Any:
    path = models.write(tmp_path, model)
    assert main([str(path), "--name", "m", "--out", str(tmp_path / "repository"), "--threads", "2", *flags]) == 0
    return parsed((tmp_path / "repository/m/config.pbtxt").read_text())


def rows(dynamic: str = "n") -> bytes:
    """Each row by itself, twice."""
    node = helper.make_node("Add", ["x", "x"], ["y"])
    return models.model_of(
        [node],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [dynamic, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [dynamic, 4])],
    )


def neighbours() -> bytes:
    """Rows that depend on each other, as nothing but a trial shows."""
    node = helper.make_node("Softmax", ["x"], ["y"], axis=0)
    return models.model_of(
        [node],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
    )


def test_it_is_a_folder_with_the_very_file_and_its_configuration(tmp_path: Path) -> None:
    config = written(tmp_path, models.classifier())
    root = tmp_path / "repository"
    assert sorted(str(each.relative_to(root)) for each in root.rglob("*")) == [
        "m",
        "m/1",
        "m/1/model.onnx",
        "m/config.pbtxt",
    ]
    assert (root / "m/1/model.onnx").samefile(models.write(tmp_path, models.classifier()))
    assert (config.name, config.backend, config.default_model_filename) == ("m", "onnxruntime", "model.onnx")
    assert list(config.version_policy.specific.versions) == [1]


def test_it_is_written_again_after_a_restart(tmp_path: Path) -> None:
    assert written(tmp_path, rows()) == written(tmp_path, rows())


def test_one_instance_on_the_cpu_with_the_threads_of_the_container(tmp_path: Path) -> None:
    config = written(tmp_path, models.classifier())
    [group] = config.instance_group
    assert (group.count, group.kind) == (1, group.KIND_CPU)
    parameters = {key: value.string_value for key, value in config.parameters.items()}
    assert parameters == {"intra_op_thread_count": "2", "inter_op_thread_count": "1", "execution_mode": "0"}


def test_rows_that_stand_alone_are_put_together_and_no_request_is_too_large(tmp_path: Path) -> None:
    config = written(tmp_path, rows(), "--max-batch", "4")
    assert (config.max_batch_size, list(config.dynamic_batching.preferred_batch_size)) == (LARGEST_ROWS, [4])
    assert config.dynamic_batching.max_queue_delay_microseconds == 0
    assert [list(each.dims) for each in (*config.input, *config.output)] == [[4], [4]]
    assert list(config.model_warmup[0].inputs["x"].dims) == [4]


@pytest.mark.parametrize(
    ("model", "dims"),
    [
        (neighbours(), [[-1, 4], [-1, 4]]),
        (models.classifier(), [[-1, 4], [-1, 3], [1]]),
        (models.echo("FP32"), [[-1], [-1]]),
    ],
    ids=["rows depend on each other", "an output without rows", "one axis alone"],
)
def test_other_requests_are_not_put_together(tmp_path: Path, model: bytes, dims: list[list[int]]) -> None:
    config = written(tmp_path, model, "--max-batch", "4")
    assert (config.max_batch_size, config.HasField("dynamic_batching")) == (0, False)
    assert [list(each.dims) for each in (*config.input, *config.output)] == dims


def test_a_model_is_warmed_up_with_zeros(tmp_path: Path) -> None:
    [warm_up] = written(tmp_path, models.classifier()).model_warmup
    assert (warm_up.batch_size, list(warm_up.inputs)) == (1, ["x"])
    assert (list(warm_up.inputs["x"].dims), warm_up.inputs["x"].zero_data) == ([1, 4], True)


def test_a_model_that_cannot_answer_zeros_has_no_warm_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = helper.make_tensor("t", TensorProto.FLOAT, [0, 3], [])
    node = helper.make_node("Gather", ["t", "i"], ["y"])
    model = models.model_of(
        [node],
        [helper.make_tensor_value_info("i", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [table],
    )
    assert not written(tmp_path, model).model_warmup
    assert "warm-up failed" in capsys.readouterr().err


@pytest.mark.parametrize("datatype", [each for each in ELEMENT_BYTES if each != "BYTES"])
def test_every_datatype_has_its_name(datatype: str) -> None:
    tensor = TensorMetadata("x", datatype, (2,))
    config = parsed(render_config("m", Signature((tensor,), (tensor,)), threads=1, batch=1, is_warmed_up=True))
    named = model_config_pb2.DataType.Name(config.input[0].data_type)
    assert named == f"TYPE_{datatype}"
    assert config.model_warmup[0].inputs["x"].data_type == config.output[0].data_type == config.input[0].data_type


@given(names=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=3, unique=True))
def test_no_tensor_name_can_say_anything_else(names: list[str]) -> None:
    tensors = tuple(TensorMetadata(name, "BYTES", (-1, 2)) for name in names)
    config = parsed(render_config("m", Signature(tensors, tensors), threads=1, batch=1, is_warmed_up=True))
    assert [each.name for each in config.input] == [each.name for each in config.output] == names
    assert set(config.model_warmup[0].inputs) == set(names)
    assert (config.max_batch_size, len(config.instance_group)) == (0, 1)


@pytest.mark.parametrize(
    ("name", "model", "field"),
    [
        ("../m", models.classifier(), "--name"),
        ("..", models.classifier(), "--name"),
        ("m", b"no model", "artifact"),
        ("m", models.external(), "artifact"),
    ],
    ids=["a path", "the parent", "no model", "external data"],
)
def test_what_cannot_be_served_is_refused_by_its_field(tmp_path: Path, name: str, model: bytes, field: str) -> None:
    path, log = models.write(tmp_path, model), tmp_path / "log"
    words = ["--out", str(tmp_path / "repository"), "--field", "artifact", "--termination-log", str(log)]
    assert main([str(path), "--name", name, *words]) == 1
    assert json.loads(log.read_text())["refusal"]["field"] == field
    assert not (tmp_path / "repository").exists()
    assert [each.name for each in tmp_path.iterdir() if each.is_dir()] == []


def test_a_dimension_that_triton_has_no_shape_for_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    shape = ["n", 0]
    model = models.model_of(
        [node],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    path = models.write(tmp_path, model)
    assert main([str(path), "--name", "m", "--out", str(tmp_path / "repository")]) == 1


def test_another_volume_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = models.write(tmp_path, models.classifier())
    assert main([str(path), "--name", "m", "--out", "/proc/quanary"]) == 1
    assert "--out" in capsys.readouterr().err
