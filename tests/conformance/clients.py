"""tritonclient's four clients behind one way of calling: they have the same methods, two of them to be awaited."""

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from tests.conformance.target import Target

HTTP = ("http", "http.aio")
GRPC = ("grpc", "grpc.aio")
ALL = (*HTTP, *GRPC)


class Client:
    """One of them, connected."""

    def __init__(self, name: str, target: Target, runner: asyncio.Runner) -> None:
        self.is_http = name in HTTP
        self.target = target
        self.kinds: ModuleType = import_module(f"tritonclient.{name}")
        self._runner = runner
        self._client = runner.run(self._connect(target.address if self.is_http else target.grpc))

    async def _connect(self, address: str) -> Any:
        return self.kinds.InferenceServerClient(address)

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """A method's result."""
        result = getattr(self._client, method)(*arguments, **named)
        return self._runner.run(_awaited(result)) if inspect.isawaitable(result) else result

    def described(self, method: str, *arguments: Any) -> Any:
        """A method's result as JSON has it."""
        return self.call(method, *arguments) if self.is_http else self.call(method, *arguments, as_json=True)

    def input(self, name: str, values: Any, datatype: str, **more: Any) -> Any:
        """An input as the client makes it of an array."""
        tensor = self.kinds.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, **more)
        return tensor

    def output(self, name: str, **more: Any) -> Any:
        """An output to ask for."""
        return self.kinds.InferRequestedOutput(name, **more)


async def _awaited(result: Any) -> Any:
    return await result


@contextmanager
def connected(name: str, target: Target) -> Iterator[Client]:
    with asyncio.Runner() as runner:
        client = Client(name, target, runner)
        try:
            yield client
        finally:
            client.call("close")
