"""One inference, without transport: a body and its header length in, an answer out."""

from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec

from quanary.server.engine import Engine, Execution, Overloaded
from quanary.server.messages import Signature, read_request, write_response
from quanary.server.tensors import Malformed, Tensors
from quanary.wire.inference import HEADER_LENGTH, MODEL_VERSION, PLATFORM, ErrorMessage, ModelMetadata

Headers = tuple[tuple[bytes, bytes], ...]

JSON: Final = (b"content-type", b"application/json")
BINARY: Final = (b"content-type", b"application/octet-stream")
RETRY_SOON: Final = (b"retry-after", b"1")
_MESSAGE_LIMIT: Final = 1000


@dataclass(frozen=True)
class Inference:
    """A question and its answer, for those who look at it once it has left."""

    inputs: Tensors
    own: Tensors  # all outputs of this server's model
    outputs: Tensors  # what was answered: float's, if it was escalated there
    execution_seconds: float  # of this server's model
    headers: Headers = ()  # that say so on the answer

    @classmethod
    def of(cls, inputs: Tensors, execution: Execution) -> "Inference":
        """One that is answered by this server's model."""
        return cls(inputs, execution.outputs, execution.outputs, execution.seconds)


class Observer(Protocol):
    """Who looks at answers after they have left; must return at once and raise nothing."""

    def see(self, inference: Inference) -> None:
        """Look at one."""
        ...


class Policy(Protocol):
    """Who may have a question answered otherwise than by this server's model."""

    async def settle(self, inference: Inference) -> Inference:
        """The inference as it is to be answered: the same one, or with other `outputs` and `headers`."""
        ...


class OwnAnswers:
    """The policy of answering everything oneself."""

    async def settle(self, inference: Inference) -> Inference:
        """The same."""
        return inference


@dataclass(frozen=True)
class Answer:
    """Status, headers and body for whoever asked."""

    status: int
    body: bytes
    headers: Headers = (JSON,)
    inference: Inference | None = None

    def adding(self, *headers: tuple[bytes, bytes]) -> "Answer":
        """The same answer with more headers."""
        return replace(self, headers=(*self.headers, *headers))


def refusal(status: int, message: str) -> Answer:
    """`{"error": message}`; 503 asks to come again."""
    body = msgspec.json.encode(ErrorMessage(message[:_MESSAGE_LIMIT]))
    return Answer(status, body, (JSON, RETRY_SOON) if status == 503 else (JSON,))


OWN_ANSWERS: Final = OwnAnswers()


class DataPlane:
    """A model under its public name."""

    def __init__(self, name: str, signature: Signature, engine: Engine) -> None:
        """Answer for `name` by `engine`, whose tensors `signature` declares."""
        self.name = name
        self.signature = signature
        self._engine = engine

    async def run(self, inputs: Tensors, policy: Policy) -> Inference:
        """Ask the model, then the policy."""
        return await policy.settle(Inference.of(inputs, await self._engine.infer(inputs)))

    def metadata(self) -> ModelMetadata:
        """What the model takes and gives."""
        return ModelMetadata(self.name, (MODEL_VERSION,), PLATFORM, self.signature.inputs, self.signature.outputs)

    async def infer(self, body: bytes, header_length: bytes | None, policy: Policy = OWN_ANSWERS) -> Answer:
        """An answer, whatever comes in: 200, 400 for the asker's mistakes, 503 overloaded, 500 for the model's."""
        try:
            request = read_request(body, header_length, self.signature)
            inference = await self.run(request.inputs, policy)
            content, head = write_response(self.name, request, inference.outputs, self.signature)
        except Malformed as error:
            return refusal(400, str(error))
        except Overloaded as error:
            return refusal(503, str(error))
        except Exception as error:  # noqa: BLE001  a model can fail in any way; the gates must see it
            return refusal(500, f"inference failed: {error}")
        headers: Headers = (JSON,) if head is None else (BINARY, (HEADER_LENGTH.encode(), str(head).encode()))
        return Answer(200, content, (*headers, *inference.headers), inference)
