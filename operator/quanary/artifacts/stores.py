"""Objects in S3 and Google Cloud Storage, through fsspec and obstore, with credentials from the environment alone.

obstore makes its own connections, so `transport` cannot look at their sockets. Instead, before the first request,
every host it may need is resolved and its addresses are judged as `transport` judges them; and obstore is given a
proxy that nobody listens at for all hosts but those, so that no redirect leads elsewhere and no proxy of the
environment connects for us. What is not covered: a name that resolves differently when obstore looks it up again.
Those names are the process's own settings or the providers', never part of a URI.
"""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from obstore.exceptions import BaseError, InvalidPathError, PermissionDeniedError, UnauthenticatedError
from obstore.fsspec import FsspecStore

from quanary.artifacts.addresses import is_forbidden
from quanary.artifacts.locate import BucketFile, is_listed
from quanary.artifacts.transport import ForbiddenAddressError

if TYPE_CHECKING:
    from obstore.store import ClientConfig

RANGE_BYTES: Final = 8 << 20
_NOBODY: Final = "http://127.0.0.1:0"
_RETRIES: Final = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}
_STATUSES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (FileNotFoundError, 404),
    (PermissionDeniedError, 403),
    (UnauthenticatedError, 401),
    (InvalidPathError, 400),
)
_STATUS: Final = re.compile(r"status code: (\d{3})")

_S3_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_S3_METADATA: Final = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
_GS_ENDPOINTS: Final = ("GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST")
_GS_CREDENTIALS: Final = (
    "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN",
)  # fmt: skip
_GS_TOKENS: Final = ("https://oauth2.googleapis.com", "https://accounts.google.com")


class StoreError(Exception):
    """The store did not give the object; `status` is its HTTP code, 0 if it gave none."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True)
class Access:
    """How to reach a store: obstore's settings, and the URLs of all hosts it may speak to, the store's first."""

    config: Mapping[str, Any]
    urls: tuple[str, ...]


def read_object(file: BucketFile, insecure_hosts: frozenset[str]) -> Iterator[bytes]:
    """An object in pieces, unchecked.

    Raises:
        StoreError: it is not there, may not be read, or the store cannot be reached.
        ForbiddenAddressError: the store is at an address that nobody may fetch from.
    """
    access = access_of(file.scheme, os.environ)
    store = _connect(file.scheme, access, insecure_hosts)
    path = f"{file.bucket}/{file.key}"
    try:
        before = store.info(path)
        if before["type"] != "file":
            raise StoreError(404, "a folder of objects, not an object")
        with store.open(path, "rb", buffer_size=RANGE_BYTES, size=before["size"]) as stream:
            while chunk := stream.read(RANGE_BYTES):
                yield chunk
        # The pieces are requests of their own: without a digest to check, nothing else would notice a mixture.
        if store.info(path)["e_tag"] != before["e_tag"]:
            raise StoreError(0, "the object was replaced while it was read")
    except (BaseError, OSError) as error:
        raise _store_error(error) from error


def access_of(scheme: str, environment: Mapping[str, str]) -> Access:
    """Where a store is and who asks, as the environment says; anonymous if it names nobody.

    Raises:
        StoreError: it names credentials that are incomplete, or to be had from a metadata address only.
    """
    return _s3(environment) if scheme == "s3" else _gs(environment)


def _s3(environment: Mapping[str, str]) -> Access:
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = _first(environment, _S3_ENDPOINTS) or f"https://s3.{region}.amazonaws.com"
    config = {"endpoint": endpoint, "region": region}
    has_key, has_secret = (bool(environment.get(f"AWS_{each}")) for each in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
    if has_key != has_secret:
        raise StoreError(401, "one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set without the other")
    if has_key:
        return Access(config, (endpoint,))
    if environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") and environment.get("AWS_ROLE_ARN"):
        token = environment.get("AWS_STS_ENDPOINT") or f"https://sts.{region}.amazonaws.com"
        return Access(config, (endpoint, token))
    if name := next((each for each in _S3_METADATA if environment.get(each)), None):
        raise StoreError(401, f"{name} is a link-local address; set AWS_WEB_IDENTITY_TOKEN_FILE or AWS_ACCESS_KEY_ID")
    # Without this, obstore asks the machine's metadata address who it is.
    return Access(config | {"skip_signature": True}, (endpoint,))


def _gs(environment: Mapping[str, str]) -> Access:
    endpoint = _first(environment, _GS_ENDPOINTS) or "https://storage.googleapis.com"
    endpoint = endpoint if "://" in endpoint else f"http://{endpoint}"
    config = {"base_url": endpoint}
    if _first(environment, _GS_CREDENTIALS):
        return Access(config, (endpoint, *_GS_TOKENS))
    return Access(config | {"skip_signature": True}, (endpoint,))


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := environment.get(name))), "")


def _connect(scheme: str, access: Access, insecure_hosts: frozenset[str]) -> Any:
    for url in access.urls:
        _check_host(url, insecure_hosts)
    options: ClientConfig = {
        "allow_http": access.urls[0].startswith("http://"),
        "proxy_url": _NOBODY,
        "proxy_excludes": ",".join(urlsplit(url).hostname or "" for url in access.urls),
        "connect_timeout": timedelta(seconds=10),
        "timeout": timedelta(seconds=120),
    }
    # fsspec keeps instances, with the credentials of the day they were made.
    store: Any = FsspecStore
    return store(scheme, config=access.config, client_options=options, retry_config=_RETRIES, skip_instance_cache=True)


def _check_host(url: str, insecure_hosts: frozenset[str]) -> None:
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in {"https", "http"}:
        raise StoreError(400, f"the endpoint {url!r} is no http(s)://host")
    if is_listed(parts.netloc, insecure_hosts):
        return
    if parts.scheme == "http":
        message = f"{parts.netloc} would be spoken to without TLS and is not listed as insecure"
        raise ForbiddenAddressError(message)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        raise StoreError(0, f"{parts.hostname} cannot be resolved: {error}") from error
    for address in {str(entry[4][0]) for entry in found}:
        if is_forbidden(address):
            message = f"{parts.hostname} is at {address}, a loopback, link-local or metadata address"
            raise ForbiddenAddressError(message)


def _store_error(error: Exception) -> StoreError:
    text = str(error).split("\n\nDebug source", maxsplit=1)[0]
    status = next((code for kind, code in _STATUSES if isinstance(error, kind)), 0)
    if not status and (match := _STATUS.search(text)):
        status = int(match[1])
    if status in {301, 307} or "redirect" in text:
        return StoreError(400, f"the bucket is elsewhere: set AWS_REGION or AWS_ENDPOINT_URL: {text}")
    return StoreError(status, f"no object {text}" if isinstance(error, FileNotFoundError) else text)
