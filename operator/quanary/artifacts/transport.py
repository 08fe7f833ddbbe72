"""The HTTP session of every fetch: it connects to no address that belongs to this machine or its cloud.

The check is made on the address a socket has really connected to, before a byte is sent to it: neither a
redirect, nor a token realm, nor a name that resolves differently the second time gets around it.
"""

import os
import socket
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection

from quanary.artifacts.addresses import is_forbidden
from quanary.artifacts.locate import is_listed

TIMEOUTS_SECONDS: Final = (10.0, 60.0)  # to connect, between two reads


class ForbiddenAddressError(Exception):
    """A host resolved to an address that nobody may fetch from."""


def guarded_session(insecure_hosts: frozenset[str]) -> requests.Session:
    """A session that speaks plain HTTP, and to forbidden addresses, only with `insecure_hosts` (`host` or `host:port`).

    Its requests raise ForbiddenAddressError.
    """
    session = requests.Session()
    # No proxy and no .netrc of the environment: a proxy would connect for us, unchecked.
    session.trust_env = False
    session.verify = os.environ.get("SSL_CERT_FILE") or True
    session.mount("https://", _GuardedAdapter(insecure_hosts))
    session.mount("http://", _GuardedAdapter(insecure_hosts))
    return session


class _GuardedAdapter(HTTPAdapter):
    def __init__(self, insecure_hosts: frozenset[str]) -> None:
        self._insecure_hosts = insecure_hosts
        retries = Retry(total=3, backoff_factor=0.2, status_forcelist=(429, 502, 503, 504), raise_on_status=False)
        super().__init__(max_retries=retries)

    @override
    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self._insecure_hosts)

    @override
    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        scheme, _, rest = (request.url or "").partition("://")
        host = rest.split("/", 1)[0]
        if scheme != "https" and not is_listed(host, self._insecure_hosts):
            message = f"{host} would be spoken to without TLS and is not listed as insecure"
            raise ForbiddenAddressError(message)
        kwargs["timeout"] = kwargs.get("timeout") or TIMEOUTS_SECONDS
        return super().send(request, *args, **kwargs)


def _pool_classes(insecure_hosts: frozenset[str]) -> dict[str, type[HTTPConnectionPool]]:
    def checked(connection: HTTPConnection, peer: socket.socket) -> socket.socket:
        address = peer.getpeername()[0]
        if is_forbidden(address) and not is_listed(f"{connection.host}:{connection.port}", insecure_hosts):
            peer.close()
            message = f"{connection.host} is at {address}, a loopback, link-local or metadata address"
            raise ForbiddenAddressError(message)
        return peer

    # Connections make their socket here, TLS comes after.
    class CheckedHTTPConnection(HTTPConnection):
        @override
        def _new_conn(self) -> socket.socket:
            return checked(self, super()._new_conn())

    class CheckedHTTPSConnection(HTTPSConnection):
        @override
        def _new_conn(self) -> socket.socket:
            return checked(self, super()._new_conn())

    class HTTPPool(HTTPConnectionPool):
        ConnectionCls = CheckedHTTPConnection

    class HTTPSPool(HTTPSConnectionPool):
        ConnectionCls = CheckedHTTPSConnection

    return {"http": HTTPPool, "https": HTTPSPool}
