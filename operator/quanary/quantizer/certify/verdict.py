"""The one word on an artifact, and the sentence behind it."""

from typing import Final

from quanary.api.v1alpha1 import Verdict
from quanary.quantizer.benefit.decide import at_batch_one, decide
from quanary.quantizer.certify.bounds import FEW
from quanary.quantizer.certify.sequence import is_certified
from quanary.wire.report import BenefitFigures, SealedSignoff

# As the controller bounds it: tighter takes long to prove, wider says nothing.
LEAST_GATE: Final = 0.02
LARGEST_GATE: Final = 0.5


def judge(signoff: SealedSignoff, figures: BenefitFigures | None) -> tuple[Verdict, str]:
    """The verdict and its sentence; benefit is judged, and need be measured, only on what is certified.

    OverBudget where the drop seen is over the budget; NotCertifiable where only its bound is.

    Raises:
        ValueError: certified, but not measured at batch 1.
    """
    if signoff.drop > signoff.max_drop:
        return Verdict.OVER_BUDGET, drop_sentence(signoff)
    if not is_certified(signoff):
        return Verdict.NOT_CERTIFIABLE, f"{drop_sentence(signoff)}; {_what_would_help(signoff)}"
    if figures is None:
        message = "a certified artifact whose benefit nobody measured"
        raise ValueError(message)
    verdict, benefit = _benefit(figures)
    return verdict, f"{drop_sentence(signoff)}; {benefit}"


def drop_sentence(signoff: SealedSignoff) -> str:
    """The drop with its bound and the budget."""
    sealed = f"{signoff.samples} sealed samples" + (f" in {signoff.groups} groups" if signoff.groups else "")
    return (
        f"{signoff.metric} drops by {signoff.drop:.4f} (at most {signoff.drop_upper_bound:.4f} with confidence"
        f" {signoff.confidence:.6g}) on {sealed}; the budget is {signoff.max_drop:g}"
    )


def _what_would_help(signoff: SealedSignoff) -> str:
    needed = signoff.samples_needed
    number = f"about {needed} samples are needed" if needed else "no number of samples would do at this drop"
    if signoff.opening == 1:
        return number
    return f"bring fresh data: this was opening {signoff.opening} of the seal, and each may err less; {number} of those"


def _benefit(figures: BenefitFigures) -> tuple[Verdict, str]:
    one, benefit, saved = at_batch_one(figures), decide(figures), 1 - figures.size_ratio
    speed = (
        f"{one.ratio:.2f} times as fast as float on this CPU ({one.interval.low:.2f} to {one.interval.high:.2f});"
        f" {figures.min_speedup:g} is asked for"
    )
    if benefit.faster:
        return Verdict.BENEFICIAL, speed
    if benefit.faster is None:
        return Verdict.INCONCLUSIVE, f"{speed}: not decided in {figures.blocks} blocks"
    if benefit.smaller:
        return Verdict.SIZE_ONLY, f"{speed}; but {saved:.0%} smaller"
    return Verdict.NOT_BENEFICIAL, f"{speed}; {saved:.0%} smaller, {figures.min_size_reduction:.0%} is asked for"


def mismatch_gate(signoff: SealedSignoff) -> float:
    """The share of live answers that may differ, where nobody sets one: twice what sealed data leave possible.

    So the gate neither fires nor holds on what is normal; at least 0.02, at most 0.5.
    """
    return min(max(LEAST_GATE, 2 * signoff.disagreement_upper_bound), LARGEST_GATE)


def warnings_of(signoff: SealedSignoff) -> tuple[str, ...]:
    """What a person should know of a sign-off before it goes live."""
    warnings = []
    gate = mismatch_gate(signoff)
    if gate > LEAST_GATE:
        warnings.append(
            f"up to {signoff.disagreement_upper_bound:.4f} of answers may differ from float's: a mismatch gate below"
            f" {gate:.4f} may hold the rollout or roll it back"
        )
    units = signoff.groups or signoff.samples
    if units < FEW:
        what = "groups" if signoff.groups else "samples"
        warnings.append(f"only {units} independent sealed {what}: bring more before you rely on the bound")
    return tuple(warnings)
