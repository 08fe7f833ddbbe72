"""How a serving pod counts: the words of its spec that give the gates' counters their meaning.

Whoever changes them rolls the pods, and until then older ones go on counting by the old words. Those are read from the
pods themselves, so that pods of an older operator are understood too.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from quanary.controller.children.model_server import triton_arguments
from quanary.controller.evidence import ANSWERS, ESCALATION, LATENCY, MISMATCH

_DIVERGENCE: Final = frozenset(("--divergence", "--divergence-limit", "--divergence-output"))
_LATENCY: Final = frozenset(("--latency-budget-seconds",))
_UNSURE: Final = frozenset(("--escalate-below", "--escalate-by", "--escalate-output"))
# An answer that float gives instead is none that differs.
_INSTEAD: Final = _UNSURE | {"--escalation-budget"}
_TO_REVIEW: Final = "--escalate-to=review"
# Where a server listens, and what the operator says to Triton by itself: other words of an upgrade, the same server.
_OF_OURS: Final = frozenset(each.partition("=")[0] for each in triton_arguments(0))

PodSpec = Mapping[str, Any]
Words = frozenset[str]


def outdated(wanted: PodSpec, pod: PodSpec) -> frozenset[str]:
    """The gates that `pod` counts otherwise than `wanted`, and `answers` if it answers a twin otherwise."""
    present, found = _counting(wanted), _counting(pod)
    return frozenset(name for name, words in found.items() if not _are_same(words, present.get(name, words)))


def server_words(image: str, args: Iterable[str]) -> Words:
    """What tells one server behind the front from another: its digest, and the arguments that a user gave it."""
    _, is_pinned, digest = image.rpartition("@")
    kept = " ".join(each for each in args if not _is_of_ours(each))
    return frozenset((f"@{digest}", kept) if is_pinned else (kept,))


def _is_of_ours(word: str) -> bool:
    name = word.partition("=")[0]
    return name in _OF_OURS or name.endswith("-port")


def _are_same(one: Words, other: Words) -> bool:
    # Whoever rewrites images may leave a tag where the digest was; a tag says nothing.
    digests = [{each for each in words if each.startswith("@")} for words in (one, other)]
    return one == other if all(digests) else one - digests[0] == other - digests[1]


def _counting(pod: PodSpec) -> Mapping[str, Words]:
    """Nothing is known of a pod that has no server of ours."""
    server = _container(pod.get("containers"), "server")
    if server is None:
        return {}
    words = server.get("args") or ()
    answers = _server_behind(pod) | (frozenset[str]() if _TO_REVIEW in words else _words(words, _INSTEAD))
    return {
        MISMATCH: answers | _words(words, _DIVERGENCE),
        LATENCY: _words(words, _LATENCY),
        ESCALATION: _words(words, _UNSURE),
        ANSWERS: answers,
    }


def _server_behind(pod: PodSpec) -> Words:
    model = _container(pod.get("initContainers"), "model")
    # Whatever it is, it is not the front.
    return server_words(model["image"], model.get("args") or ()) | {"behind"} if model else frozenset()


def _words(words: Iterable[str], flags: frozenset[str]) -> Words:
    return frozenset(each for each in words if each.partition("=")[0] in flags)


def _container(containers: Iterable[Mapping[str, Any]] | None, name: str) -> Mapping[str, Any] | None:
    return next((each for each in containers or () if each["name"] == name), None)
