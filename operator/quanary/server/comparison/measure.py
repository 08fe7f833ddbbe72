"""Which output is compared and by which divergence, as the arguments say and the model allows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from quanary.server.comparison import divergence
from quanary.server.comparison.divergence import Array
from quanary.server.messages import Signature
from quanary.wire.inference import TensorMetadata
from quanary.wire.launch import ServeArguments
from quanary.wire.report import RefusedError

TOP1: Final = "top1"
SMALL_BYTES: Final = 4096
# By its name in the arguments, each with the largest limit that something could still exceed.
SOFT: Final[dict[str, tuple[Callable[[Array, Array], float], float]]] = {
    "kullbackleibler": (divergence.kullback_leibler, 13.0),  # nats; no probability counts as less than 1e-6
    "cosine": (divergence.cosine, 2.0),
    "boxoverlap": (divergence.box_overlap, 1.0),
    "tolerance": (divergence.tolerance, float("inf")),
}
_MEASURE: Final = "spec.gates.divergence.measure (--divergence)"
_LIMIT: Final = "spec.gates.divergence.limit (--divergence-limit)"
_OUTPUT: Final = "spec.gates.divergence.output (--divergence-output)"


@dataclass(frozen=True)
class Measure:
    """When two answers to the same input differ: when they are further apart than `limit`."""

    name: str
    output: str
    limit: float
    # A vector that the model declares as a batch of single values: each is a row of its own.
    is_batch_of_scalars: bool = False

    @classmethod
    def of(cls, arguments: ServeArguments, signature: Signature) -> "Measure":
        """What the arguments ask for.

        Raises:
            RefusedError: this model's answers cannot be compared so.
        """
        name, limit = arguments.divergence, arguments.divergence_limit
        if name not in (TOP1, *SOFT):
            raise RefusedError(_MEASURE, name, f"{TOP1}, {', '.join(SOFT)}")
        output = _output(arguments.divergence_output, signature)
        _check_limit(name, limit)
        _check_output(name, output)
        return cls(name, output.name, limit, is_batch_of_scalars=output.shape == (-1,))

    @property
    def is_top1(self) -> bool:
        """Whether classes are compared, not how far values are apart."""
        return self.name == TOP1

    def keep(self, output: Array) -> Array:
        """What counts of an answer when it is compared."""
        return divergence.top1(output) if self.is_top1 else output

    def hold(self, output: Array) -> Array:
        """What must be remembered of an answer until it is compared: of a small one all, that costs the user less."""
        if self.is_top1 and output.nbytes > SMALL_BYTES:
            return divergence.top1(output)
        # A part of a larger answer (of a batch, say) would keep all of it in memory.
        return output if output.base is None else output.copy()

    def apart(self, of_float: Array, of_int8: Array) -> float:
        """How far two answers are apart, be they whole or what was held of them.

        Raises:
            Incomparable: the measure is not defined on float's.
        """
        of_float, of_int8 = self.keep(of_float), self.keep(of_int8)
        if of_float.shape != of_int8.shape or of_float.dtype.kind != of_int8.dtype.kind:
            return float("inf")
        if self.is_top1:
            return divergence.of_top1(of_float, of_int8)
        if of_float.size == 0:
            return 0.0
        if self.name == "tolerance":
            of_float, of_int8 = self._by_rows(of_float), self._by_rows(of_int8)
        return SOFT[self.name][0](of_float, of_int8)

    def is_match(self, apart: float) -> bool:
        """Whether answers that far apart are still the same."""
        return apart <= self.limit

    def _by_rows(self, array: Array) -> Array:
        return array.reshape(-1, 1) if self.is_batch_of_scalars else np.atleast_2d(array)


def _output(name: str, signature: Signature) -> TensorMetadata:
    outputs = {each.name: each for each in signature.outputs}
    if not name:
        return signature.outputs[0]
    if name not in outputs:
        raise RefusedError(_OUTPUT, name, f"an output of the model: {', '.join(list(outputs)[:20])}")
    return outputs[name]


def _check_limit(name: str, limit: float) -> None:
    if name == TOP1:
        if limit != 0:
            raise RefusedError(_LIMIT, f"{limit:g}", "0: with top1, answers are the same or they are not")
    elif not 0 < limit < SOFT[name][1]:
        raise RefusedError(_LIMIT, f"{limit:g}", f"above 0 and below {SOFT[name][1]:g} with {name}")


def _check_output(name: str, output: TensorMetadata) -> None:
    if name == TOP1:
        return
    found = f"{output.name}: {output.datatype}{list(output.shape)}"
    if output.datatype in ("BYTES", "BOOL"):
        raise RefusedError(_OUTPUT, found, f"numbers with {name}; BYTES and BOOL only with top1")
    size = output.shape[-1] if output.shape else 1
    if name == "boxoverlap" and (len(output.shape) < 2 or size not in (-1, 4)):
        raise RefusedError(_OUTPUT, found, "boxes [x1, y1, x2, y2] with boxoverlap: shape [..., boxes, 4]")
    if name in ("kullbackleibler", "cosine") and size in (0, 1):
        raise RefusedError(_OUTPUT, found, f"at least 2 values along the last axis with {name}; 1 with tolerance")
