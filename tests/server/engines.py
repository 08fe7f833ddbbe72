"""Engines that do what bad models do."""

import asyncio

from msgspec.structs import replace

from quanary.server.engine import Engine, Execution
from quanary.server.tensors import Tensors


class Failing:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def infer(self, inputs: Tensors) -> Execution:
        raise RuntimeError("kernel exploded")


class Cancelled:
    """Its way to fail is to be cancelled, by nobody outside."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def infer(self, inputs: Tensors) -> Execution:
        raise asyncio.CancelledError


class Hung:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def infer(self, inputs: Tensors) -> Execution:
        await asyncio.Event().wait()
        return await self.engine.infer(inputs)


class Held:
    """Waits for the test's leave."""

    def __init__(self, engine: Engine, release: asyncio.Event) -> None:
        self.engine = engine
        self.release = release
        self.reached = asyncio.Event()

    async def infer(self, inputs: Tensors) -> Execution:
        self.reached.set()
        await self.release.wait()
        return await self.engine.infer(inputs)


class Slow:
    """Half a second in the model, without spending it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def infer(self, inputs: Tensors) -> Execution:
        execution = await self.engine.infer(inputs)
        return replace(execution, seconds=execution.seconds + 0.5)


class Wrong:
    """Scores upside down."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def infer(self, inputs: Tensors) -> Execution:
        execution = await self.engine.infer(inputs)
        return replace(execution, outputs={name: -array for name, array in execution.outputs.items()})
