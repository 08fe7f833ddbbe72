"""The seal is opened once: the front is certified, one of it is chosen, and what it is worth is measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quanary.api.v1alpha1 import Verdict
from quanary.quantizer.benefit import measure
from quanary.quantizer.certify import (
    LEDGER_FILE,
    certify_front,
    is_certified,
    judge,
    open_seal,
    warnings_of,
    write_ledger,
)
from quanary.quantizer.inputs import Inputs
from quanary.quantizer.machine import threads_of
from quanary.quantizer.made import Candidate, Made
from quanary.quantizer.progress import Progress
from quanary.quantizer.search.front import SIZE_NOISE, SPEED_NOISE
from quanary.quantizer.search.gap import probe_provided
from quanary.quantizer.search.judge import Judge
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import BenefitFigures, GapFigures, Opening, SealedSignoff

_BENEFIT_SAMPLES: Final = 32


@dataclass(frozen=True)
class Judged:
    """The front's sign-offs in order, up to the first failure; the one chosen, and the word on it."""

    front: tuple[Candidate, ...]
    signoffs: tuple[SealedSignoff, ...]
    certified: tuple[Candidate, ...]
    chosen: Candidate
    signoff: SealedSignoff
    gap: GapFigures | None
    benefit: BenefitFigures | None
    verdict: Verdict
    because: str
    openings: tuple[Opening, ...]
    warnings: tuple[str, ...]


def judge_front(
    arguments: QuantizeArguments,
    inputs: Inputs,
    made: Made,
    work: Path,
    progress: Progress,
    announce: Callable[[Opening], None],
) -> Judged:
    """Certify from the safest to the fastest, stop at the first failure, measure the best of those certified.

    Raises:
        RefusedError: a model rejects a sealed sample, or the metric does not fit the data.
    """
    sealed = inputs.judges
    opening = open_seal(inputs.openings, inputs.sealed.sha256, [each.sha256 for each in made.front])
    openings = (*(each for each in inputs.openings if each != opening), opening)
    # Before the first look: a run that is killed after it must not have looked for nothing.
    write_ledger(Path(arguments.out) / LEDGER_FILE, openings)
    announce(opening)
    # The order of a repeated opening stands: another one would give later artifacts a fresh test.
    front = sorted(made.front, key=lambda each: opening.artifacts.index(each.sha256))
    count = len(front)
    what = "the artifact" if count == 1 else f"a front of {count}, the safest first,"
    progress.step(f"certify {what} by {arguments.metric} on {sealed.samples} sealed samples")
    signoffs = certify_front(
        inputs.model,
        [each.model for each in front],
        progress.watch(sealed.read(), sealed.samples),
        inputs.metric,
        max_drop=arguments.max_drop,
        confidence=arguments.confidence,
        opening=opening.number,
    )
    certified = _certified(front, signoffs)
    chosen = choose(certified or front[:1], arguments.objective)
    signoff = signoffs[front.index(chosen)]
    benefit = _measure(arguments, inputs, chosen, work, progress) if certified else None
    if benefit is None:
        progress.skip()
    gap = _gap_of_provided(arguments, inputs, chosen, progress) if inputs.provided else made.gap
    verdict, because = judge(signoff, benefit)
    return Judged(
        tuple(front),
        signoffs,
        certified,
        chosen,
        signoff,
        gap,
        benefit,
        verdict,
        because,
        openings,
        (*warnings_of(signoff), *_warnings_of(gap)),
    )


def _gap_of_provided(
    arguments: QuantizeArguments, inputs: Inputs, candidate: Candidate, progress: Progress
) -> GapFigures | None:
    """On sealed samples, that are open by now: there are no others, and nothing is chosen by what they say."""
    model, metric = inputs.model, inputs.metric
    peer = Judge.open(model, metric, inputs.judges, threads_of(arguments), arguments.max_drop)
    return probe_provided(peer, candidate.model.path, progress, portable=candidate.portable)


def _warnings_of(gap: GapFigures | None) -> tuple[str, ...]:
    if gap is None or not gap.saturates:
        return ()
    added = gap.drop_on_kernels - gap.drop_emulated
    return (f"this CPU's integer kernels add {added:.4f} to the drop; what was done: {gap.remedy}",)


def _certified(front: Sequence[Candidate], signoffs: Sequence[SealedSignoff]) -> tuple[Candidate, ...]:
    pairs = zip(front, signoffs, strict=False)
    return tuple(each for each, signoff in pairs if is_certified(signoff))


def choose(candidates: Sequence[Candidate], objective: str) -> Candidate:
    """By the objective, then by the other one, then the safer: they come safest first, and noise is no difference."""
    if objective == "size":
        return _fastest(_smallest(candidates))[0]
    return _smallest(_fastest(candidates))[0]


def _fastest(candidates: Sequence[Candidate]) -> list[Candidate]:
    best = max(each.speedup for each in candidates)
    return [each for each in candidates if each.speedup * SPEED_NOISE >= best]


def _smallest(candidates: Sequence[Candidate]) -> list[Candidate]:
    best = min(each.size_ratio for each in candidates)
    return [each for each in candidates if each.size_ratio <= best * SIZE_NOISE]


def _measure(
    arguments: QuantizeArguments, inputs: Inputs, chosen: Candidate, work: Path, progress: Progress
) -> BenefitFigures:
    threads = threads_of(arguments)
    progress.step(f"measure speed, memory and size with {threads} {'thread' if threads == 1 else 'threads'}")
    return measure(
        inputs.model.path,
        chosen.model.path,
        [sample.feed for sample in inputs.judges.read(_BENEFIT_SAMPLES)],
        threads=threads,
        batch=arguments.batch,
        min_speedup=arguments.min_speedup,
        min_size_reduction=arguments.min_size_reduction,
        work=work,
        progress=progress,
    )
