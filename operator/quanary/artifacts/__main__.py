"""`quanary fetch`: one verified model file into a folder."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from quanary.artifacts.fetch import MODEL_LIMIT_BYTES, UnreachableError, fetch
from quanary.artifacts.verify import Wanted
from quanary.wire.launch import FetchArguments
from quanary.wire.report import RefusedError

REFUSED: Final = 1
TRY_AGAIN: Final = 75  # EX_TEMPFAIL: the kubelet's restart is the retry


def main(argv: Sequence[str]) -> int:
    """0: the file is there and verified. 1: refused, with the reason in the termination log. 75: try again."""
    arguments = FetchArguments.parse(argv)
    wanted = Wanted(arguments.uri, arguments.sha256, arguments.field)
    try:
        fetched = fetch(wanted, Path(arguments.out), frozenset(arguments.insecure_host), MODEL_LIMIT_BYTES)
    except RefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        if arguments.termination_log:
            Path(arguments.termination_log).write_text(error.refusal.to_message())
        return REFUSED
    except UnreachableError as error:
        print(f"not now: {error}", file=sys.stderr)
        return TRY_AGAIN
    print(f"{fetched.path} sha256 {fetched.sha256}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
