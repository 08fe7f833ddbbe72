"""The main job on real input: good is promoted, bad never meets a user, what turns bad is taken off by itself."""

import pytest

from e2e.demo.__main__ import play, write
from e2e.demo.narrator import Narrator
from e2e.demo.outcome import Outcome

# All stories are one fixture: about 600 s, and slow proof on a busy machine is no failure.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    """All stories, played once."""
    found = play(Narrator())
    write(found)
    return found


def test_everything_goes_as_promised(outcome: Outcome) -> None:
    assert outcome.failures() == []


def test_the_good_artifact_is_promoted_by_its_declared_steps(outcome: Outcome) -> None:
    assert outcome.promoted
    assert [each for each in outcome.weights_seen if each] == [5, 25, 50, 100]


def test_bad_artifacts_never_meet_a_user_and_say_why(outcome: Outcome) -> None:
    refused, caught = outcome.bad_artifacts
    assert (refused.stage, refused.max_weight) == ("Rejected", 0)
    assert refused.reason.startswith("OverBudget")
    assert (caught.stage, caught.max_weight) == ("RolledBack", 0)
    assert "mismatch" in caught.reason


@pytest.mark.parametrize("fault", ["errors", "wrong", "slow"])
def test_what_turns_bad_is_taken_off_traffic_and_condemned(outcome: Outcome, fault: str) -> None:
    rollback = next(each for each in outcome.rollbacks if each.fault == fault)
    assert rollback.first_bad_answer_to_weight_zero_seconds is not None, rollback.reason
    assert rollback.condemned, rollback.reason


def test_no_request_failed_but_those_made_to(outcome: Outcome) -> None:
    assert outcome.requests.failed == 0
    assert outcome.requests.injected > 0
    assert outcome.requests.sent >= 5000
