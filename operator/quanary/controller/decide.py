"""What should become of one QuantizedModel, judged from what is there now. Pure.

The rules are the lifecycle, in order: the first that has an opinion decides. Each bears any observation by itself.
"""

from typing import Final

from quanary.controller.decision import Decision, Observation, Rule
from quanary.controller.rules import advance, artifact, incumbent, retreat

# The order is the lifecycle: an earlier rule outranks every later one.
LIFECYCLE: Final[tuple[Rule, ...]] = (
    incumbent.refuse_invalid_spec,
    incumbent.obey_the_kill_switch,
    incumbent.start_with_float,
    retreat.roll_back_on_evidence,
    retreat.stall_on_refusal,
    retreat.retreat_on_fast_evidence,
    retreat.retreat_from_silent_canary,
    retreat.retreat_from_unready_pods,
    incumbent.wait_for_the_route,
    incumbent.refuse_unsupported_route,
    incumbent.bring_up_new_source,
    retreat.take_safer_artifact,
    retreat.keep_condemned_away,
    incumbent.hold_while_paused,
    artifact.quantize_new_inputs,
    artifact.reject_unfit_artifact,
    advance.hold_without_evidence,
    advance.hold_on_drift,
    retreat.return_after_retreat,
    advance.prove_in_shadow,
    advance.take_unproven_back,
    advance.advance_when_proven,
    advance.watch_after_promotion,
)


def decide(seen: Observation) -> Decision:
    """Take the first rule's decision."""
    for rule in LIFECYCLE:
        if decision := rule(seen):
            return decision
    message = "the last rule always has an opinion"
    raise AssertionError(message)
