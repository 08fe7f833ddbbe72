"""Whether INT8 pays on this CPU: blocks of timings in fresh processes, and a three-way word on them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quanary.quantizer.benefit.blocks import measure

__all__ = ["measure"]


def __getattr__(name: str) -> Any:
    """On first use only: every block is a process that imports this package, and must not pay for its caller's part."""
    if name in __all__:
        return getattr(import_module("quanary.quantizer.benefit.blocks"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
