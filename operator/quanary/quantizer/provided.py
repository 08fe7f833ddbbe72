"""An INT8 model that was brought along: it passes the same gates, and nothing is made."""

from quanary.artifacts.verify import digest_of
from quanary.quantizer.graph import files_of, read_graph, size_of
from quanary.quantizer.inputs import PROVIDED, Inputs
from quanary.quantizer.machine import is_portable_model
from quanary.quantizer.made import Candidate, Made
from quanary.quantizer.progress import Progress
from quanary.wire.report import RefusedError


def take_provided(inputs: Inputs, progress: Progress) -> Made:
    """A front of one.

    Raises:
        RefusedError: its weights are in other files, that its digest does not cover and no server would fetch.
    """
    model = inputs.provided
    assert model is not None
    if len(files := files_of(model.path)) > 1:
        found = f"weights in {', '.join(each.name for each in files[1:3])}"
        raise RefusedError(f"{PROVIDED}.uri", found, "an INT8 model of one file, its weights within")
    progress.note(f"judging the INT8 model that was brought along; {inputs.validation.samples} sealed samples")
    candidate = Candidate(
        model=model,
        sha256=digest_of(model.path),
        role="provided",
        recipe="provided",
        size_ratio=model.path.stat().st_size / size_of(inputs.model.path),
        portable=is_portable_model(read_graph(model.path)),
    )
    return Made(front=(candidate,))
