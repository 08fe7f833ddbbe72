"""How one INT8 candidate is made: every choice, by name, so that a recipe can be searched, cached and reported."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class Approach(StrEnum):
    """Where activation ranges come from."""

    STATIC = "Static"  # from calibration data
    DYNAMIC = "Dynamic"  # at run time; MatMul, Gemm and LSTM only: ConvInteger always loses on CPUs


class Scope(StrEnum):
    """Which operators a static recipe quantizes."""

    CORE = "Core"  # Conv, MatMul, Gemm
    ALL = "All"  # everything the quantizer knows


class Activations(StrEnum):
    """Type of quantized activations."""

    UINT8 = "UInt8"
    UINT16 = "UInt16"  # opset 21; accurate, but no CPU kernel: for size


class Granularity(StrEnum):
    """Scales of a weight."""

    PER_TENSOR = "PerTensor"
    PER_CHANNEL = "PerChannel"


class Method(StrEnum):
    """How a range follows from what calibration saw."""

    MIN_MAX = "MinMax"
    PERCENTILE = "Percentile"
    ENTROPY = "Entropy"
    MEAN_SQUARED_ERROR = "MeanSquaredError"


@dataclass(frozen=True)
class Recipe:
    """One way to quantize a normalised graph. `kept_float` names nodes left in float, the user's and the search's."""

    approach: Approach = Approach.STATIC
    scope: Scope = Scope.CORE
    activations: Activations = Activations.UINT8
    granularity: Granularity = Granularity.PER_CHANNEL
    reduce_range: bool = True  # 7-bit weights: the same results on CPUs with and without VNNI
    method: Method = Method.MIN_MAX
    kept_float: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """For people: `static core UInt8 PerChannel 7-bit MinMax, 3 in float`."""
        words = [self.approach.lower()]
        if self.approach == Approach.STATIC:
            words += [self.scope.lower(), self.activations]
        words += [self.granularity, "7-bit" if self.reduce_range else "8-bit"]
        if self.approach == Approach.STATIC:
            words.append(self.method)
        kept = f", {len(self.kept_float)} in float" if self.kept_float else ""
        return " ".join(words) + kept

    @property
    def portable(self) -> bool:
        """Whether CPUs with and without VNNI compute the same: 16-bit activations run in float."""
        return self.reduce_range or (self.approach == Approach.STATIC and self.activations == Activations.UINT16)

    @property
    def key(self) -> str:
        """A digest of every choice, for caches."""
        return hashlib.sha256(repr(self).encode()).hexdigest()
