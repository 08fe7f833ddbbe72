"""The messages are the published ones."""

from collections.abc import Iterator
from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from quanary.server.rpc import generate
from quanary.server.rpc import inference_pb2 as pb

PUBLISHED = (service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR)
# What the protocol itself has; the rest of Triton's is spoken in part.
WHOLE = [name for name in pb.DESCRIPTOR.message_types_by_name if name.startswith(("Server", "ModelInfer", "Infer"))]


def published(kind: str, name: str) -> Any:
    return next(getattr(file, kind)[name] for file in PUBLISHED if name in getattr(file, kind))


def messages(kind: Any, theirs: Any) -> Iterator[tuple[Any, Any]]:
    yield kind, theirs
    for nested in kind.nested_types:
        yield from messages(nested, theirs.nested_types_by_name[nested.name])


def described(field: Any) -> tuple[Any, ...]:
    kind = field.message_type or field.enum_type
    oneof = field.containing_oneof and field.containing_oneof.name
    return field.number, field.name, field.type, field.is_repeated, kind and kind.full_name, oneof


def test_the_generated_files_are_those_of_the_source() -> None:
    for name, text in generate.generated().items():
        assert (generate.HERE / name).read_text() == text, f"{name} differs: run `make generate`"


@pytest.mark.parametrize("name", list(pb.DESCRIPTOR.message_types_by_name))
def test_every_field_has_its_published_number_and_type(name: str) -> None:
    ours = pb.DESCRIPTOR.message_types_by_name[name]
    for mine, theirs in messages(ours, published("message_types_by_name", name)):
        assert mine.full_name == theirs.full_name
        assert {described(field) for field in mine.fields} <= {described(field) for field in theirs.fields}


@pytest.mark.parametrize("name", [name for name in WHOLE if "Statistics" not in name])
def test_no_field_of_the_protocol_is_missing(name: str) -> None:
    ours = pb.DESCRIPTOR.message_types_by_name[name]
    for mine, theirs in messages(ours, published("message_types_by_name", name)):
        assert {field.name for field in mine.fields} == {field.name for field in theirs.fields}


def test_datatypes_have_their_published_numbers() -> None:
    theirs = {each.name: each.number for each in published("enum_types_by_name", "DataType").values}
    assert {each.name: each.number for each in pb.DESCRIPTOR.enum_types_by_name["DataType"].values} == theirs


def test_calls_take_and_give_the_published_messages() -> None:
    ours = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    theirs = published("services_by_name", "GRPCInferenceService")
    assert ours.full_name == theirs.full_name
    for mine in ours.methods:
        published_call = theirs.methods_by_name[mine.name]
        assert mine.input_type.full_name == published_call.input_type.full_name
        assert mine.output_type.full_name == published_call.output_type.full_name
        assert (mine.client_streaming, mine.server_streaming) == (False, False)
