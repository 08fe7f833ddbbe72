"""Answers without transport."""

import json

import pytest
from prometheus_client import CollectorRegistry

from quanary.server.data_plane import DataPlane, refusal
from quanary.server.engine import Execution, Overloaded
from quanary.server.engine.batch import ALONE
from quanary.server.engine.room import Room
from quanary.server.engine.worker import WorkerEngine
from quanary.server.http.question import HttpQuestion
from quanary.server.session import ModelFile, Session
from quanary.server.tensors import Tensors
from tests.server import models


class Raising:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def infer(self, inputs: Tensors) -> Execution:
        raise self.error


SESSION = Session(ModelFile(models.classifier(), ""), 1)
BODY = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}'


async def test_a_good_answer_carries_what_a_comparison_needs() -> None:
    answer = await DataPlane("m", SESSION.signature, WorkerEngine(SESSION, ALONE, Room(CollectorRegistry()))).infer(
        HttpQuestion(BODY, None)
    )
    assert answer.status == 200
    assert answer.inference is not None
    assert answer.inference.own["scores"].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("error", "status"), [(Overloaded("full"), 503), (RuntimeError("broken"), 500), (TimeoutError("inner"), 500)]
)
async def test_errors_of_the_engine_have_their_code(error: Exception, status: int) -> None:
    answer = await DataPlane("m", SESSION.signature, Raising(error)).infer(HttpQuestion(BODY, None))
    assert (answer.status, answer.inference) == (status, None)
    assert ((b"retry-after", b"1") in answer.headers) == (status == 503)


async def test_a_bad_body_never_reaches_the_engine() -> None:
    answer = await DataPlane("m", SESSION.signature, Raising(AssertionError("reached"))).infer(HttpQuestion(b"{", None))
    assert answer.status == 400


def test_messages_are_cut() -> None:
    assert len(json.loads(refusal(500, "x" * 10_000).body)["error"]) == 1000
