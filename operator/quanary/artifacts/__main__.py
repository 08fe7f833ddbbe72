"""`quanary fetch`: one verified model file into a folder, and its report where one was published with it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from quanary.artifacts.failures import UnreachableError
from quanary.artifacts.fetch import MODEL_LIMIT_BYTES, fetch
from quanary.artifacts.locate import OciFile, locate
from quanary.artifacts.pull import pull_one
from quanary.artifacts.verify import Wanted
from quanary.wire.launch import FetchArguments
from quanary.wire.report import REPORT_FILE, REPORT_LIMIT_BYTES, RefusedError

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
    if arguments.report_out:
        print(_fetch_report(arguments), file=sys.stderr)
    return 0


def _fetch_report(arguments: FetchArguments) -> str:
    """What became of it, in words: a model serves without its report too, only unwatched."""
    hosts, to = frozenset(arguments.insecure_host), Path(arguments.report_out)
    try:
        location = locate(arguments.uri, field=f"{arguments.field}.uri", insecure_hosts=hosts)
        if not isinstance(location, OciFile):
            return f"no report: {arguments.uri} is a single file"
        pull_one(location, REPORT_FILE, to, field=arguments.field, insecure_hosts=hosts, limit_bytes=REPORT_LIMIT_BYTES)
    except (RefusedError, UnreachableError, OSError) as error:  # a disk that the model filled, too
        return f"no report: {error}"
    return f"{to}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
