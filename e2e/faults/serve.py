"""`quanary serve` behind a fault switch."""

from collections.abc import Sequence

from e2e.faults.control import start
from e2e.faults.fault import FaultyEngine, Switch
from quanary.server.__main__ import run
from quanary.wire.launch import ServeArguments


def serve(words: Sequence[str]) -> int:
    """Serve by command-line words; the exit code."""
    arguments = ServeArguments.parse(words)
    switch = Switch(is_armed=arguments.variant == "int8")
    control = start(switch, arguments.host)
    try:
        return run(arguments, wrap_engine=lambda engine: FaultyEngine(engine, switch))
    finally:
        control.shutdown()
