"""Bring a published artifact here, whole or one file of it: layers by title, each verified against its digest."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import requests

from quanary.artifacts.failures import LASTING_STATUSES, UnreachableError
from quanary.artifacts.fetch import MODEL_LIMIT_BYTES
from quanary.artifacts.locate import OciFile
from quanary.artifacts.registry import Client, Layer, RegistryError, connect, read_blob, read_layers
from quanary.artifacts.transport import ForbiddenAddressError
from quanary.artifacts.verify import Wanted, write_verified
from quanary.wire.report import RefusedError

# An artifact has five or six; a title becomes a file name here.
LAYERS_LIMIT: Final = 32
_TITLE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[a-f0-9]{64}")


def pull(file: OciFile, to: Path, *, field: str, insecure_hosts: frozenset[str]) -> tuple[Path, ...]:
    """The titled layers of a manifest as files in `to`; the manifest too is verified if `file` pins its digest.

    Raises:
        RefusedError: on `field`: not there, not allowed, or not what a digest says.
        UnreachableError: the registry did not answer as it should.
    """
    uri = _name(file)
    with _judged(uri, field), connect(file.host, insecure_hosts) as client:
        layers = _titled(read_layers(client, file), uri, field)
        return tuple(_write(client, file, each, to / each.title, field, MODEL_LIMIT_BYTES) for each in layers)


def pull_one(
    file: OciFile, title: str, to: Path, *, field: str, insecure_hosts: frozenset[str], limit_bytes: int
) -> Path:
    """The layer of that title as the file `to`.

    Raises:
        RefusedError: on `field`: not there, too large, or not what its digest says.
        UnreachableError: the registry did not answer as it should.
    """
    uri = _name(file)
    with _judged(uri, field), connect(file.host, insecure_hosts) as client:
        layers = _titled(read_layers(client, file), uri, field)
        layer = next((each for each in layers if each.title == title), None)
        if layer is None:
            raise RefusedError(field, f"layers titled {', '.join(each.title for each in layers)} at {uri}", title)
        return _write(client, file, layer, to, field, limit_bytes)


def _name(file: OciFile) -> str:
    return f"oci://{file.host}/{file.repository} {file.reference}"


@contextmanager
def _judged(uri: str, field: str) -> Iterator[None]:
    """What a person must mend is refused, what may pass is not."""
    try:
        yield
    except ForbiddenAddressError as error:
        raise RefusedError(field, f"{uri}: {error}", "a host that is not this machine or its cloud") from error
    except RegistryError as error:
        if error.status in LASTING_STATUSES:
            raise RefusedError(field, str(error), "an artifact that is there and may be read") from error
        raise UnreachableError(str(error)) from error
    except requests.RequestException as error:
        message = f"{uri} cannot be reached: {error}"
        raise UnreachableError(message) from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise RefusedError(field, f"{error} at {uri}", "the manifest of a published artifact") from error


def _titled(layers: tuple[Layer, ...], uri: str, field: str) -> list[Layer]:
    titled = [each for each in layers if each.title]
    titles = [each.title for each in titled]
    named_well = all(_TITLE.fullmatch(each.title) and _DIGEST.fullmatch(each.digest) for each in titled)
    if not (0 < len(titled) <= LAYERS_LIMIT and named_well and len(set(titles)) == len(titles)):
        raise RefusedError(
            field, f"layers titled {titles} at {uri}", "plain file names, each once, with sha256 digests"
        )
    return titled


def _write(client: Client, file: OciFile, layer: Layer, to: Path, field: str, limit_bytes: int) -> Path:
    wanted = Wanted(f"{file.repository} {layer.title}", layer.digest.removeprefix("sha256:"), field)
    write_verified(read_blob(client, file, layer.digest), to, wanted, limit_bytes)
    return to
