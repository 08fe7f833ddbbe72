"""Which of the trials are worth certifying: from the safest to the fastest, at most four."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from quanary.quantizer.search.trial import ROUNDING, Trial

LIMIT: Final = 4
# Quick looks at speed differ by some percent from run to run: less is no difference.
SPEED_NOISE: Final = 1.05
SIZE_NOISE: Final = 1.01
# A safer one is worth its place if it diverges by no more than this share.
_SAFER: Final = 0.5


@dataclass(frozen=True)
class Worth:
    """What makes an artifact worth rolling out: one that is neither would be certified for nobody."""

    min_speedup: float = 1.1
    min_size_reduction: float = 0.25

    def has(self, trial: Trial) -> bool:
        """Whether it is fast enough, give or take a quick look's noise, or small enough."""
        return trial.speedup * SPEED_NOISE >= self.min_speedup or 1 - trial.size_ratio >= self.min_size_reduction


def front_of(trials: Iterable[Trial], objective: str, max_drop: float, worth: Worth = Worth()) -> tuple[Trial, ...]:
    """In budget: the fastest, the smallest, and safer ones. Last, if it is faster, one that may fail on sealed data.

    All but the best must have some worth: each is asked every sealed sample. Certified in this order, a candidate
    that fails at the end costs the others nothing. With nothing in budget, the best attempt alone; the sealed data then
    say so.
    """
    made = [each for each in trials if not each.failure]
    safe = [each for each in made if each.in_budget]
    daring = [each for each in made if each.drop <= max_drop + ROUNDING]
    if not daring:
        return _with_roles(sorted(made, key=harm)[:1])
    best = _best(daring, objective)
    picked = _safe_picks(safe, objective, worth) if safe else [min(daring, key=harm)]
    if is_better(best, picked[0], objective):
        picked.insert(1, best)
    return _with_roles(_distinct(picked)[:LIMIT])


def best_of(trials: Iterable[Trial], objective: str) -> Trial | None:
    """By the objective; the safer one of equals. None of none."""
    given = list(trials)
    return _best(given, objective) if given else None


def is_better(trial: Trial, than: Trial, objective: str) -> bool:
    """By more than noise."""
    cost, noise = _COSTS[objective]
    return cost(trial) * noise < cost(than)


def harm(trial: Trial) -> tuple[float, float, str]:
    """What safer means: less drop, then less divergence."""
    return trial.drop, trial.divergence, trial.recipe.key


def _safe_picks(safe: Sequence[Trial], objective: str, worth: Worth) -> list[Trial]:
    """The best; a safer one with more layers in float; fastest and smallest; the safest that has a use."""
    best = _best(safe, objective)
    useful = [each for each in safe if worth.has(each)]
    safer = [each for each in useful if each.divergence <= _SAFER * best.divergence and each.drop <= best.drop]
    more = [each for each in safer if len(each.recipe.kept_float) > len(best.recipe.kept_float)]
    picked = [best]
    if more:
        picked.append(_best(more, objective))
    picked += [each for each in (_best(safe, "latency"), _best(safe, "size")) if each in useful]
    if safer:
        picked.append(min(safer, key=harm))
    return picked


def _best(trials: Sequence[Trial], objective: str) -> Trial:
    cost, noise = _COSTS[objective]
    limit = min(cost(each) for each in trials) * noise
    return min((each for each in trials if cost(each) <= limit), key=harm)


def _seconds(trial: Trial) -> float:
    return 1 / max(trial.speedup, 1e-9)


def _size(trial: Trial) -> float:
    return trial.size_ratio


_COSTS: Final[dict[str, tuple[Callable[[Trial], float], float]]] = {
    "latency": (_seconds, SPEED_NOISE),
    "size": (_size, SIZE_NOISE),
}


def _distinct(picked: Iterable[Trial]) -> list[Trial]:
    """By content: two recipes may be one file."""
    return list({each.sha256: each for each in picked}.values())


def _with_roles(picked: Sequence[Trial]) -> tuple[Trial, ...]:
    """Ordered by harm on tuning samples; one file has one role."""
    ordered = sorted(picked, key=harm)
    if not ordered:
        return ()
    fastest, smallest = _best(ordered, "latency"), min(ordered, key=_size)
    roles = {id(ordered[0]): "safest"} | {id(smallest): "smallest"} | {id(fastest): "fastest"}
    return tuple(replace(each, role=roles.get(id(each), "safer")) for each in ordered)
