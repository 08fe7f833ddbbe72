"""What a story measures: when users first felt a fault, and when the operator decided."""

from e2e.demo.load import Answer
from e2e.demo.stories import decided_at, first_bad
from e2e.demo.watch import int8_weight

FLOAT, INT8 = "f" * 10, "1" * 10


def answer(
    done_at: float, *, digest: str = INT8, top1: int = 1, took: float = 0.1, is_injected: bool = False
) -> Answer:
    return Answer("m", done_at - took, done_at, 500 if is_injected else 200, 0, digest, top1, is_injected)


def test_first_bad_answer_is_the_first_of_its_kind_after_the_fault() -> None:
    found = [
        answer(1.0, digest=FLOAT),
        answer(2.0, top1=3),  # before the fault: INT8 may differ now and then
        answer(11.0, took=2.0, digest=FLOAT),  # slow, but not INT8's
        answer(12.0, took=2.0),
        answer(13.0, top1=4),
        answer(14.0, top1=-1, is_injected=True),
    ]
    assert first_bad("slow", found, FLOAT, 10.0) == 12.0
    assert first_bad("wrong", found, FLOAT, 10.0) == 13.0
    assert first_bad("errors", found, FLOAT, 10.0) == 14.0
    assert first_bad("errors", found[:-1], FLOAT, 10.0) is None


def test_decision_is_the_last_way_back_before_the_weight_was_zero() -> None:
    history = [
        {"at": "2026-01-01T00:00:00Z", "stage": "Held"},
        {"at": "2026-01-01T00:00:20.5Z", "stage": "Canary"},
        {"at": "2026-01-01T00:00:25Z", "stage": "Held"},
        {"at": "2026-01-01T00:00:30.250000Z", "stage": "Held"},
        {"at": "2026-01-01T00:00:40Z", "stage": "RolledBack"},
    ]
    since = 1767225600.0 + 10
    zero = since + 25
    assert decided_at({"history": history}, since, zero) == 1767225600.0 + 30.25
    assert decided_at({"history": history[:2]}, since, zero) is None
    assert decided_at({}, since, zero) is None


def test_int8_weight_is_that_of_the_split_not_of_the_critical_rule() -> None:
    def rule(**weights: int) -> dict[str, object]:
        return {"backendRefs": [{"name": f"vad-{name}-{'0' * 10}", "weight": each} for name, each in weights.items()]}

    route = {"metadata": {"name": "vad"}, "spec": {"rules": [rule(float=1000), rule(float=750, int8=250)]}}
    assert int8_weight(route) == 250
    route["spec"]["rules"][1] = rule(float=1000)  # type: ignore[index]
    assert int8_weight(route) == 0
