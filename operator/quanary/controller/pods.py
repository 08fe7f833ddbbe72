"""What pods say of themselves: readiness, restarts, and why they cannot start. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from quanary.wire.report import Handover, Opening, Refusal

Pod = Mapping[str, Any]

_CANNOT_START: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"}
)
_MESSAGE_LIMIT: Final = 512


def count_ready(pods: Iterable[Pod]) -> int:
    """Pods that take requests: Ready and not being deleted."""
    return sum(1 for pod in pods if not _is_going(pod) and _condition(pod, "Ready") == "True")


def has_ended(pod: Pod) -> bool:
    """Whether none of it runs any more, nor will again."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def count_restarts(pods: Iterable[Pod]) -> int:
    """Restarts of all containers that serve, of all pods."""
    return sum(each.get("restartCount", 0) for pod in pods for each in _serving(pod))


def failure(pods: Iterable[Pod]) -> str:
    """Why pods cannot start, in a sentence; empty if nothing is wrong."""
    return next((text for pod in pods if not _is_going(pod) for text in _failures(pod)), "")


def refusal(pods: Iterable[Pod]) -> str:
    """What the server of a pod that is not Ready refuses, in a sentence; empty if none does.

    A refused fetch is a `failure`: it says nothing against the pods that have the file.
    """
    waiting = (pod for pod in pods if not _is_going(pod) and _condition(pod, "Ready") != "True")
    return next((each.sentence for pod in waiting for each in _refusals(pod)), "")


def handover(pods: Iterable[Pod]) -> Handover | None:
    """What the quantizer left in a termination message; a result before a refusal."""
    found = _handovers(pods)
    refused = (each for each in found if each.refusal)
    return next((each for each in found if each.artifact), next(refused, None))


def openings(pods: Iterable[Pod]) -> tuple[Opening, ...]:
    """Of sealed data, by pods that were killed after they had looked too."""
    return tuple(each.opening for each in _handovers(pods) if each.opening)


def _handovers(pods: Iterable[Pod]) -> list[Handover]:
    return [each for pod in pods for message in _messages(pod) if (each := _parse_handover(message))]


def last_words(pods: Iterable[Pod]) -> str:
    """The last termination message, or reason, of a failed pod."""
    words = [text for pod in pods for text in (*_messages(pod), *_reasons(pod)) if text and not _parse_handover(text)]
    return words[-1][-_MESSAGE_LIMIT:].strip() if words else ""


def _is_going(pod: Pod) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _condition(pod: Pod, name: str) -> str:
    conditions = pod.get("status", {}).get("conditions") or ()
    return next((each["status"] for each in conditions if each["type"] == name), "Unknown")


def _statuses(pod: Pod) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _serving(pod: Pod) -> Iterator[Mapping[str, Any]]:
    """Statuses of what goes on running: containers, and init containers that are sidecars."""
    init_containers = pod.get("spec", {}).get("initContainers") or ()
    sidecars = {each["name"] for each in init_containers if each.get("restartPolicy") == "Always"}
    status = pod.get("status", {})
    yield from (each for each in status.get("initContainerStatuses") or () if each["name"] in sidecars)
    yield from status.get("containerStatuses") or ()


def _failures(pod: Pod) -> Iterator[str]:
    yield from _missing_claims(pod)
    for each in _statuses(pod):
        waiting = each.get("state", {}).get("waiting") or {}
        for ended in _ended(each):
            if refusal := _parse_refusal(ended.get("message", "")):
                yield refusal.sentence
            elif waiting.get("reason") == "CrashLoopBackOff":
                text = ended.get("message", "").strip()[-_MESSAGE_LIMIT:]
                yield f"container {each['name']} keeps failing: {text or ended.get('reason', 'no message')}"
        if waiting.get("reason") in _CANNOT_START:
            yield f"container {each['name']}: {waiting['reason']}: {waiting.get('message', '')[:_MESSAGE_LIMIT]}"


def _missing_claims(pod: Pod) -> Iterator[str]:
    """A claim that a URI names and that is not there, or not to be had; want of CPU or memory may pass by itself."""
    for each in pod.get("status", {}).get("conditions") or ():
        message = each.get("message", "")
        if (each["type"], each["status"]) == ("PodScheduled", "False") and "persistentvolumeclaim" in message.lower():
            yield message[:_MESSAGE_LIMIT]


def _refusals(pod: Pod) -> Iterator[Refusal]:
    for each in pod.get("status", {}).get("containerStatuses") or ():
        for ended in _ended(each):
            if refused := _parse_refusal(ended.get("message", "")):
                yield refused


def _ended(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for state in (status.get("state"), status.get("lastState")):
        ended = (state or {}).get("terminated")
        if ended and ended.get("exitCode"):
            yield ended


def _messages(pod: Pod) -> Iterator[str]:
    for each in _statuses(pod):
        for state in (each.get("lastState"), each.get("state")):
            if message := ((state or {}).get("terminated") or {}).get("message"):
                yield message


def _reasons(pod: Pod) -> Iterator[str]:
    yield pod.get("status", {}).get("message", "")
    for each in _statuses(pod):
        ended = each.get("state", {}).get("terminated") or {}
        if ended.get("exitCode"):
            yield f"container {each['name']}: {ended.get('reason', 'Error')}, exit code {ended['exitCode']}"


def _parse_handover(message: str) -> Handover | None:
    try:
        return Handover.model_validate_json(message)
    except ValidationError:
        return None  # a log tail or a kubelet's message: not a handover


def _parse_refusal(message: str) -> Refusal | None:
    try:
        return Refusal.model_validate(json.loads(message)["refusal"])
    except (ValueError, KeyError, TypeError):
        return None  # whatever else a container said
