"""Who answers instead of INT8: `policy` says when float does, by a `confidence` and within a `budget`, through a `lane`
of its own on float's twin port.
"""

from quanary.server.escalation.budget import BURST, Budget
from quanary.server.escalation.confidence import MEASURES, confidence_of
from quanary.server.escalation.lane import FloatLane, NotAnswered
from quanary.server.escalation.policy import Doubt, EscalateToFloat, FloatAlone, SayDoubt

__all__ = [
    "BURST",
    "MEASURES",
    "Budget",
    "Doubt",
    "EscalateToFloat",
    "FloatAlone",
    "FloatLane",
    "NotAnswered",
    "SayDoubt",
    "confidence_of",
]
