"""How often the certificate passes what it must not, and what it should: `python -m bench.quantizer.certify_simulation`

Tables are drawn with the true drop at the budget: passing one is a mistake, and at most 5 % of them may pass. With the
number of samples that a NotCertifiable names as enough, at least 80 % must pass at half the budget.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from bench.ranges import broken
from quanary.quantizer.certify.exact import drop_upper, proportion_upper, refutes
from quanary.quantizer.certify.planning import paired_samples, proportion_power, proportion_samples

Ints = npt.NDArray[np.int64]

CONFIDENCE: Final = 0.95
SEED: Final = 7
RANGES: Final = Path(__file__).with_name("ranges.toml")
SAMPLES: Final = (200, 500, 1000, 2000)
BUDGETS: Final = (0.01, 0.02)
# P(gained): how often the artifact is right where float is wrong, beside the drop.
GAINS: Final = (0.0, 0.001, 0.005, 0.02, 0.05)
# Half the budget, and gains for which a number of samples is asked.
PLANS: Final = ((0.01, 0.0), (0.01, 0.002), (0.02, 0.0), (0.02, 0.005), (0.02, 0.02), (0.05, 0.05))


@dataclass(frozen=True)
class Region:
    """All tables that certify: `most_lost[gained]`, -1 for none."""

    samples: int
    most_lost: Ints

    @classmethod
    def of(cls, samples: int, budget: float, most_gained: int) -> "Region":
        """Walked along its edge, which rises with what is gained."""
        edge, lost = [], -1
        for gained in range(most_gained + 1):
            while lost >= 0 and not refutes(lost, gained, samples, budget, CONFIDENCE):
                lost -= 1
            while lost < samples - gained and refutes(lost + 1, gained, samples, budget, CONFIDENCE):
                lost += 1
            edge.append(lost)
        return cls(samples, np.array(edge))

    def chance(self, losing: float, gaining: float) -> float:
        """Exact probability that a table certifies."""
        gained = np.arange(len(self.most_lost))
        lost = np.where(
            self.most_lost >= 0,
            binom.cdf(self.most_lost, self.samples - gained, losing / (1 - gaining)),
            0.0,
        )
        return float((binom.pmf(gained, self.samples, gaining) * lost).sum())

    def passes(self, lost: Ints, gained: Ints) -> Ints:
        """Of drawn tables; more gained than the edge was walked for counts as the last of it."""
        return np.asarray(lost <= self.most_lost[np.minimum(gained, len(self.most_lost) - 1)], np.int64)


@dataclass(frozen=True)
class AtBudget:
    """Chance of passing at the budget."""

    samples: int
    budget: float
    gaining: float
    exact: float
    simulated: float


@dataclass(frozen=True)
class AtHalf:
    """Chance of passing at half the budget with the number named as enough. `gaining` None: nothing can be gained."""

    budget: float
    gaining: float | None
    samples: int
    power: float


def at_budget(samples: int, budget: float, gains: tuple[float, ...], tables: int) -> list[AtBudget]:
    """Paired tables whose true drop is the budget."""
    region = Region.of(samples, budget, int(binom.ppf(1 - 1e-7, samples, max(gains))) + 1)
    draw, rows = np.random.default_rng(SEED), []
    for gaining in gains:
        chances = [budget + gaining, gaining, 1 - budget - 2 * gaining]
        lost, gained, _ = draw.multinomial(samples, chances, tables).T
        simulated = float(region.passes(lost, gained).mean())
        rows.append(AtBudget(samples, budget, gaining, region.chance(budget + gaining, gaining), simulated))
    return rows


def at_half(budget: float, gaining: float) -> AtHalf:
    """Paired tables at half the budget, as many as named."""
    samples = paired_samples(budget / 2, gaining, budget, CONFIDENCE)
    assert samples is not None
    region = Region.of(samples, budget, int(binom.ppf(1 - 1e-7, samples, gaining)) + 1)
    return AtHalf(budget, gaining, samples, region.chance(budget / 2 + gaining, gaining))


def agreement_at_half(budget: float) -> AtHalf:
    """The same where nothing can be gained."""
    samples = proportion_samples(budget / 2, budget, CONFIDENCE)
    assert samples is not None
    return AtHalf(budget, None, samples, proportion_power(samples, budget / 2, budget, CONFIDENCE))


def agreement_at_budget(samples: int, budget: float, tables: int) -> AtBudget:
    """One proportion whose true value is the budget."""
    lost = np.random.default_rng(SEED).binomial(samples, budget, tables)
    passing = [proportion_upper(int(each), samples, CONFIDENCE) <= budget for each in np.arange(lost.max() + 1)]
    exact = proportion_power(samples, budget, budget, CONFIDENCE)
    return AtBudget(samples, budget, 0.0, exact, float(np.array(passing)[lost].mean()))


def edge_disagrees(samples: int, budget: float, gained: int) -> bool:
    """Whether the bound itself and the short way used here part at the edge of the region."""
    edge = int(Region.of(samples, budget, gained).most_lost[-1])
    inside = edge < 0 or drop_upper(edge, gained, samples, CONFIDENCE) <= budget
    return not (inside and drop_upper(edge + 1, gained, samples, CONFIDENCE) > budget)


def main() -> int:
    """Print the tables, write JSON, and say whether the ranges hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--tables", type=int, default=10_000)
    arguments = parser.parse_args()
    started = time.monotonic()
    mistakes = [agreement_at_budget(n, budget, arguments.tables) for n in SAMPLES for budget in BUDGETS]
    mistakes += [row for n in SAMPLES for budget in BUDGETS for row in at_budget(n, budget, GAINS, arguments.tables)]
    powers = [agreement_at_half(budget) for budget in BUDGETS] + [at_half(*each) for each in PLANS]
    parted = [each for each in ((200, 0.02, 3), (1000, 0.01, 5), (2000, 0.01, 20)) if edge_disagrees(*each)]
    figures = {
        "certify.false_passes": max(each.exact for each in mistakes),
        "certify.false_passes_simulated": max(each.simulated for each in mistakes),
        "certify.power_at_half_budget": min(each.power for each in powers),
    }
    _print(mistakes, powers, time.monotonic() - started)
    arguments.out.mkdir(parents=True, exist_ok=True)
    written = {"figures": figures, "atBudget": [asdict(each) for each in mistakes]}
    written["atHalf"] = [asdict(each) for each in powers]
    (arguments.out / "certify_simulation.json").write_text(json.dumps(written, indent=2) + "\n")
    failures = [
        *broken(figures, RANGES, ("certify.",)),
        *(f"the bound and its short way part at {each}" for each in parted),
    ]
    print("\n".join(failures) or "all ranges hold")
    return 1 if failures else 0


def _print(mistakes: list[AtBudget], powers: list[AtHalf], seconds: float) -> None:
    print(
        f"confidence {CONFIDENCE}, {seconds:.0f} s\n\nat the budget       n  budget  gained   passes exact  simulated"
    )
    for each in mistakes:
        print(f"{each.samples:>21}{each.budget:>8}{each.gaining:>8}{each.exact:>15.4f}{each.simulated:>11.4f}")
    print("\nat half the budget  n named  budget  gained   power")
    for plan in powers:
        gained = "none" if plan.gaining is None else plan.gaining
        print(f"{plan.samples:>27}{plan.budget:>8}{gained:>8}{plan.power:>8.3f}")


if __name__ == "__main__":
    sys.exit(main())
