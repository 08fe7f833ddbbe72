"""Long-running processes, each its own session with a pid file that also holds its start time.

A pid alone proves nothing after a crash or a reboot: the kernel hands it out again.
"""

import contextlib
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from e2e.cluster.command import CommandError

POLL_SECONDS = 0.1


def identity(pid: int) -> str | None:
    """`boot id / start time in ticks` of a living process: the same pid in another process differs in it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *rest = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if state in "ZX" else f"{boot}/{rest[18]}"


def kill(pid: int, expected: str, grace_seconds: float) -> None:
    """SIGTERM, then SIGKILL; the pidfd is taken before the identity is checked, so no reused pid is hit."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number, patience in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
            if identity(pid) != expected:
                return
            signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], patience)[0]:
                reap(pid)
                return
    finally:
        os.close(handle)


def reap(pid: int) -> None:
    """Take the end of a child of ours from the kernel; one that another run started is init's to take."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


@dataclass(frozen=True)
class Daemon:
    name: str
    argv: tuple[str, ...]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def pid_file(self) -> Path:
        return self.folder / "run" / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return self.folder / "logs" / f"{self.name}.log"

    def pid(self) -> int | None:
        """The pid if the very process that we started still lives."""
        try:
            pid, started = self.pid_file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        return int(pid) if identity(int(pid)) == started else None

    def start(self) -> None:
        """Start unless it runs already."""
        if self.pid() is not None:
            return
        for file in (self.pid_file, self.log):
            file.parent.mkdir(parents=True, exist_ok=True)
        appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        pid = os.posix_spawnp(  # and not Popen, whose object must outlive the process
            self.argv[0],
            self.argv,
            {**os.environ, **self.environment},
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), appending, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ),
            setsid=True,
        )
        self.pid_file.write_text(f"{pid} {identity(pid)}\n")

    def stop(self, grace_seconds: float = 10.0) -> None:
        pid = self.pid()
        if pid is not None:
            kill(pid, self.pid_file.read_text().split()[1], grace_seconds)
        self.pid_file.unlink(missing_ok=True)

    def wait(self, ready: Callable[[], bool], seconds: float) -> None:
        """Until `ready`; a process that ends meanwhile is an error at once."""
        wait(f"{self.name} to be ready", ready, seconds, self.log, alive=lambda: self.pid() is not None)


def wait(
    what: str,
    ready: Callable[[], bool],
    seconds: float,
    log: Path | None = None,
    alive: Callable[[], bool] = lambda: True,
) -> None:
    deadline = monotonic() + seconds
    while not ready():
        if not alive():
            raise CommandError(f"waited for {what}, but the process ended", log)
        if monotonic() > deadline:
            raise CommandError(f"waited {seconds:.0f} s for {what}", log)
        sleep(POLL_SECONDS)
