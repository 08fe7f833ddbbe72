"""What stories are played on: a cluster with the operator, a namespace, traffic, and a record of what happens."""

from collections.abc import Iterator
from contextlib import contextmanager

from e2e.demo import kube, stories
from e2e.demo.build import load_live
from e2e.demo.load import Load, questions
from e2e.demo.narrator import Narrator
from e2e.demo.setup import gateway_address, set_up
from e2e.demo.watch import Chronicle


@contextmanager
def set_stage(narrator: Narrator, namespace: str, *, rate: float, seconds: float) -> Iterator[stories.Stage]:
    """Set everything up; traffic of `rate` a second at most for `seconds` at most, aimed at nobody yet."""
    files, references, registry = set_up(narrator)
    kube.make_namespace(namespace)
    kube.delete(namespace)
    gateway = gateway_address()
    load = Load(gateway, rate=rate, limit=int(rate * seconds), seconds=seconds)
    with Chronicle(namespace, narrator.tell_stage) as chronicle, load:
        yield stories.Stage(
            namespace=namespace,
            gateway=gateway,
            registry=registry,
            digests={reference: file.sha256 for reference, file in files.items()},
            asked={model: questions(load_live(files, model)) for model in (stories.GOOD, stories.TURNING)},
            test_image=references["test-runtime"],
            chronicle=chronicle,
            load=load,
            narrator=narrator,
        )
