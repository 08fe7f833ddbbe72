"""What an answer of the twin says of a pair."""

from typing import Final

import msgspec

from quanary.api.names import Variant
from quanary.server.client import Response
from quanary.server.comparison.divergence import Array
from quanary.server.comparison.measure import Measure
from quanary.server.comparison.pairs import Pair
from quanary.server.comparison.twin import is_digest
from quanary.server.messages import read_response
from quanary.wire.inference import DIGEST_HEADER, ESCALATED_HEADER, EXECUTION_HEADER, HEADER_LENGTH

_BY_FLOAT: Final = "float"


class Undecided(Exception):  # noqa: N818
    """The twin said nothing of the model."""


class Verdict(msgspec.Struct, frozen=True):
    """One pair, judged."""

    is_match: bool  # of what users get
    is_own_match: bool  # of what the models themselves say
    is_slower: bool  # this server's model ran longer than the twin's
    divergence: float | None = None  # of the models' answers; None: not measured
    execution_seconds: float | None = None  # of the twin's model

    @classmethod
    def no_answer(cls) -> "Verdict":
        """INT8 gave none."""
        return cls(is_match=False, is_own_match=False, is_slower=False)


def digest_of(answer: Response) -> str:
    """Which model gave the answer.

    Raises:
        Undecided: it does not say.
    """
    digest = answer.headers.get(DIGEST_HEADER, "")
    if not is_digest(digest):
        raise Undecided
    return digest


def judge(pair: Pair, answer: Response, measure: Measure, variant: Variant) -> Verdict:
    """Compare this server's answer, by `variant`, with its twin's.

    Raises:
        Undecided: the answer lacks what is compared.
        Malformed: it breaks the protocol.
        Incomparable: the measure is not defined on float's answer.
    """
    seconds = _execution_seconds(answer)
    twins = _output(answer, measure)
    own = _apart(pair.own, twins, measure, variant)
    is_own_match = measure.is_match(own)
    is_match = is_own_match if pair.given is None else measure.is_match(_apart(pair.given, twins, measure, variant))
    # Float's twin says that it would have had float answer a user instead.
    is_match = is_match or answer.headers.get(ESCALATED_HEADER) == _BY_FLOAT
    return Verdict(
        is_match=is_match,
        is_own_match=is_own_match,
        is_slower=pair.execution_seconds > seconds,
        divergence=None if measure.is_top1 else own,
        execution_seconds=seconds,
    )


def _apart(own: Array, twins: Array, measure: Measure, variant: Variant) -> float:
    return measure.apart(own, twins) if variant == "float" else measure.apart(twins, own)


def _output(answer: Response, measure: Measure) -> Array:
    head = answer.headers.get(HEADER_LENGTH)
    outputs = read_response(answer.body, None if head is None else head.encode())
    if measure.output not in outputs:
        raise Undecided
    return outputs[measure.output]


def _execution_seconds(answer: Response) -> float:
    try:
        return float(answer.headers.get(EXECUTION_HEADER, ""))
    except ValueError:
        raise Undecided from None
