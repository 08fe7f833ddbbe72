"""The fault switch: INT8 servers alone go bad, and only as told."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from e2e.faults.control import start
from e2e.faults.fault import Fault, FaultyEngine, Injected, Switch, read_fault
from quanary.server.engine import Engine, Execution
from quanary.server.tensors import Tensors


class Echo(Engine):
    @override
    async def infer(self, inputs: Tensors) -> Execution:
        return Execution(dict(inputs), 0.001)


INPUTS = {"y": np.array([[0.1, 0.9, 0.0]], np.float32)}


def engine(fault: Fault, *, is_armed: bool = True) -> tuple[FaultyEngine, Switch]:
    switch = Switch(is_armed=is_armed)
    switch.turn(fault)
    return FaultyEngine(Echo(), switch), switch


async def test_wrong_answers_have_another_top1() -> None:
    faulty, switch = engine(Fault("wrong"))
    assert (await faulty.infer(INPUTS)).outputs["y"].argmax() == 2
    alone = await faulty.infer({"y": np.array([0.9], np.float32)})
    assert alone.outputs["y"][0] < 0.5
    assert switch.injected == 2
    assert switch.first_at is not None


async def test_slow_answers_count_the_delay_as_execution() -> None:
    faulty, _ = engine(Fault("slow", delay_seconds=0.01))
    execution = await faulty.infer(INPUTS)
    assert execution.seconds == pytest.approx(0.011)
    assert np.array_equal(execution.outputs["y"], INPUTS["y"])


async def test_errors_are_recognisable() -> None:
    faulty, _ = engine(Fault("errors"))
    with pytest.raises(Injected, match="injected"):
        await faulty.infer(INPUTS)


async def test_share_decides_how_many() -> None:
    faulty, switch = engine(Fault("wrong", share=0.25))
    for _ in range(2000):
        await faulty.infer(INPUTS)
    assert 300 < switch.injected < 700


@pytest.mark.parametrize(
    ("fault", "is_armed"), [(Fault("errors"), False), (Fault(), True), (Fault("errors", 0.0), True)]
)
async def test_otherwise_answers_are_untouched(fault: Fault, is_armed: bool) -> None:
    faulty, switch = engine(fault, is_armed=is_armed)
    assert np.array_equal((await faulty.infer(INPUTS)).outputs["y"], INPUTS["y"])
    assert switch.first_at is None


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "truncated"),
        (b'{"kind": "eror"}', "kinds: none, wrong, slow, errors"),
        (b'{"kind": "slow", "share": 2}', "share: found 2"),
        (b'{"kind": "slow", "delaySeconds": 61}', "delaySeconds: found 61"),
        (b'{"kind": "slow", "delay": 1}', "delay"),
    ],
)
def test_misuse_is_refused_with_a_reason(body: bytes, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        read_fault(body)


def ask(address: str, body: bytes | Iterator[bytes] | None = None, path: str = "/fault") -> tuple[int, Any]:
    asked = urllib.request.Request(f"http://{address}{path}", data=body, method="PUT" if body else "GET")
    try:
        with urllib.request.urlopen(asked, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_port_sets_and_tells_the_fault() -> None:
    switch = Switch(is_armed=True)
    server = start(switch, "127.0.0.1", 0)
    try:
        address = "{}:{}".format(*server.server_address[:2])
        assert ask(address)[1]["kind"] == "none"
        status, found = ask(address, b'{"kind": "errors", "share": 0.5}')
        assert (status, found["kind"], found["share"], found["firstAt"]) == (200, "errors", 0.5, None)
        assert switch.fault == Fault("errors", 0.5)
        assert ask(address, iter([b'{"kind": "slow",', b' "delaySeconds": 1}']))[1]["kind"] == "slow"
        assert ask(address, b'{"kind": "no"}')[0] == 400
        assert ask(address, b'{"kind": "none"}' + b" " * 5000)[0] == 400
        assert ask(address, path="/else")[0] == 404
    finally:
        server.shutdown()
        server.server_close()
