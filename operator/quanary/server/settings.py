"""Arguments of the server, checked."""

import math
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from quanary.api.names import Variant
from quanary.server.machine import threads_allowed
from quanary.wire.launch import ServeArguments
from quanary.wire.machine import parse_features

# From "not ready" until no gateway sends new requests.
NOTICE_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Settings:
    """Arguments that make sense together."""

    arguments: ServeArguments
    variant: Variant
    critical: tuple[bytes, bytes] | None
    threads: int
    required_features: frozenset[str]  # of the CPU; empty: any will do
    certified_features: frozenset[str]
    notice_seconds: float = NOTICE_SECONDS

    @classmethod
    def of(cls, arguments: ServeArguments) -> "Settings":
        """Checked arguments.

        Raises:
            ValueError: one is out of bounds; the text names the flag, the value and what is allowed.
        """
        wants = (
            ("variant", arguments.variant in ("float", "int8"), "float or int8"),
            ("digest", bool(re.fullmatch(r"([0-9a-f]{64})?", arguments.digest)), "64 hex digits or nothing"),
            ("sample_ratio", 0 <= arguments.sample_ratio <= 1, "0 to 1"),
            ("latency_budget_seconds", 0 < arguments.latency_budget_seconds < math.inf, "more than 0"),
            ("deadline_seconds", 0 < arguments.deadline_seconds < math.inf, "more than 0"),
            ("threads", arguments.threads >= 0, "0 or more"),
            ("twin_url", _is_http(arguments.twin_url), "http://HOST:PORT or nothing"),
            ("critical_header", _is_header(arguments.critical_header), "NAME=VALUE or nothing"),
        )
        for name, is_fine, allowed in wants:
            if not is_fine:
                flag = "--" + name.replace("_", "-")
                message = f"{flag}: found {getattr(arguments, name)!r}; allowed: {allowed}"
                raise ValueError(message)
        name, _, value = arguments.critical_header.partition("=")
        critical = (name.lower().encode(), value.encode()) if name else None
        variant: Variant = "int8" if arguments.variant == "int8" else "float"
        return cls(
            arguments,
            variant,
            critical,
            arguments.threads or threads_allowed(),
            required_features=parse_features(arguments.cpu_features),
            certified_features=parse_features(arguments.certified_on),
        )


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return not url or (parts.scheme == "http" and bool(parts.hostname) and parts.port != 0)
    except ValueError:
        return False


def _is_header(text: str) -> bool:
    return not text or bool(re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+=[\x20-\x7e]+", text))
