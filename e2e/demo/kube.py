"""The few things the demo and the tests ask of the API server, through kubectl."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from e2e.cluster.kubectl import get, kubectl
from quanary.api import names

FAULT_PORT: Final = 9900

Manifest = dict[str, Any]
Found = TypeVar("Found")


class TooLateError(AssertionError):
    """Something that had to happen did not, in time."""


def make_namespace(name: str) -> None:
    """A namespace that admits restricted pods alone; there already is fine."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(manifest))


def apply(namespace: str, manifest: Manifest) -> None:
    """As a user does."""
    kubectl("apply", f"--namespace={namespace}", "--filename=-", stdin=json.dumps(manifest))


def delete(namespace: str, *models: str) -> None:
    """Models by name, all if none is named, and wait until nothing of theirs is left."""
    what = models or ("--all",)
    kubectl("delete", names.PLURAL, f"--namespace={namespace}", "--ignore-not-found", "--wait", *what)
    for each in models:
        wait_for(f"pods of {each} are gone", partial(_has_no_pods, namespace, each), 90)


def _has_no_pods(namespace: str, name: str) -> bool:
    return not pods(namespace, f"{names.LABEL_MODEL}={name}")


def model(namespace: str, name: str) -> Manifest:
    """A QuantizedModel as it is now."""
    return get(names.PLURAL, f"--namespace={namespace}", name)


def pods(namespace: str, selector: str) -> list[Manifest]:
    """Pods by label."""
    found: list[Manifest] = get("pods", f"--namespace={namespace}", f"--selector={selector}")["items"]
    return found


def int8_pods(namespace: str, name: str) -> list[str]:
    """Names of a model's running INT8 pods."""
    selector = f"{names.LABEL_MODEL}={name},{names.LABEL_VARIANT}=int8"
    found = pods(namespace, selector)
    return [each["metadata"]["name"] for each in found if each["status"].get("phase") == "Running"]


def events(namespace: str, name: str) -> str:
    """What the operator said about a model, oldest first."""
    template = r'{range .items[*]}{.eventTime}{"\t"}{.type}{"\t"}{.reason}{"\t"}{.note}{"\n"}{end}'
    uid = model(namespace, name)["metadata"]["uid"]  # not those of an earlier one of the same name
    what = ("events.v1.events.k8s.io", f"--field-selector=regarding.uid={uid}")
    return kubectl("get", *what, f"--namespace={namespace}", "--sort-by=.eventTime", f"--output=jsonpath={template}")


def describe(namespace: str, name: str) -> str:
    """`kubectl describe`, from its status on."""
    text = kubectl("describe", names.PLURAL, f"--namespace={namespace}", name)
    return text[text.index("Status:") :] if "Status:" in text else text


def turn_fault(namespace: str, pod: str, **fault: Any) -> Manifest:
    """PUT /fault of the test image, through the API server, so that it works on any cluster."""
    url = f"/api/v1/namespaces/{namespace}/pods/{pod}:{FAULT_PORT}/proxy/fault"
    answer: Manifest = json.loads(kubectl("replace", "--raw", url, "--filename=-", stdin=json.dumps(fault)))
    return answer


def read_fault(namespace: str, pod: str) -> Manifest:
    """GET /fault."""
    url = f"/api/v1/namespaces/{namespace}/pods/{pod}:{FAULT_PORT}/proxy/fault"
    answer: Manifest = json.loads(kubectl("get", "--raw", url))
    return answer


def wait_for(what: str, look: Callable[[], Found | None], seconds: float, every: float = 1.0) -> Found:
    """Look again and again until something is found; what was found.

    Raises:
        TooLateError: nothing was, in `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise TooLateError(f"not within {seconds:g} s: {what}")
        time.sleep(every)
    return found


def wait_for_stage(namespace: str, name: str, stages: Iterable[str], seconds: float) -> Manifest:
    """A model once it is in one of `stages`.

    Raises:
        TooLateError: naming the stage it was in instead, and why.
    """
    wanted = set(stages)
    last: dict[str, Any] = {}

    def look() -> Manifest | None:
        found = model(namespace, name)
        last.update(found.get("status", {}))
        return found if last.get("stage") in wanted else None

    try:
        return wait_for(f"{name} in {' or '.join(sorted(wanted))}", look, seconds)
    except TooLateError as error:
        raise TooLateError(f"{error}; it is {last.get('stage')}: {last.get('because')}") from error


def columns(namespace: str, *models: str) -> Sequence[str]:
    """Lines of `kubectl get qm -o wide`."""
    return kubectl("get", names.PLURAL, f"--namespace={namespace}", "--output=wide", *models).splitlines()
