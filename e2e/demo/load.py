"""Open-loop load through the gateway: arrivals by a fixed timetable, whatever the answers do."""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final, Literal, Self

import aiohttp

from e2e.demo.messages import request, top1
from e2e.demo.shards import Arrays
from e2e.demo.speech import ANSWER
from quanary.wire.inference import DIGEST_HEADER, HEADER_LENGTH

INJECTED: Final = b"injected"  # in the text of every error that the fault switch makes
NO_ANSWER: Final = 0
NO_CLASS: Final = -1
TIMEOUT_SECONDS: Final = 15.0

Mark = Literal["", "header", "path"]  # how a request says that it is critical


@dataclass(frozen=True)
class Question:
    """A request made beforehand."""

    number: int
    body: bytes
    headers: Mapping[str, str]
    right: int = NO_CLASS  # float's answer, if it is known beforehand
    mark: Mark = ""
    prefix: str = ""  # of the path, before /v2


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Times are Unix seconds."""

    model: str
    due_at: float  # by the timetable: latency runs from here, so a late sender hides nothing
    done_at: float
    status: int  # 0: no answer at all
    question: int
    digest: str = ""  # of the model that answered, short; empty if none did
    top1: int = NO_CLASS  # the answered class
    is_injected: bool = False
    error: str = ""
    right: int = NO_CLASS  # float's answer, if it was known beforehand
    mark: Mark = ""

    @property
    def has_failed(self) -> bool:
        """Not a 2xx, and not by the fault switch."""
        return not 200 <= self.status < 300 and not self.is_injected

    @property
    def seconds(self) -> float:
        """From when it was due."""
        return self.done_at - self.due_at


@dataclass(frozen=True)
class Tally:
    """Counts over answers."""

    sent: int = 0
    failed: int = 0
    injected: int = 0
    by_digest: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[str, ...] = ()  # the first few, in words


def tally(answers: Sequence[Answer]) -> Tally:
    """Count."""
    by_digest: dict[str, int] = {}
    for answer in answers:
        by_digest[answer.digest] = by_digest.get(answer.digest, 0) + 1
    failed = [answer for answer in answers if answer.has_failed]
    return Tally(
        sent=len(answers),
        failed=len(failed),
        injected=sum(answer.is_injected for answer in answers),
        by_digest=by_digest,
        failures=tuple(f"{answer.model}: {answer.status or 'no answer'} {answer.error}" for answer in failed[:10]),
    )


def wrong(answers: Sequence[Answer], float_digest: str) -> list[Answer]:
    """Answers of another class than float's; those to questions whose right answer nobody knows are left out.

    `float_digest` is the short one. What is not known beforehand is learnt from the traffic: float may have answered
    the same question before or after.
    """
    learnt = {each.question: each.top1 for each in answers if each.digest == float_digest and each.top1 != NO_CLASS}
    return [each for each in answers if each.top1 not in (NO_CLASS, _right(each, learnt))]


def _right(answer: Answer, learnt: Mapping[int, int]) -> int:
    return answer.right if answer.right != NO_CLASS else learnt.get(answer.question, answer.top1)


def timetable(start: float, rate: float, limit: int) -> Iterator[float]:
    """When each of `limit` requests is due, `rate` a second, evenly."""
    return (start + number / rate for number in range(limit))


def shares(rates: Mapping[str, float]) -> Iterator[str]:
    """Names for ever, each as often as its rate says and as evenly as can be (smooth weighted round robin)."""
    total, credit = sum(rates.values()), dict.fromkeys(rates, 0.0)
    while True:
        for name, rate in rates.items():
            credit[name] += rate
        chosen = max(credit, key=lambda name: credit[name])
        credit[chosen] -= total
        yield chosen


class Load:
    """Requests from a thread of its own, until stopped or out of requests or time.

    The timetable has a slot for every request at the full rate; `aim` says which model a slot is for, and slots that
    no model has claimed go by unused.
    """

    def __init__(
        self,
        address: str,
        *,
        rate: float,
        limit: int,
        seconds: float,
    ) -> None:
        """Prepare `limit` slots at most, over `seconds` at most, `rate` a second in total, to `http://address`."""
        self._address = address
        self._questions: dict[str, Iterator[Question]] = {}
        self._rate = rate
        self._limit = limit
        self._seconds = seconds
        self._rates: dict[str, float] = {}
        self._names = shares({"": rate})
        self._answers: list[Answer] = []
        self._under_way: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load", daemon=True)
        self.late_seconds = 0.0  # how far behind the timetable a request left at worst

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and wait for what is under way."""
        self.stop()

    def stop(self) -> None:
        """Send no more; returns when every request has its answer."""
        self._stop.set()
        self._thread.join(TIMEOUT_SECONDS + 5)

    @property
    def is_running(self) -> bool:
        """Whether requests are still being sent."""
        return self._thread.is_alive()

    def aim(self, model: str, rate: float, asked: Sequence[Question] = ()) -> None:
        """Give a model so many requests a second from now on; 0 for none. The first time say what it is `asked`.

        Raises:
            ValueError: all models together would get more than the timetable has.
        """
        rates = {name: each for name, each in (self._rates | {model: rate}).items() if each > 0}
        spare = self._rate - sum(rates.values())
        if spare < 0:
            raise ValueError(f"{model}: found {rate:g} requests a second; allowed: {rate + spare:g}")
        if asked:
            self._questions[model] = itertools.cycle(asked)
        self._rates = rates
        self._names = shares(rates | {"": spare})

    def answers(self, model: str = "", since: float = 0.0) -> list[Answer]:
        """So far, in the order they came; of one model and of requests due since then, if given."""
        return [each for each in list(self._answers) if each.due_at >= since and model in ("", each.model)]

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=600)
        start, end = time.time(), time.time() + self._seconds
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as group:
            for due in timetable(start, self._rate, self._limit):
                await asyncio.sleep(max(0.0, due - time.time()))
                if self._stop.is_set() or due > end:
                    break
                self.late_seconds = max(self.late_seconds, time.time() - due)
                if model := next(self._names):
                    self._under_way[model] += 1
                    group.create_task(self._ask(session, model, next(self._questions[model]), due))

    def under_way(self, model: str) -> int:
        """Requests of a model that still wait for their answer."""
        return self._under_way[model]

    async def _ask(self, session: aiohttp.ClientSession, model: str, question: Question, due: float) -> None:
        url = f"http://{self._address}{question.prefix}/v2/models/{model}/infer"
        nothing = Answer(model, due, due, NO_ANSWER, question.number, right=question.right, mark=question.mark)
        try:
            async with session.post(url, data=question.body, headers=question.headers) as response:
                body = await response.read()
                answer = read_answer(nothing, response.status, response.headers, body)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            answer = replace(nothing, error=f"{type(error).__name__}: {error}")
        self._answers.append(replace(answer, done_at=time.time()))
        self._under_way[model] -= 1


def questions(rows: Arrays) -> list[Question]:
    """A question for each row of a model's inputs; float's answers, if known, lie in an array `answer` beside them."""
    inputs = {name: array for name, array in rows.items() if name != ANSWER}
    right = rows.get(ANSWER)
    return [
        Question(
            number,
            *request({name: array[number] for name, array in inputs.items()}),
            right=NO_CLASS if right is None else int(right[number]),
        )
        for number in range(len(next(iter(inputs.values()))))
    ]


def with_critical(asked: Sequence[Question], header: tuple[str, str], path: str) -> list[Question]:
    """Every question, and after each the same again as critical: by the header and by the path in turn."""
    by_header = {header[0]: header[1]}
    found = []
    for number, each in enumerate(asked):
        found.append(each)
        if number % 2:
            found.append(replace(each, mark="path", prefix=path))
        else:
            found.append(replace(each, mark="header", headers={**each.headers, **by_header}))
    return found


def read_answer(nothing: Answer, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """An answer out of a response.

    Raises:
        ValueError: a 2xx that is no answer of the protocol.
    """
    digest = headers.get(DIGEST_HEADER, "")
    if not 200 <= status < 300:
        text = body[:300].decode(errors="replace")
        return replace(nothing, status=status, digest=digest, is_injected=INJECTED in body, error=text)
    return replace(nothing, status=status, digest=digest, top1=top1(body, headers.get(HEADER_LENGTH)))
