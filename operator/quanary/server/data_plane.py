"""One inference, without transport: a question in, an answer out."""

from collections.abc import Awaitable
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from quanary.server.engine import Engine, Execution, Overloaded
from quanary.server.messages import Request, Signature
from quanary.server.soon import There, follow
from quanary.server.tensors import Malformed, Tensors
from quanary.wire.inference import MODEL_VERSION, PLATFORM, ErrorMessage, ModelMetadata

Headers = tuple[tuple[bytes, bytes], ...]

JSON: Final = (b"content-type", b"application/json")
RETRY_SOON: Final = (b"retry-after", b"1")
CLOSE: Final = (b"connection", b"close")
_MESSAGE_LIMIT: Final = 1000


class Inference(There, msgspec.Struct, frozen=True):
    """A question and its answer, for those who look at it once it has left."""

    inputs: Tensors
    own: Tensors  # all outputs of this server's model
    outputs: Tensors  # what was answered: float's, if it was escalated there
    execution_seconds: float  # of this server's model
    headers: Headers = ()  # that say so on the answer
    # Of a twin's question: the digest of the server whose user asked first, and how many servers asked before this one.
    asker: str = ""
    hops: int = 0

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
    """Who answers a question: this server's model, or another's."""

    def answer(self, inputs: Tensors, engine: Engine) -> Awaitable[Inference]:
        """The inference as it is to be answered.

        Raises:
            Overloaded: whoever must answer cannot now. Whatever else is raised is the model's failure.
        """
        ...


class OwnAnswers:
    """The policy of answering everything oneself."""

    def answer(self, inputs: Tensors, engine: Engine) -> Awaitable[Inference]:
        """What the model says."""
        return follow(engine.infer(inputs), partial(Inference.of, inputs))


class Question(Protocol):
    """A request in the form of its transport."""

    def read(self, signature: Signature) -> Request:
        """What is asked.

        Raises:
            Malformed: it breaks the protocol or does not fit `signature`.
        """
        ...

    def write(self, name: str, request: Request, outputs: Tensors, signature: Signature) -> tuple[bytes, Headers]:
        """The body and the headers of an answer in the same form.

        Raises:
            Malformed: an output cannot be written in the form that was asked for.
        """
        ...


class Answer(There, msgspec.Struct, frozen=True):
    """Status, headers and body for whoever asked."""

    status: int
    body: bytes
    headers: Headers = (JSON,)
    inference: Inference | None = None

    def adding(self, *headers: tuple[bytes, bytes]) -> "Answer":
        """The same answer with more headers."""
        return Answer(self.status, self.body, (*self.headers, *headers), self.inference)

    def unseen(self) -> "Answer":
        """The same answer, for no observer."""
        return Answer(self.status, self.body, self.headers)


class Refused(Exception):  # noqa: N818
    """A request that gets this answer and nothing else."""

    def __init__(self, answer: Answer) -> None:
        """Carry the answer."""
        super().__init__(answer.status)
        self.answer = answer


def refusal(status: int, message: str) -> Answer:
    """`{"error": message}`; 503 asks to come again."""
    body = msgspec.json.encode(ErrorMessage(message[:_MESSAGE_LIMIT]))
    return Answer(status, body, (JSON, RETRY_SOON) if status == 503 else (JSON,))


def json_answer(value: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, msgspec.json.encode(value))


OWN_ANSWERS: Final = OwnAnswers()


class DataPlane:
    """A model under its public name."""

    def __init__(self, name: str, signature: Signature, engine: Engine) -> None:
        """Answer for `name` by `engine`, whose tensors `signature` declares."""
        self.name = name
        self.signature = signature
        self._engine = engine

    def metadata(self) -> ModelMetadata:
        """What the model takes and gives."""
        return ModelMetadata(self.name, (MODEL_VERSION,), PLATFORM, self.signature.inputs, self.signature.outputs)

    def infer(self, question: Question, policy: Policy = OWN_ANSWERS) -> Awaitable[Answer]:
        """An answer, whatever comes in: 200, 400 for the asker's mistakes, 503 overloaded, 500 for the model's."""
        try:
            request = question.read(self.signature)
            inference = policy.answer(request.inputs, self._engine)
        except Exception as error:  # noqa: BLE001
            return _failure(error)
        return follow(inference, partial(self._written, question, request), _failure)

    def _written(self, question: Question, request: Request, inference: Inference) -> Answer:
        try:
            body, headers = question.write(self.name, request, inference.outputs, self.signature)
        except Exception as error:  # noqa: BLE001
            return _failure(error)
        return Answer(200, body, headers + inference.headers, inference)


def _failure(error: Exception) -> Answer:
    match error:
        case Malformed():
            return refusal(400, str(error))
        case Overloaded():
            return refusal(503, str(error))
        case _:
            # A model can fail in any way; the gates must see it.
            return refusal(500, f"inference failed: {error}")
