"""Pods that count by an older spec: to the gates that a change of it concerns they say nothing, as long as they stay.

What a gate gathers is evidence by the present spec alone, and needs no end of the roll: newer pods count at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from quanary.controller.evidence.bins import Pod
from quanary.controller.evidence.gates import ANSWERS, BY_SPEC, MISMATCH, PodTallies


@dataclass
class OlderPods:
    """`known`: by pod, the readings that it counts by an older spec, and whether it answers by one. None: no pod does.

    Where pods are known, one that was never heard of may have counted by any spec.
    """

    known: Mapping[str, frozenset[str]] | None = None

    def note(self, outdated: Mapping[str, frozenset[str]], live: Mapping[str, Pod]) -> None:
        """These are there now. The last samples of one that has gone come a little later."""
        known = self.known or {}
        gone = {pod: known[pod] for pod in known if pod in live and pod not in outdated}
        self.known = {**gone, **outdated}

    def forget(self) -> None:
        """The spec changed: how those that have gone counted is known as to the one before."""
        if self.known is not None:
            self.known = {}

    def passed_over(self, tallies: PodTallies, end: float, live: Mapping[str, Pod]) -> Mapping[str, set[str]]:
        """By reading, the pods whose counts in a bin that ended at `end` say nothing to it."""
        found: dict[str, set[str]] = {}
        if self.known is None:
            return found
        for pod in tallies:
            for reading in self.known.get(pod, BY_SPEC):
                found.setdefault(reading, set()).add(pod)
        if _may_answer(self.known, end, live):
            floats = {pod for pod in tallies if pod in live and live[pod].variant == "float"}
            found[MISMATCH] = found.get(MISMATCH, set()) | floats
        return found


def _may_answer(known: Mapping[str, frozenset[str]], end: float, live: Mapping[str, Pod]) -> bool:
    """Whether an INT8 pod may have answered by an older spec then: float compares with whichever answers."""
    older = (pod for name, pod in live.items() if ANSWERS in known.get(name, BY_SPEC))
    return any(pod.variant == "int8" and end <= pod.at + pod.patience for pod in older)
