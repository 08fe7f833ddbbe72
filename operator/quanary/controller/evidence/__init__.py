"""What live traffic says of one artifact against float: counts in, `Evidence` out. Pure: no clock, no I/O.

`gates` names the budgets, `bins` turns counters into counts per second, `betting` weighs one gate's counts, `proof`
holds the gates of one pair together.
"""

from quanary.controller.evidence.bins import Scrape
from quanary.controller.evidence.gates import ANSWERS, ESCALATION, LATENCY, MISMATCH, Policy
from quanary.controller.evidence.proof import Proof
from quanary.controller.evidence.reading import Evidence, GateReading

__all__ = ["ANSWERS", "ESCALATION", "LATENCY", "MISMATCH", "Evidence", "GateReading", "Policy", "Proof", "Scrape"]
