"""The steps of one run, in order."""

from collections.abc import Callable
from pathlib import Path

from quanary.quantizer.assemble import assemble
from quanary.quantizer.inputs import check_arguments, gather, is_provided
from quanary.quantizer.judging import judge_front
from quanary.quantizer.output import Outcome, planned_uris, write
from quanary.quantizer.produce import produce
from quanary.quantizer.progress import Progress
from quanary.quantizer.provided import take_provided
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import Opening


def run(arguments: QuantizeArguments, work: Path, announce: Callable[[Opening], None]) -> Outcome:
    """Fetch, make or take, certify, measure, write, publish. `announce` hears of the seal's opening before a look.

    Raises:
        RefusedError: something a person must change.
        UnreachableError: something that may work later.
    """
    check_arguments(arguments)
    if arguments.sign_key:
        from quanary.artifacts.signing import check_sign_key  # noqa: PLC0415 - few sign, and it takes long to import

        check_sign_key(Path(arguments.sign_key))
    progress = Progress(4 + (0 if is_provided(arguments) else 3) + bool(arguments.publish))
    progress.step("fetch, verify and check model and data")
    inputs = gather(arguments, work)
    made = take_provided(inputs, progress) if inputs.provided else produce(arguments, inputs, work, progress)
    judged = judge_front(arguments, inputs, made, work, progress, announce)
    report = assemble(arguments, inputs, made, judged, planned_uris(arguments, judged))
    return write(arguments, judged, report, work, progress)
