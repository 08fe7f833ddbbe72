"""Real models in real sessions."""

from pathlib import Path

import numpy as np
import pytest

from quanary.server.messages import Request, read_request, write_request, write_response
from quanary.server.session import ModelFile, Session, UnservableModel, read_model
from quanary.wire.inference import ELEMENT_BYTES, TensorMetadata
from tests.server import models


def session_of(content: bytes) -> Session:
    return Session(ModelFile(content, ""), threads=1)


def test_a_model_says_what_it_takes_and_gives() -> None:
    signature = session_of(models.classifier()).signature
    assert signature.inputs == (TensorMetadata("x", "FP32", (-1, 4)),)
    assert signature.outputs == (TensorMetadata("scores", "FP32", (-1, 3)), TensorMetadata("total", "FP32", ()))


@pytest.mark.parametrize("datatype", sorted(ELEMENT_BYTES))
def test_every_datatype_goes_through_a_model_and_the_binary_extension(datatype: str) -> None:
    session = session_of(models.echo(datatype))
    session.warm_up()
    given = np.array(["a", "ü"], np.object_) if datatype == "BYTES" else np.array([0, 1])
    dtype = {"BOOL": np.bool_, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64}.get(datatype)
    array = given if datatype == "BYTES" else given.astype(dtype or datatype.lower())
    parts = write_request({"x": array}, "y", session.signature)
    request = read_request(b"".join(parts), str(len(parts[0])).encode(), session.signature)
    outputs = session.run(request.inputs)
    assert outputs["y"].tolist() == array.tolist()
    assert write_response("m", Request({}, (("y", True),)), outputs, session.signature)[1] is not None


def test_the_digest_is_of_the_bytes_that_are_served(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    model = read_model(path)
    assert model.digest == read_model(path, models.digest_of(path)).digest == models.digest_of(path)
    path.write_bytes(b"another file")
    assert Path(model.path).read_bytes() == models.classifier()


def test_once_loaded_the_file_is_held_no_more() -> None:
    model = ModelFile(models.classifier(), "")
    path = Path(model.path)
    inode = path.stat().st_ino
    session = Session(model, threads=1)
    assert not path.exists() or path.stat().st_ino != inode
    assert session.operators == {"Gemm", "ReduceSum"}
    session.shrink({"x": np.zeros((1, 4), np.float32)})
    assert session.run({"x": np.ones((1, 4), np.float32)})["scores"].tolist() == [[1, 1, 1]]


def test_another_file_than_promised_is_refused(tmp_path: Path) -> None:
    path = models.write(tmp_path, models.classifier())
    with pytest.raises(UnservableModel, match=f"found sha256 {models.digest_of(path)}; allowed: {'0' * 64}"):
        read_model(path, "0" * 64)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnservableModel, match=r"none\.onnx: No such file"):
        read_model(tmp_path / "none.onnx")


def test_external_data_is_refused_by_name() -> None:
    with pytest.raises(UnservableModel, match="tensor 'w': found external data"):
        session_of(models.external())


def test_a_custom_operator_is_refused_by_name_wherever_it_hides() -> None:
    with pytest.raises(UnservableModel, match=r"node 'deep': found the custom operator acme\.Fancy"):
        session_of(models.custom())


@pytest.mark.parametrize("content", [b"", b"\x00garbage", b"PK\x03\x04"])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(UnservableModel):
        session_of(content)
