"""Find the INT8 models worth certifying: in budget on tuning samples, fast or small, on the real integer kernels."""

from quanary.quantizer.search.search import search
from quanary.quantizer.search.subject import Subject
from quanary.quantizer.search.trial import Found, Trial

__all__ = ["Found", "Subject", "Trial", "search"]
