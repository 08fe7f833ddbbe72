"""The metrics by name."""

import textwrap
from difflib import get_close_matches
from typing import Final

from quanary.quantizer.certify.metrics import entry
from quanary.quantizer.certify.metrics.answers import Accuracy, Agreement, RecallAtK
from quanary.quantizer.certify.metrics.confusion import F1, BinaryF1
from quanary.quantizer.certify.metrics.errors import Cosine, MeanAbsoluteError, RootMeanSquaredError
from quanary.quantizer.certify.metrics.metric import METRIC_FIELD, Metric
from quanary.quantizer.certify.metrics.ranking import RocAuc
from quanary.quantizer.certify.metrics.sequences import CharacterErrorRate, WordErrorRate
from quanary.wire.report import RefusedError

_PLAIN: Final = {
    each.name: each
    for each in (Agreement, Accuracy, F1, BinaryF1, RocAuc, MeanAbsoluteError, RootMeanSquaredError, Cosine)
}
_DECODED: Final = {each.name: each for each in (WordErrorRate, CharacterErrorRate)}
_RECALL: Final = "recall@"

# Name, sentence.
CATALOGUE: Final[tuple[tuple[str, str], ...]] = (
    *((name, each.sentence) for name, each in _PLAIN.items()),
    (f"{_RECALL}K", RecallAtK.sentence),
    *((name, each.sentence) for name, each in _DECODED.items()),
    ("module:function", entry.EntryPoint.sentence),
)
# What `--explain metrics` prints.
METRICS: Final = "\n".join(
    textwrap.fill(f"{name:<16} {sentence}", width=100, subsequent_indent=" " * 17) for name, sentence in CATALOGUE
)


def open_metric(name: str, *, allow_code: bool = False, vocabulary: tuple[str, ...] = ()) -> Metric:
    """The metric called `name`.

    `allow_code`: whether `module:function` may be imported, never from a resource. `vocabulary`: text of each class,
    for wer and cer with labels of text.

    Raises:
        RefusedError: unknown, with what is close to it.
    """
    if name in _PLAIN:
        return _PLAIN[name]()
    if name in _DECODED:
        return _DECODED[name](vocabulary)
    if name.startswith(_RECALL):
        return RecallAtK(name.removeprefix(_RECALL))
    if ":" in name:
        if not allow_code:
            raise RefusedError(METRIC_FIELD, repr(name), "a metric by name; code runs from the command line only")
        return entry.load(name)
    raise RefusedError(METRIC_FIELD, repr(name), _allowed(name))


def _allowed(name: str) -> str:
    names = [each for each, _ in CATALOGUE]
    close = get_close_matches(name.lower(), names, cutoff=0.5)
    return f"one of {', '.join(names)}" + (f"; did you mean {' or '.join(close)}?" if close else "")
