"""Running commands: one that goes to a log, one whose output is wanted, and the failure both raise."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TAIL_LINES = 20


class CommandError(Exception):
    """Something that had to work did not; `log` is where to read on."""

    def __init__(self, what: str, log: Path | None = None) -> None:
        super().__init__(what)
        self.log = log

    def report(self) -> str:
        """What failed, which log to read, and its last lines."""
        lines = [f"error: {self}"]
        if self.log is not None:
            lines += [f"log: {self.log}", *(f"  | {line}" for line in tail(self.log))]
        return "\n".join(lines)


def tail(log: Path, count: int = TAIL_LINES) -> list[str]:
    if not log.exists():
        return []
    return log.read_text(errors="replace").splitlines()[-count:]


def run(
    argv: Sequence[str | Path], log: Path, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run to the end with all output appended to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as out:
        out.write(f"$ {' '.join(map(str, argv))}\n")
        out.flush()
        with installed(argv):
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=environment(env), check=False
            )
    if done.returncode != 0:
        raise CommandError(f"`{name(argv)}` ended with status {done.returncode}", log)


def output(argv: Sequence[str | Path], *, stdin: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run to the end and return standard output; what it wrote to standard error is in the failure."""
    with installed(argv):
        done = subprocess.run(
            argv, input=stdin or "", capture_output=True, text=True, env=environment(env), check=False
        )
    if done.returncode != 0:
        raise CommandError(f"`{name(argv)}` ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def environment(more: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **(more or {})}


@contextmanager
def installed(argv: Sequence[str | Path]) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as missing:
        raise CommandError(f"`{Path(argv[0]).name}` is not installed") from missing


def name(argv: Sequence[str | Path]) -> str:
    """The program and its first words, without options."""
    words = [str(word) for word in argv[1:] if not str(word).startswith(("-", "/"))]
    return " ".join([Path(argv[0]).name, *words[:3]])
