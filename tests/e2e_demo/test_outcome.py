"""The demo succeeds only if everything it promises happened."""

from dataclasses import replace

import pytest

from e2e.demo.outcome import BadArtifact, Outcome, Requests, Rollback

GOOD = Outcome(
    setup_seconds=12.5,
    promoted=True,
    weights_seen=(0.0, 5.0, 25.0, 50.0, 100.0),
    bad_artifacts=(BadArtifact("Rejected", "OverBudget", 0.0), BadArtifact("RolledBack", "mismatch", 0.0)),
    rollbacks=(Rollback("errors", "errors", 3.2, 0.4, condemned=True, scrape_seconds=1.0),),
    requests=Requests(sent=5000, failed=0, injected=40),
)
WRONG = {
    "not promoted": replace(GOOD, promoted=False),
    "traffic": replace(GOOD, bad_artifacts=(GOOD.bad_artifacts[0], BadArtifact("RolledBack", "mismatch", 5.0))),
    "1 of 2": replace(GOOD, bad_artifacts=GOOD.bad_artifacts[:1]),
    "1 requests failed": replace(GOOD, requests=Requests(5000, 1, 0)),
    "4999 requests": replace(GOOD, requests=Requests(4999, 0, 0)),
    "fault errors": replace(GOOD, rollbacks=(Rollback("errors", "", None, None, condemned=False, scrape_seconds=1.0),)),
}


def test_good_outcome_has_no_failures() -> None:
    assert GOOD.failures() == []


@pytest.mark.parametrize("word", WRONG)
def test_each_broken_promise_is_a_failure_that_names_it(word: str) -> None:
    (failure,) = WRONG[word].failures()
    assert word in failure


def test_json_has_the_promised_keys() -> None:
    found = GOOD.to_json()
    assert list(found) == ["setup_seconds", "promoted", "weights_seen", "bad_artifacts", "rollbacks", "requests"]
    assert list(found["bad_artifacts"][0]) == ["stage", "reason", "max_weight"]
    assert list(found["rollbacks"][0]) == [
        "fault",
        "reason",
        "first_bad_answer_to_weight_zero_seconds",
        "decided_to_weight_zero_seconds",
        "condemned",
        "scrape_seconds",
    ]
    assert list(found["requests"]) == ["sent", "failed", "injected"]
