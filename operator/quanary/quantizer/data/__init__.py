"""Data sets: opened, checked against a model's inputs, streamed sample by sample, split by content."""

from quanary.quantizer.data.opening import digest_of_data, gather_data, open_data
from quanary.quantizer.data.samples import GROUP, LABEL, DataSet, Sample
from quanary.quantizer.data.split import Content, Split, content_of, distinct, split

__all__ = [
    "GROUP",
    "LABEL",
    "Content",
    "DataSet",
    "Sample",
    "Split",
    "content_of",
    "digest_of_data",
    "distinct",
    "gather_data",
    "open_data",
    "split",
]
