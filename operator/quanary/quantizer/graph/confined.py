"""The other side of `confine`: forks a process for each request, lets it live within limits, hands on its answer.

Answers are JSON, because the caller must not unpickle what a process says that a stranger's model may have taken over.
"""

import ctypes
import json
import os
import pickle
import resource
import select
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from typing import IO, Any, Final

from quanary.wire.report import RefusedError

_HEAD: Final = struct.Struct("<dQ")  # seconds, bytes that follow
_CHUNK_BYTES: Final = 1 << 16
_PR_SET_PDEATHSIG: Final = 1  # of linux/prctl.h
# The last is all that protobuf says.
_MEMORY_WORDS: Final = ("bad_alloc", "failed to allocate memory", "bad array new length", "failed to serialize proto")


def write_framed(to: IO[bytes], seconds: float, content: bytes) -> None:
    """One message, whole."""
    to.write(_HEAD.pack(seconds, len(content)))
    to.write(content)
    to.flush()


def read_framed(source: IO[bytes]) -> tuple[float, bytes]:
    """One message; empty at the end of the stream."""
    head = source.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return 0.0, b""
    seconds, size = _HEAD.unpack(head)
    return seconds, source.read(size)


def main() -> None:
    """Serve until nobody can ask any more."""
    import quanary.quantizer.graph.rebuild  # noqa: F401, PLC0415  what the forks need

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # native code that prints must not spoil an answer
    while True:
        seconds, request = read_framed(sys.stdin.buffer)
        if not request:
            return
        write_framed(answers, 0.0, _serve(seconds, request, answers))


def _serve(seconds: float, request: bytes, answers: IO[bytes]) -> bytes:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        # What it speaks through later is no business of the child.
        answers.close()
        sys.stdin.close()
        _live(request, writer)
    os.close(writer)
    try:
        answer, ended = _await(reader, time.monotonic() + seconds)
    finally:
        os.close(reader)
        if not ended:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if not ended:
        return json.dumps({"late": seconds}).encode()
    return answer or json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode()


def _await(reader: int, deadline: float) -> tuple[bytes, bool]:
    """What a child says, and whether it came to its end. Whoever asked may end first: then nobody waits for it."""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(0, select.POLLIN)
    said = b""
    while (rest := deadline - time.monotonic()) > 0:
        ready = {handle for handle, _ in poll.poll(rest * 1000)}
        if reader in ready:
            chunk = os.read(reader, _CHUNK_BYTES)
            if not chunk:
                return said, True
            said += chunk
        elif ready:
            return b"", False
    return b"", False


def _live(request: bytes, writer: int) -> None:
    """The child's whole life."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # not one that nobody would stop any more
        folder, address_bytes, function, args = pickle.loads(request)  # noqa: S301  our own caller's
        os.chdir(folder)
        tempfile.tempdir = folder
        resource.setrlimit(resource.RLIMIT_AS, (address_bytes, address_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with os.fdopen(writer, "wb") as answer:
            answer.write(json.dumps(_said(function, args)).encode())
    finally:
        os._exit(1)


def _said(function: Callable[..., Any], args: tuple[Any, ...]) -> dict[str, Any]:
    """`{"value": …}`, `{"refusal": …}`, `{"memory": …}` or `{"failure": …}`."""
    try:
        return {"value": function(*args)}
    except RefusedError as error:
        if _is_memory(str(error)):
            return {"memory": str(error)}
        return {"refusal": error.refusal.model_dump(by_alias=True)}
    except MemoryError as error:
        return {"memory": str(error)}
    except Exception as error:  # noqa: BLE001  whatever it is, the caller must hear of it
        return {"memory": str(error)} if _is_memory(str(error)) else {"failure": f"{type(error).__name__}: {error}"}


def _is_memory(text: str) -> bool:
    return any(word in text.lower() for word in _MEMORY_WORDS)


if __name__ == "__main__":
    main()
