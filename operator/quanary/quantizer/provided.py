"""An INT8 model that was brought along: it passes the same gates, and nothing is made."""

from quanary.artifacts.verify import digest_of
from quanary.quantizer.graph import read_graph
from quanary.quantizer.inputs import Inputs
from quanary.quantizer.machine import is_portable_model
from quanary.quantizer.made import Candidate, Made
from quanary.quantizer.progress import Progress


def take_provided(inputs: Inputs, progress: Progress) -> Made:
    """A front of one."""
    model = inputs.provided
    assert model is not None
    progress.note(f"judging the INT8 model that was brought along; {inputs.validation.samples} sealed samples")
    candidate = Candidate(
        model=model,
        sha256=digest_of(model.path),
        role="provided",
        recipe="provided",
        size_ratio=model.path.stat().st_size / inputs.model.path.stat().st_size,
        portable=is_portable_model(read_graph(model.path)),
    )
    return Made(front=(candidate,))
