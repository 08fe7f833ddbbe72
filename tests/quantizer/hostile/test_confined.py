"""What only shows when it is loaded or run: done in a process of its own, within limits of time and memory."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from quanary.quantizer.data import Sample
from quanary.quantizer.graph import SOURCE_BYTES, admit, confine, normalize, rehearse
from quanary.quantizer.graph.confine import ConfinedError, Limits
from quanary.quantizer.graph.normalize import _limits
from quanary.quantizer.inference import open_model
from quanary.wire.report import RefusedError
from tests.quantizer.hostile.corpus import MODEL, WIDTH, linear, member, tar_of, whole, write
from tests.quantizer.hostile.functions import allocate, fail_to_encode, kill_parent, litter, refuse
from tests.quantizer.models import model_of, weights

GIB = 1 << 30
GENEROUS = Limits(60, 4 * GIB)
SAMPLES = [Sample("s", 0, {"x": np.ones((1, WIDTH), np.float32)}, None)]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.mark.parametrize(
    ("function", "argument", "limits", "words"),
    [
        (time.sleep, 600, Limits(1, 4 * GIB), "no end within 1 s"),
        (allocate, 3 * GIB, Limits(60, 2 * GIB), "more than 2048 MiB of memory"),
        (fail_to_encode, "Failed to serialize proto", Limits(60, 2 * GIB), "more than 2048 MiB of memory"),
        (os._exit, 3, GENEROUS, "ended with 3 and no answer"),
        (os.kill, None, GENEROUS, "TypeError"),
    ],
)
def test_a_process_that_breaks_a_limit_is_an_error_of_its_own(
    work: Path, function: object, argument: object, limits: Limits, words: str
) -> None:
    assert callable(function)
    with pytest.raises(ConfinedError, match=words):
        confine.confine(function, argument, limits=limits, work=work)
    assert list(work.iterdir()) == []


def test_a_crash_of_native_code_is_survived_and_named(work: Path) -> None:
    with pytest.raises(ConfinedError, match="died of SIGABRT"):
        confine.confine(os.abort, limits=GENEROUS, work=work)


def test_a_result_and_a_refusal_come_through_and_litter_stays_behind(work: Path) -> None:
    assert confine.confine(litter, limits=GENEROUS, work=work) == ["litter"]
    with pytest.raises(RefusedError, match=r"spec.model.uri: found something; allowed: another thing"):
        confine.confine(refuse, limits=GENEROUS, work=work)
    assert list(work.iterdir()) == []


def test_whoever_asks_takes_the_confined_process_along_when_killed(work: Path) -> None:
    code = (
        "from pathlib import Path; from quanary.quantizer.graph import confine; "
        "from tests.quantizer.hostile.functions import linger; "
        f"confine.confine(linger, Path({str(work / 'pid')!r}), limits=confine.limits_for(1), work=Path({str(work)!r}))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as asking:
        wait_until((work / "pid").exists)
        asking.kill()
    stat = Path("/proc") / (work / "pid").read_text() / "stat"
    wait_until(lambda: not stat.exists() or stat.read_text().split()[2] == "Z")


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_nursery_that_was_killed_is_replaced(work: Path) -> None:
    with pytest.raises(ConfinedError, match="killed from outside"):
        confine.confine(kill_parent, limits=GENEROUS, work=work)
    assert confine.confine(litter, limits=GENEROUS, work=work) == ["litter"]


def test_limits_grow_with_the_model_up_to_a_share_of_the_memory_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert GIB <= confine.limits_for(1 << 50).address_bytes <= max(GIB, machine * 3 // 4)
    monkeypatch.setattr(confine, "_share_of_memory", lambda: 8 * GIB)
    small, large = confine.limits_for(1), confine.limits_for(1 << 50)
    assert small.address_bytes < large.address_bytes == 8 * GIB
    assert small.seconds < large.seconds


def test_a_limit_that_is_the_machine_s_says_so(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confine, "_share_of_memory", lambda: 2 * GIB)
    with pytest.raises(ConfinedError, match="more than 2048 MiB of memory, three quarters of all there is here"):
        confine.confine(allocate, 3 * GIB, limits=confine.limits_for(1), work=work)


def test_a_model_beside_other_things_gets_no_more_time_than_the_largest_there_can_be(tmp_path: Path) -> None:
    with (tmp_path / "m.onnx").open("wb") as file:
        file.truncate(1 << 40)
    assert _limits(tmp_path / "m.onnx") == confine.limits_for(SOURCE_BYTES)


def filling(shape: list[int]) -> ModelProto:
    """A constant of any size in a few bytes, that ONNX Runtime computes while it loads the model."""
    node = helper.make_node("ConstantOfShape", ["shape"], ["much"], value=numpy_helper.from_array(np.ones(1, "f4")))
    added = helper.make_node("Add", ["much", "one"], ["more"])
    total = helper.make_node("ReduceSum", ["more"], ["total"], keepdims=0)
    model = linear(node, added, total, shape=np.array(shape, np.int64), one=np.ones((), np.float32))
    model.graph.output.append(helper.make_tensor_value_info("total", TensorProto.FLOAT, []))
    return model


def mismatched() -> ModelProto:
    product = helper.make_node("MatMul", ["x", "w"], ["scores"], "product")
    return model_of([product], {"w": weights(WIDTH + 1, 2, seed=1)}, {"x": ["n", WIDTH]})


def endless() -> ModelProto:
    """2^62 times round."""
    declare = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Add", ["before", "before"], ["after"]), helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [
            declare("i", TensorProto.INT64, []),
            declare("go", TensorProto.BOOL, []),
            declare("before", TensorProto.FLOAT, None),
        ],
        [declare("on", TensorProto.BOOL, []), declare("after", TensorProto.FLOAT, None)],
    )
    loop = helper.make_node("Loop", ["times", "", "x"], ["looped"], body=body)
    model = linear(loop, times=np.array(1 << 62))
    model.graph.output.append(declare("looped", TensorProto.FLOAT, None))
    return model


def not_a_number() -> ModelProto:
    model = linear()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((WIDTH, 2), np.nan, np.float32), "w"))
    return model


def test_what_fails_to_load_is_refused_on_the_field_that_named_it(tmp_path: Path, work: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        admit(whole(mismatched())(tmp_path), work, "spec.quantization.provided.uri")
    refusal = caught.value.refusal
    assert refusal.field == "spec.quantization.provided.uri"
    assert "ONNX Runtime cannot load" in refusal.found
    assert "a valid ONNX model" in refusal.allowed
    assert list(work.iterdir()) == []


def test_a_constant_that_fills_any_memory_is_stopped(tmp_path: Path, work: Path) -> None:
    source = open_model(whole(filling([1 << 20, 1 << 14]))(tmp_path), "spec.model.uri")
    with pytest.raises(RefusedError, match=r"more than [0-9]+ MiB of memory"):
        normalize(source, work, SAMPLES)
    assert list(work.iterdir()) == []


def test_a_loop_without_end_is_stopped(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confine, "SECONDS", 2.0)
    source = open_model(whole(endless())(tmp_path), "spec.model.uri")
    with pytest.raises(RefusedError, match="no end within 2 s"):
        normalize(source, work, SAMPLES)
    assert list(work.iterdir()) == []


def test_a_model_that_is_not_normalised_is_rehearsed(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = "spec.quantization.provided.uri"
    rehearse(whole(linear())(tmp_path), SAMPLES, work, field)
    wrong = [Sample("s", 5, {"x": np.ones((1, WIDTH + 1), np.float32)}, None)]
    with pytest.raises(RefusedError, match=f"{field}: found shard s, sample 5: the model rejects it"):
        rehearse(whole(linear())(tmp_path), wrong, work, field)
    monkeypatch.setattr(confine, "SECONDS", 2.0)
    with pytest.raises(RefusedError, match=f"{field}: found a model that cannot be run: no end within 2 s"):
        rehearse(whole(endless())(tmp_path), SAMPLES, work, field)
    assert list(work.iterdir()) == []


def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path: Path, work: Path) -> None:
    source = open_model(whole(not_a_number())(tmp_path), "spec.model.uri")
    with pytest.raises(RefusedError, match="weight w of node product with 6 values that are NaN or infinite"):
        normalize(source, work, SAMPLES)
    assert list(work.iterdir()) == []


def test_a_refused_tar_leaves_nothing_behind(tmp_path: Path, work: Path) -> None:
    path = tar_of(MODEL, (member("weights"), b"x"), (member("../evil"), b"x"))(tmp_path)
    with pytest.raises(RefusedError, match=r"spec.model.uri: found a tar with '../evil'"):
        admit(path, work)
    assert list(work.iterdir()) == []
    assert {each.name for each in tmp_path.iterdir()} == {"model.tar", "work"}


def test_an_answer_without_a_model_is_a_refusal_not_a_crash(tmp_path: Path, work: Path) -> None:
    with pytest.raises(RefusedError, match="no ONNX model"):
        admit(write(tmp_path, os.urandom(5000)), work)
