"""The whole cluster with the operator installed, once for the run; models and traffic by the demo's own pieces."""

from collections.abc import Iterator

import pytest

from e2e.demo import kube, stories
from e2e.demo.build import load_live
from e2e.demo.load import Load, questions
from e2e.demo.narrator import Narrator
from e2e.demo.setup import gateway_address, set_up
from e2e.demo.watch import Chronicle

NAMESPACE = "quanary-e2e"
RATE = 40.0
LONGEST_SECONDS = 2400.0


@pytest.fixture(scope="session")
def stage() -> Iterator[stories.Stage]:
    """A namespace of its own, traffic that can be aimed, and a chronicle of all that happens."""
    narrator = Narrator()
    files, references, registry = set_up(narrator)
    kube.make_namespace(NAMESPACE)
    kube.delete(NAMESPACE)
    gateway = gateway_address()
    load = Load(gateway, rate=RATE, limit=int(RATE * LONGEST_SECONDS), seconds=LONGEST_SECONDS)
    with Chronicle(NAMESPACE, narrator.tell_stage) as chronicle, load:
        yield stories.Stage(
            namespace=NAMESPACE,
            gateway=gateway,
            registry=registry,
            digests={reference: file.sha256 for reference, file in files.items()},
            asked={model: questions(load_live(files, model)) for model in (stories.GOOD, stories.TURNING)},
            test_image=references["test-runtime"],
            chronicle=chronicle,
            load=load,
            narrator=narrator,
        )
    kube.delete(NAMESPACE)
