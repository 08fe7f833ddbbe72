"""What may drop: one row of numbers a sample, from both models' outputs and the label."""

from quanary.quantizer.certify.metrics.catalogue import CATALOGUE, METRICS, open_metric
from quanary.quantizer.certify.metrics.metric import Estimate, Metric, Proportion, Resampled, Row

__all__ = ["CATALOGUE", "METRICS", "Estimate", "Metric", "Proportion", "Resampled", "Row", "open_metric"]
