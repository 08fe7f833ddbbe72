"""How a serving pod counts: the words of its spec that give the gates' counters their meaning.

Whoever changes them rolls the pods, and until the last older one has gone a variant's counters mean two things. They
are read from the pods themselves, so that those of an older operator are understood too.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from quanary.controller.evidence import ESCALATION, LATENCY, MISMATCH

# No gate: the server that runs the model behind the front.
SERVED: Final = "served"

_DIVERGENCE: Final = frozenset(("--divergence", "--divergence-limit", "--divergence-output"))
_LATENCY: Final = frozenset(("--latency-budget-seconds",))
_UNSURE: Final = frozenset(("--escalate-below", "--escalate-by", "--escalate-output"))
# An answer that float gives instead is none that differs.
_INSTEAD: Final = _UNSURE | {"--escalation-budget"}
_TO_REVIEW: Final = "--escalate-to=review"

PodSpec = Mapping[str, Any]


def outdated(wanted: PodSpec, pods: Iterable[PodSpec]) -> frozenset[str]:
    """The gates that any of `pods` counts otherwise than `wanted`; `served` if another server runs its model."""
    present = _counting(wanted)
    counted = ((name, words) for pod in pods for name, words in _counting(pod).items())
    return frozenset(name for name, words in counted if words != present.get(name, words))


def _counting(pod: PodSpec) -> Mapping[str, frozenset[str]]:
    """Nothing is known of a pod that has no server of ours."""
    server = _container(pod.get("containers"), "server")
    if server is None:
        return {}
    words = server.get("args") or ()
    differs = _DIVERGENCE if _TO_REVIEW in words else _DIVERGENCE | _INSTEAD
    return {
        MISMATCH: _words(words, differs),
        LATENCY: _words(words, _LATENCY),
        ESCALATION: _words(words, _UNSURE),
        SERVED: _served(_container(pod.get("initContainers"), "model")),
    }


def _words(words: Iterable[str], flags: frozenset[str]) -> frozenset[str]:
    return frozenset(each for each in words if each.partition("=")[0] in flags)


def _served(model: Mapping[str, Any] | None) -> frozenset[str]:
    # By digest: where a cluster pulls through a mirror, its pods bear another name.
    return frozenset((model["image"].rpartition("@")[2], *(model.get("args") or ()))) if model else frozenset()


def _container(containers: Iterable[Mapping[str, Any]] | None, name: str) -> Mapping[str, Any] | None:
    return next((each for each in containers or () if each["name"] == name), None)
