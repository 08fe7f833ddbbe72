"""`quanary quantize`: one model in, a judged artifact and its report out."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from quanary.api.v1alpha1 import Signoff
from quanary.artifacts.fetch import UnreachableError
from quanary.quantizer.machine import tool_versions
from quanary.quantizer.pipeline import Outcome, run
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import Handover, RefusedError, clip

REFUSED: Final = 1
TRY_AGAIN: Final = 75  # EX_TEMPFAIL: the Job's next pod is the retry


def main(argv: Sequence[str]) -> int:
    """0: a verdict was reached, whichever. 1: refused, a person must change something. 75: try again."""
    arguments = QuantizeArguments.parse(argv)
    try:
        with _workspace(Path(arguments.out)) as work:
            outcome = run(arguments, work)
    except RefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        _hand_over(arguments, Handover(inputs=arguments.inputs, refusal=error.refusal, tools=tool_versions()))
        return REFUSED
    except UnreachableError as error:
        print(f"not now: {error}", file=sys.stderr)
        return TRY_AGAIN
    _hand_over(arguments, _handover(arguments, outcome))
    report = outcome.report
    print(f"{report.verdict}: {report.because}")
    print(f"artifact {report.artifact.sha256} {outcome.uri}".rstrip())
    return 0


@contextmanager
def _workspace(out: Path) -> Iterator[Path]:
    """A folder for what is in the making, beside the results: the root may be read-only, and renames stay atomic.

    ONNX Runtime's tools write temporary files of their own; they go there too.
    """
    out.mkdir(parents=True, exist_ok=True)
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(dir=out, prefix=".work-") as work:
        tempfile.tempdir = work
        try:
            yield Path(work)
        finally:
            tempfile.tempdir = before


def _handover(arguments: QuantizeArguments, outcome: Outcome) -> Handover:
    report = outcome.report
    return Handover(
        inputs=arguments.inputs,
        verdict=report.verdict,
        because=clip(report.because),
        artifact=report.artifact,
        uri=outcome.uri,
        report_sha256=outcome.report_sha256,
        signoff=Signoff.model_validate(report.signoff.model_dump()),
        model=report.model,
        cpu_features=report.cpu_features,
        tools=report.tools,
    )


def _hand_over(arguments: QuantizeArguments, handover: Handover) -> None:
    if arguments.termination_log:
        Path(arguments.termination_log).write_text(handover.to_message())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
