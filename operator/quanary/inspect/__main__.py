"""`quanary inspect`: what an artifact is, and whether it is still what it was."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from quanary.artifacts.failures import UnreachableError
from quanary.artifacts.signing import check_verify_key
from quanary.inspect.findings import Findings, examine
from quanary.inspect.render import show, to_json
from quanary.inspect.target import open_target
from quanary.wire.launch import InspectArguments
from quanary.wire.report import RefusedError

DIFFERS: Final = 1
MISUSED: Final = 2
TRY_AGAIN: Final = 75  # EX_TEMPFAIL


def main(argv: Sequence[str]) -> int:
    """0: all is as it should be. 1: a digest or signature is not. 2: misuse. 75: the registry is away."""
    arguments = InspectArguments.parse(argv)
    try:
        findings = _findings(arguments)
    except RefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        # What a registry holds under a digest, and is something else, is no misuse.
        return DIFFERS if error.refusal.field.endswith(".sha256") else MISUSED
    except UnreachableError as error:
        print(f"not now: {error}", file=sys.stderr)
        return TRY_AGAIN
    if arguments.json:
        print(to_json(findings))
    else:
        show(findings, Console())
    return DIFFERS if findings.problems else 0


def _findings(arguments: InspectArguments) -> Findings:
    key = Path(arguments.key) if arguments.key else None
    if key:
        check_verify_key(key)
    with tempfile.TemporaryDirectory(prefix="quanary-") as work:
        target = open_target(arguments.artifact, Path(work), frozenset(arguments.insecure_host))
        return examine(target, key)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
