"""The one place that speaks to Prometheus. Bounded in time and size, no retries: the next tick is the retry."""

import time
from collections.abc import Iterator
from typing import Any, Final

import requests
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from urllib3.util.retry import Retry

ANSWER_BYTES: Final = 64 * 2**20
CONNECT_SECONDS: Final = 2.0


class PrometheusError(Exception):
    """Prometheus gave no usable answer."""


class Prometheus:
    """A client of one Prometheus; its methods block and are for one thread at a time."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0, answer_bytes: int = ANSWER_BYTES) -> None:
        self._timeout_seconds = timeout_seconds
        self._answer_bytes = answer_bytes
        session = requests.Session()
        session.hooks["response"].append(self._bound)
        # The client's default tries three times and blocks for six seconds.
        self._client = PrometheusConnect(url.rstrip("/"), session=session, retry=Retry(total=0))

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        """The result of an instant query at `at`, in seconds since the epoch.

        Raises:
            PrometheusError: no answer in time, an error answer, or one that is too large or no list of series.
        """
        limits = (CONNECT_SECONDS, self._timeout_seconds)
        parameters = {"time": f"{at:.3f}", "timeout": f"{self._timeout_seconds:g}s"}
        try:
            result = self._client.custom_query(promql, parameters, timeout=limits)
        except (requests.RequestException, PrometheusApiClientException, ValueError, KeyError, TypeError) as error:
            raise PrometheusError(f"query failed: {str(error)[:300]}") from error
        if not isinstance(result, list) or not all(isinstance(each, dict) for each in result):
            raise PrometheusError("query failed: found no list of series in the answer")
        return result

    def close(self) -> None:
        """Let go of its connections."""
        self._client.close()

    def _bound(self, response: requests.Response, **_: Any) -> None:
        response.raw = _Bounded(response.raw, self._answer_bytes, time.monotonic() + self._timeout_seconds)


class _Bounded:
    """A response body that ends in an error once it is too long or too late; a read timeout alone bounds neither."""

    def __init__(self, raw: Any, limit: int, deadline: float) -> None:
        self._raw, self._limit, self._deadline = raw, limit, deadline

    def stream(self, chunk_size: int, decode_content: bool) -> Iterator[bytes]:
        size = 0
        # read1 returns with what is there; `stream` would wait for a whole chunk, byte after dripping byte.
        while chunk := self._raw.read1(chunk_size, decode_content=decode_content):
            size += len(chunk)
            if size > self._limit:
                raise ValueError(f"answer: found more than {self._limit} bytes; allowed: at most that")
            if time.monotonic() > self._deadline:
                raise ValueError("answer: found it incomplete at its deadline; allowed: all of it by then")
            yield chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)
