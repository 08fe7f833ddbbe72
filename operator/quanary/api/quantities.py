"""Field types whose wire form is a string: durations, digests, URIs, names."""

import re
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = r"[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h)"
_DURATION: Final = re.compile(f"^(?:{_PART})+$")


def parse_duration(value: Any) -> timedelta:
    """`90s`, `1m30s`, `60ms` as a timedelta.

    Raises:
        ValueError: it is no such string.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        message = f"found {value!r}; allowed: a duration such as 60ms, 90s, 1m30s, 24h"
        raise ValueError(message)
    parts = re.findall(r"([0-9.]+)(ms|s|m|h)", value)
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def format_duration(value: timedelta) -> str:
    """The shortest usual spelling: `90s`, `60ms`, `24h`; exact to the microsecond."""
    seconds = value.total_seconds()
    if seconds and seconds % 3600 == 0:
        return f"{seconds / 3600:.0f}h"
    return f"{_decimal(seconds * 1000)}ms" if 0 < seconds < 1 else f"{_decimal(seconds)}s"


def _decimal(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "maxLength": 32, "pattern": f"^(?:{_PART})+$"}),
]
Digest = Annotated[str, Field(pattern=r"^[a-f0-9]{64}$", max_length=64)]
Ratio = Annotated[float, Field(ge=0, le=1)]
OpenRatio = Annotated[float, Field(gt=0, lt=1)]
# Of a claim: no part of its path may climb out of the volume.
_PVC: Final = r"pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+"
_BUCKET: Final = r"(s3|gs)://[a-z0-9][-a-z0-9._]*/[^\s@]+"
Uri = Annotated[str, Field(pattern=rf"^((oci|https|http)://[^\s@]+|{_BUCKET}|{_PVC})$", max_length=1024)]
OciRepository = Annotated[str, Field(pattern=r"^oci://[^\s@]+$", max_length=512)]
