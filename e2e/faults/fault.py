"""What can be wrong with an engine, and the engine that does it."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from quanary.server.engine import Engine, Execution
from quanary.server.tensors import Tensors

Kind = Literal["none", "wrong", "slow", "errors"]
# In the text of every error made here, so that a client can tell it from a real one.
MARK: Final = "injected"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which share of the answers goes bad, and how."""

    kind: Kind = "none"
    share: float = 1.0
    delay_seconds: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not 0 <= self.share <= 1:
            message = f"share: found {self.share}; allowed: 0 to 1"
            raise ValueError(message)
        if not 0 <= self.delay_seconds <= 60:
            message = f"delaySeconds: found {self.delay_seconds}; allowed: 0 to 60"
            raise ValueError(message)


def read_fault(body: bytes) -> Fault:
    """A fault out of JSON.

    Raises:
        ValueError: naming the field and what is allowed.
    """
    try:
        return msgspec.json.decode(body, type=Fault)
    except msgspec.MsgspecError as error:
        message = f"{error}; kinds: {', '.join(get_args(Kind))}"
        raise ValueError(message) from error


class Injected(RuntimeError):  # noqa: N818
    """An error made on purpose."""


@dataclass
class Switch:
    """The fault in force, and since when users feel it. Set by one thread, read by another: whole values only."""

    is_armed: bool  # only a server of variant int8 goes bad
    fault: Fault = field(default_factory=Fault)
    first_at: float | None = None  # Unix seconds of the first bad answer of this fault
    injected: int = 0

    def turn(self, fault: Fault) -> None:
        """Put a fault in force, counting anew."""
        self.fault, self.first_at, self.injected = fault, None, 0

    def draw(self) -> Kind:
        """What happens to the next answer."""
        fault = self.fault
        if not self.is_armed or fault.kind == "none" or random.random() >= fault.share:
            return "none"
        self.first_at = self.first_at or time.time()
        self.injected += 1
        return fault.kind

    def describe(self) -> dict[str, Any]:
        """For GET /fault."""
        return {
            "kind": self.fault.kind,
            "share": self.fault.share,
            "delaySeconds": self.fault.delay_seconds,
            "isArmed": self.is_armed,
            "injected": self.injected,
            "firstAt": self.first_at,
        }


class FaultyEngine:
    """An engine whose answers go bad by a switch."""

    def __init__(self, engine: Engine, switch: Switch) -> None:
        """Stand before `engine`."""
        self._engine = engine
        self._switch = switch

    async def infer(self, inputs: Tensors) -> Execution:
        """The engine's answer, unless the switch says otherwise.

        Raises:
            Injected: the fault is errors.
        """
        match self._switch.draw():
            case "errors":
                raise Injected(MARK)
            case "slow":
                return await self._slow(inputs, self._switch.fault.delay_seconds)
            case "wrong":
                execution = await self._engine.infer(inputs)
                spoilt = {name: spoiled(array) for name, array in execution.outputs.items()}
                return Execution(spoilt, execution.seconds)
            case "none":
                return await self._engine.infer(inputs)

    async def _slow(self, inputs: Tensors, delay_seconds: float) -> Execution:
        execution = await self._engine.infer(inputs)
        await asyncio.sleep(delay_seconds)
        return Execution(execution.outputs, execution.seconds + delay_seconds)


def spoiled(array: NDArray[Any]) -> NDArray[Any]:
    """Another answer of the same shape: every class one further, or, where there is one score alone, its complement."""
    if array.ndim == 0 or array.dtype.kind != "f":
        return array
    spoilt: NDArray[Any] = 1 - array if array.shape[-1] == 1 else np.roll(array, 1, axis=-1)
    return spoilt
