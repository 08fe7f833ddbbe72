"""A front of artifacts on one sealed set: a fixed sequence, from the safest to the fastest."""

from collections.abc import Iterable, Sequence

from quanary.quantizer.certify.metrics.metric import FIELD, Metric
from quanary.quantizer.certify.table import SealedTable
from quanary.quantizer.data import Sample
from quanary.quantizer.inference import Array, Model, answers_of
from quanary.wire.report import SealedSignoff


def certify_front(  # noqa: PLR0913 - by name
    float_model: Model,
    front: Sequence[Model],
    samples: Iterable[Sample],
    metric: Metric,
    *,
    max_drop: float,
    confidence: float,
    opening: int,
) -> tuple[SealedSignoff, ...]:
    """Sign-offs up to and with the first artifact that is not certified; all if none fails.

    Each is judged at the whole error: in an order that was fixed before (on tuning data), where every test must be
    passed before the next counts, the chance that any is passed wrongly stays the error of one (Maurer, Hothorn and
    Lehmacher, 1995). One pass over the samples, and each model is asked once a sample.

    Raises:
        RefusedError: a model rejects a sample, or the metric does not fit the data.
    """
    tables = [SealedTable(metric) for _ in front]
    for sample in samples:
        expected = _ask(float_model, sample)
        for model, table in zip(front, tables, strict=True):
            table.add(expected, _ask(model, sample), sample)
    signoffs: list[SealedSignoff] = []
    for table in tables:
        signoffs.append(table.sign_off(max_drop, confidence, opening))
        if not is_certified(signoffs[-1]):
            break
    return tuple(signoffs)


def is_certified(signoff: SealedSignoff) -> bool:
    """Whether the bound of the drop is within the budget."""
    return signoff.drop_upper_bound <= signoff.max_drop


def _ask(model: Model, sample: Sample) -> list[Array]:
    return answers_of(model, sample.feed, sample.where, FIELD, who=model.path.name)
