"""The sealed data's word: is the drop within the budget, with confidence, on samples nobody tuned on?

A metric turns each sample into a row of numbers (metrics/), rows into a drop with an exact or resampled bound
(bounds.py), a front of artifacts into sign-offs in a fixed sequence (sequence.py), and those with the measured benefit
into a verdict (verdict.py). The ledger counts how often the seal was opened (ledger.py).
"""

from quanary.quantizer.certify.ledger import (
    LEDGER_FILE,
    by_content,
    merge,
    open_seal,
    parse_openings,
    read_ledger,
    write_ledger,
)
from quanary.quantizer.certify.metrics import CATALOGUE, METRICS, Estimate, Metric, Row, open_metric
from quanary.quantizer.certify.sequence import certify_front, is_certified
from quanary.quantizer.certify.table import SealedTable, confidence_of
from quanary.quantizer.certify.verdict import judge, mismatch_gate, warnings_of

__all__ = [
    "CATALOGUE",
    "LEDGER_FILE",
    "METRICS",
    "Estimate",
    "Metric",
    "Row",
    "SealedTable",
    "by_content",
    "certify_front",
    "confidence_of",
    "is_certified",
    "judge",
    "merge",
    "mismatch_gate",
    "open_metric",
    "open_seal",
    "parse_openings",
    "read_ledger",
    "warnings_of",
    "write_ledger",
]
