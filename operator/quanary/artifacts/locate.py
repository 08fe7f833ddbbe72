"""What a URI names: a local file, an OCI manifest, or a file on a web server. Pure."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from quanary.wire.report import RefusedError

ALLOWED_URIS: Final = (
    "a path, file:///path, oci://host/repository[:tag|@sha256:digest], https://host/path; http:// for insecure hosts"
)
_OCI: Final = re.compile(
    r"oci://(?P<host>[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?)"
    r"/(?P<repository>[a-z0-9]+([._/-]+[a-z0-9]+)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(@(?P<digest>sha256:[a-f0-9]{64}))?"
)


@dataclass(frozen=True)
class LocalFile:
    """A path on this machine."""

    path: Path


@dataclass(frozen=True)
class OciFile:
    """A layer of an OCI manifest; `reference` is a digest or a tag."""

    host: str
    repository: str
    reference: str


@dataclass(frozen=True)
class WebFile:
    """A file on a web server."""

    url: str
    host: str


Location = LocalFile | OciFile | WebFile


def locate(uri: str, *, field: str, insecure_hosts: frozenset[str] = frozenset()) -> Location:
    """Parse `uri`.

    Raises:
        RefusedError: on `field`, if it is none of `ALLOWED_URIS`.
    """
    if "://" not in uri:
        return LocalFile(Path(uri))
    scheme = uri.split("://", 1)[0]
    if scheme == "file":
        return LocalFile(Path(urlsplit(uri).path))
    if scheme == "oci" and (match := _OCI.fullmatch(uri)):
        return OciFile(match["host"], match["repository"], match["digest"] or match["tag"] or "latest")
    if scheme in {"https", "http"}:
        return _web_file(uri, scheme, field, insecure_hosts)
    raise RefusedError(field, repr(uri), ALLOWED_URIS)


def _web_file(uri: str, scheme: str, field: str, insecure_hosts: frozenset[str]) -> WebFile:
    parts = urlsplit(uri)
    if not parts.hostname or "@" in parts.netloc:
        raise RefusedError(field, repr(uri), f"{ALLOWED_URIS}; no user or password in it")
    if scheme == "http" and not is_listed(parts.netloc, insecure_hosts):
        raise RefusedError(field, repr(uri), f"https://, or a host listed as insecure; {parts.netloc} is not listed")
    return WebFile(uri, parts.netloc)


def is_listed(host: str, hosts: frozenset[str]) -> bool:
    """Whether `host[:port]`, or the host with any port, is among `hosts`."""
    return host in hosts or re.sub(r":[0-9]+$", "", host) in hosts
