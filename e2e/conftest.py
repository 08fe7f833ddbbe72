"""The whole cluster with the operator installed, once for the run; models and traffic by the demo's own pieces."""

from collections.abc import Iterator

import pytest

from e2e.demo import kube, stories
from e2e.demo.narrator import Narrator
from e2e.demo.stage import set_stage

NAMESPACE = "quanary-e2e"
RATE = 40.0
LONGEST_SECONDS = 2400.0


@pytest.fixture(scope="session")
def stage() -> Iterator[stories.Stage]:
    """A namespace of its own, traffic that can be aimed, and a chronicle of all that happens."""
    with set_stage(Narrator(), NAMESPACE, rate=RATE, seconds=LONGEST_SECONDS) as found:
        yield found
    kube.delete(NAMESPACE)
