"""Arguments of the server, checked."""

import math
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from quanary.api.names import Variant
from quanary.server.escalation import MEASURES
from quanary.server.machine import threads_allowed
from quanary.wire.launch import ServeArguments
from quanary.wire.machine import parse_features

# From "not ready" until no gateway sends new requests.
NOTICE_SECONDS: Final = 5.0
Want = tuple[str, bool, str]  # an argument, whether it is fine, what is allowed


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
            ("core_watts", 0 <= arguments.core_watts < math.inf, "0 or more"),
            ("core_hour_price", 0 <= arguments.core_hour_price < math.inf, "0 or more"),
            *_wants_of_ports(arguments),
            ("max_batch", 0 <= arguments.max_batch <= 1024, "0 to 1024"),
            ("twin_url", _is_http(arguments.twin_url), "http://HOST:PORT or nothing"),
            ("upstream", _is_http(arguments.upstream), "http://HOST:PORT or nothing"),
            ("critical_header", _is_header(arguments.critical_header), "NAME=VALUE or nothing"),
            *_wants_of_critical(arguments),
            *_wants_of_escalation(arguments),
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


def _wants_of_ports(arguments: ServeArguments) -> tuple[Want, ...]:
    must, may = ("http_port", "metrics_port"), ("grpc_port", "twin_port")
    ports = [port for name in (*must, *may) if (port := getattr(arguments, name))]
    bounds = [(name, 1, "1 to 65535") for name in must] + [(name, 0, "1 to 65535, or 0 for none") for name in may]
    return (
        *((name, least <= getattr(arguments, name) <= 65535, allowed) for name, least, allowed in bounds),
        *((name, ports.count(getattr(arguments, name)) <= 1, "a port of its own") for name in (*must, *may)),
    )


def _wants_of_critical(arguments: ServeArguments) -> tuple[Want, ...]:
    path = arguments.critical_path
    # Under the protocol's own, even the probes of the kubelet would be marked.
    is_prefix = bool(re.fullmatch(r"((?!/v2(/|$))(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+)?", path))
    is_marked = bool(arguments.critical_header) or not path
    return (
        ("critical_path", is_prefix, "a path prefix such as /critical, or nothing"),
        ("critical_path", is_marked, "one beside --critical-header, or nothing"),
    )


def _wants_of_escalation(arguments: ServeArguments) -> tuple[Want, ...]:
    wants: tuple[Want, ...] = (
        ("escalate_below", 0 <= arguments.escalate_below <= 1, "0 to 1"),
        ("escalate_by", arguments.escalate_by in MEASURES, ", ".join(MEASURES)),
        ("escalate_to", arguments.escalate_to in ("float", "review"), "float or review"),
        ("escalation_budget", 0 <= arguments.escalation_budget <= 1, "0 to 1"),
        ("review_sink", _is_sink(arguments.review_sink), "http:// or https://HOST[:PORT][/PATH], or nothing"),
    )
    if not arguments.escalate_below:
        return wants
    is_review = arguments.escalate_to == "review"
    return (
        *wants,
        ("escalate_below", arguments.variant == "int8", "0 for a float model: only INT8's answers are escalated"),
        ("escalate_output", bool(arguments.escalate_output) or arguments.escalate_by != "output", "an output's name"),
        ("twin_url", bool(arguments.twin_url) or is_review, "http://HOST:PORT of float, to escalate to"),
        ("review_sink", bool(arguments.review_sink) or not is_review, "a URL, to send reviews to"),
        ("review_spool", bool(arguments.review_spool) or not is_review, "a folder, for reviews that wait"),
    )


def _is_sink(url: str) -> bool:
    if not re.fullmatch(r"[\x21-\x7e]*", url):
        return False
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return not url or (is_whole and "@" not in parts.netloc and not parts.fragment)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return not url or (parts.scheme == "http" and bool(parts.hostname) and parts.port != 0)
    except ValueError:
        return False


def _is_header(text: str) -> bool:
    return not text or bool(re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+=[!-+.-~-]([ -+.-~-]*[!-+.-~-])?", text))
