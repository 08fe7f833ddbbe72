"""What a URI names: a local file, an OCI manifest, an object in a bucket, or a file on a web server. Pure."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from quanary.wire.launch import CLAIMS_DIRECTORY
from quanary.wire.report import RefusedError

ALLOWED_URIS: Final = (
    "a path, file:///path, oci://host/repository[:tag|@sha256:digest], s3://bucket/key, gs://bucket/key, "
    "pvc://claim/path, https://host/path; http:// for insecure hosts"
)
CLAIMS: Final = Path(CLAIMS_DIRECTORY)  # where a pod finds the volumes that its URIs name, read-only

_OCI: Final = re.compile(
    r"oci://(?P<host>[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?)"
    r"/(?P<repository>[a-z0-9]+([._/-]+[a-z0-9]+)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(@(?P<digest>sha256:[a-f0-9]{64}))?"
)
# Names that can be nothing but the first part of a path: no port, no user, no dots that climb.
_BUCKET: Final = re.compile(
    r"(?P<scheme>s3|gs)://(?P<bucket>[a-z0-9]([a-z0-9_-]|\.(?!\.)){1,220}[a-z0-9])/(?P<key>[^\x00-\x1f\x7f]{1,1024})"
)
_CLAIM: Final = re.compile(r"pvc://(?P<claim>[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)(?P<path>/[^\x00-\x1f\x7f]*)?")


@dataclass(frozen=True)
class LocalFile:
    """A path on this machine; with a `root`, one that must not lead out of it, not even by a link."""

    path: Path
    root: Path | None = None


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


@dataclass(frozen=True)
class BucketFile:
    """An object in a bucket; `scheme` is `s3` or `gs`."""

    scheme: str
    bucket: str
    key: str


Location = LocalFile | OciFile | WebFile | BucketFile


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
    if scheme in {"s3", "gs"} and (match := _BUCKET.fullmatch(uri)):
        return _bucket_file(uri, match, field)
    if scheme == "pvc" and (match := _CLAIM.fullmatch(uri)):
        return _claim_file(uri, match, field)
    raise RefusedError(field, repr(uri), ALLOWED_URIS)


def _web_file(uri: str, scheme: str, field: str, insecure_hosts: frozenset[str]) -> WebFile:
    parts = urlsplit(uri)
    if not parts.hostname or "@" in parts.netloc:
        raise RefusedError(field, repr(uri), f"{ALLOWED_URIS}; no user or password in it")
    if scheme == "http" and not is_listed(parts.netloc, insecure_hosts):
        raise RefusedError(field, repr(uri), f"https://, or a host listed as insecure; {parts.netloc} is not listed")
    return WebFile(uri, parts.netloc)


def _bucket_file(uri: str, match: re.Match[str], field: str) -> BucketFile:
    if any(part in {"", ".", ".."} for part in match["key"].split("/")):
        raise RefusedError(field, repr(uri), f"{match['scheme']}://bucket/key of one object, such as a tar of shards")
    return BucketFile(match["scheme"], match["bucket"], match["key"])


def _claim_file(uri: str, match: re.Match[str], field: str) -> LocalFile:
    path = PurePosixPath((match["path"] or "").lstrip("/"))
    if ".." in path.parts or ".." in match["claim"]:
        raise RefusedError(field, repr(uri), "pvc://claim/path within the claim")
    root = CLAIMS / match["claim"]
    return LocalFile(root / path, root)


def is_listed(host: str, hosts: frozenset[str]) -> bool:
    """Whether `host[:port]`, or the host with any port, is among `hosts`."""
    return host in hosts or re.sub(r":[0-9]+$", "", host) in hosts
