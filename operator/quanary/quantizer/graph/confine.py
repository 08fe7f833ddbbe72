"""Run what a stranger's model may crash, hang or fill with memory in a process of its own, with limits.

The parsers and optimisers are native code: an exception handler cannot stop a loop there, nor catch a stack overflow or
the kernel's out-of-memory killer, and the process that has to report a refusal must outlive them all.
"""

import atexit
import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quanary.quantizer.graph.confined import read_framed, write_framed
from quanary.wire.report import Refusal, RefusedError

SECONDS: Final = 300.0  # and as much again for each gibibyte of the model
BASE_BYTES: Final = 3 << 30
BYTES_PER_MODEL_BYTE: Final = 8  # a session, its source, their copies on the way, and room

_LEAST_BYTES: Final = 1 << 30
_GOODBYE_SECONDS: Final = 10.0
_CGROUP: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_ENVIRONMENT: Final = {
    "PYTHONHASHSEED": "0",  # sets are ordered by it, and bytes must not depend on chance
    "ORT_DISABLE_TELEMETRY": "1",  # it would start a thread, and who forks must have one only
    "OPENBLAS_NUM_THREADS": "1",
}


class ConfinedError(Exception):
    """The process broke a limit or died; the text says which."""


@dataclass(frozen=True)
class Limits:
    """Of one process: wall time, and address space."""

    seconds: float
    address_bytes: int


def limits_for(model_bytes: int) -> Limits:
    """In proportion to the model, but never all that this container has."""
    wanted = BASE_BYTES + BYTES_PER_MODEL_BYTE * model_bytes
    seconds = SECONDS * (1 + model_bytes / (1 << 30))
    return Limits(seconds, max(_LEAST_BYTES, min(wanted, _share_of_memory())))


def confine(function: Callable[..., Any], *args: Any, limits: Limits, work: Path) -> Any:
    """`function(*args)` of an importable function, in a process of its own; its result is what JSON can say.

    What it leaves in its current folder, inside `work`, goes with it.

    Raises:
        RefusedError: the function's own.
        ConfinedError: it took too long or too much memory, died, or failed otherwise.
    """
    with tempfile.TemporaryDirectory(dir=work, prefix="confined-") as folder:
        request = pickle.dumps((folder, limits.address_bytes, function, args))
        return _outcome(_NURSERY.ask(limits.seconds, request), limits)


class Nursery:
    """One process that has imported everything and runs nothing, to fork confined ones from.

    A fork of this process would copy locks that its threads hold; a fresh interpreter imports for more than a second.
    """

    def __init__(self) -> None:
        """Nothing runs before `start`."""
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self) -> subprocess.Popen[bytes]:
        """Begin to import, beside whatever the caller does next; `ask` does it as well."""
        if self._process is None or self._process.poll() is not None:
            self.stop()
            # So that a function found here is found there, and nothing in the current folder is.
            path = os.pathsep.join(str(Path(each).absolute()) for each in sys.path if each)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "quanary.quantizer.graph.confined"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | _ENVIRONMENT | {"PYTHONPATH": path},
            )
        return self._process

    def ask(self, seconds: float, request: bytes) -> bytes:
        """The JSON that a fork answers, or that was found out about it; empty if the nursery itself was killed."""
        with self._lock:
            process = self.start()
            assert process.stdin is not None
            assert process.stdout is not None
            answer = b""
            try:
                write_framed(process.stdin, seconds, request)
                _, answer = read_framed(process.stdout)
            except BrokenPipeError:
                pass
            finally:
                if not answer:
                    # Killed, or this is an interrupt: a late answer must not be taken for the next one.
                    self.stop()
            return answer

    def stop(self) -> None:
        """With the pipe it ends, and what it has forked."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        with process.stdout:
            try:
                process.wait(_GOODBYE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


_NURSERY: Final = Nursery()
atexit.register(_NURSERY.stop)
start = _NURSERY.start


def _outcome(answer: bytes, limits: Limits) -> Any:
    match json.loads(answer or b'{"failure": "the process was killed from outside"}'):
        case {"refusal": fields}:
            refusal = Refusal.model_validate(fields)
            raise RefusedError(refusal.field, refusal.found, refusal.allowed)
        case {"memory": _}:
            message = f"more than {limits.address_bytes >> 20} MiB of memory"
            if limits.address_bytes >= _share_of_memory():
                message += ", three quarters of all there is here"
        case {"late": _}:
            message = f"no end within {limits.seconds:g} s"
        case {"code": code} if code < 0:
            message = f"the process died of {signal.Signals(-code).name}"
        case {"code": code}:
            message = f"the process ended with {code} and no answer"
        case {"failure": text}:
            message = str(text)
        case said:
            return said["value"]
    raise ConfinedError(message)


def _share_of_memory() -> int:
    """Three quarters of the container's limit, or of the machine."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [path.read_text().strip() for path in _CGROUP if path.is_file()]
    return min([machine, *(int(each) for each in limits if each.isdigit())]) * 3 // 4
