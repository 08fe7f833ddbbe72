"""The page that a run leaves for people. What it leaves for auditors: wire/statement.py, artifacts/signing.py."""

from quanary.quantizer.report.html import write_html

__all__ = ["write_html"]
