"""`quanary quantize`: one model in, a judged front of artifacts and its report out."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from quanary.api.v1alpha1 import Signoff
from quanary.artifacts.failures import UnreachableError
from quanary.quantizer.certify import METRICS
from quanary.quantizer.explain import explain
from quanary.quantizer.graph.confine import start as start_confinement
from quanary.quantizer.machine import tool_versions
from quanary.quantizer.output import Outcome
from quanary.quantizer.pipeline import run
from quanary.quantizer.workspace import ended_by_sigterm, workspace
from quanary.wire.drift import budget_of_any
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import FrontEntry, Handover, Opening, RefusedError, clip

REFUSED: Final = 1
TRY_AGAIN: Final = 75  # EX_TEMPFAIL: the Job's next pod is the retry


def main(argv: Sequence[str]) -> int:
    """0: a verdict was reached, whichever. 1: refused, a person must change something. 75: try again. 143: SIGTERM."""
    if any(each.partition("=")[0] == "--explain" for each in argv):
        return _explain(argv)
    arguments = QuantizeArguments.parse(argv)
    # It imports while the inputs are fetched.
    start_confinement()
    opened: list[Opening] = []

    def announce(opening: Opening) -> None:
        """A pod that is killed after its look leaves this word, and no other."""
        opened.append(opening)
        _hand_over(arguments, Handover(inputs=arguments.inputs, opening=opening))

    try:
        with ended_by_sigterm(), workspace(Path(arguments.out)) as work:
            outcome = run(arguments, work, announce)
    except RefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        _hand_over(arguments, _refusal(arguments, error, opened))
        return REFUSED
    except UnreachableError as error:
        print(f"not now: {error}", file=sys.stderr)
        return TRY_AGAIN
    _hand_over(arguments, _handover(arguments, outcome))
    _say(arguments, outcome)
    return 0


def _explain(argv: Sequence[str]) -> int:
    """The topic is what follows the flag, in the same word or the next."""
    place = next(place for place, each in enumerate(argv) if each.partition("=")[0] == "--explain")
    topic = argv[place].partition("=")[2] or next(iter(argv[place + 1 :]), "")
    try:
        print(explain("steps" if topic.startswith("-") or not topic else topic, METRICS))
    except RefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        return REFUSED
    return 0


def _say(arguments: QuantizeArguments, outcome: Outcome) -> None:
    report = outcome.report
    print(f"{report.verdict}: {report.because}")
    for warning in report.warnings:
        print(f"warning: {warning}")
    print(f"artifact {report.artifact.sha256} {outcome.uri}".rstrip())
    print(f"look at {Path(arguments.out) / 'report.html'}")


def _refusal(arguments: QuantizeArguments, error: RefusedError, opened: Sequence[Opening]) -> Handover:
    """What is refused after the seal was opened has opened it all the same."""
    opening = opened[-1] if opened else None
    return Handover(inputs=arguments.inputs, refusal=error.refusal, opening=opening, tools=tool_versions())


def _handover(arguments: QuantizeArguments, outcome: Outcome) -> Handover:
    report = outcome.report
    return Handover(
        inputs=arguments.inputs,
        verdict=report.verdict,
        because=clip(report.because),
        artifact=report.artifact,
        uri=outcome.uri,
        report_sha256=outcome.report_sha256,
        signoff=Signoff.model_validate(report.signoff.model_dump()),
        front=_others(outcome),
        opening=report.openings[-1],
        model=report.model,
        cpu_features=report.cpu_features,
        tools=report.tools,
        out_of_range_budget=budget_of_any(report.drift),
    )


def _others(outcome: Outcome) -> tuple[FrontEntry, ...]:
    """What a rollback may go to, safest first: certified, published, and not the one chosen."""
    chosen = outcome.report.artifact.sha256
    digests = [each.artifact.sha256 for each in outcome.report.front]
    return tuple(
        FrontEntry(
            sha256=each.artifact.sha256,
            uri=outcome.uris[each.artifact.sha256],
            role=each.role,
            size_ratio=each.artifact.size_ratio,
            drop_upper_bound=each.signoff.drop_upper_bound,
            disagreement_upper_bound=each.signoff.disagreement_upper_bound,
            portable=each.artifact.portable,
            safer=place < digests.index(chosen),
        )
        for place, each in enumerate(outcome.report.front)
        if each.signoff and each.certified and each.artifact.sha256 in outcome.uris
        if each.artifact.sha256 != chosen
    )[:3]


def _hand_over(arguments: QuantizeArguments, handover: Handover) -> None:
    if arguments.termination_log:
        Path(arguments.termination_log).write_text(handover.to_message())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
