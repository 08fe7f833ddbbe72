"""Where a model comes from: its file, a folder of it and its data, or a tar of such a folder, told by content."""

import tarfile
from pathlib import Path
from typing import Final

from quanary.artifacts.verify import CHUNK_BYTES
from quanary.quantizer.graph.external import ALLOWED_LOCATION, FILES, is_plain
from quanary.quantizer.graph.limits import SOURCE_BYTES, Refuse

ALLOWED: Final = "a folder or tar with one .onnx file and its data files beside it"

_MAGIC, _MAGIC_AT = b"ustar", 257


def locate_model(path: Path, unpacked: Path, refuse: Refuse) -> Path:
    """The .onnx file that `path` is or holds; a tar is unpacked into the new folder `unpacked`.

    Raises:
        RefusedError: there is not exactly one, or the tar holds anything but plain files.
    """
    if path.is_dir():
        return _only_model(path, refuse)
    if not _is_tar(path):
        return path
    unpacked.mkdir()
    try:
        # Not compressed: what it unpacks to is no larger than what was fetched.
        with tarfile.open(path, "r:") as archive:
            _unpack(archive, unpacked, refuse)
    except tarfile.TarError as error:
        raise refuse(f"a damaged tar: {error}", ALLOWED) from error
    return _only_model(unpacked, refuse)


def _is_tar(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(_MAGIC_AT)
        return file.read(len(_MAGIC)) == _MAGIC


def _only_model(folder: Path, refuse: Refuse) -> Path:
    found = sorted(each for each in folder.iterdir() if each.suffix == ".onnx" and each.is_file())
    if len(found) != 1:
        raise refuse(f"{len(found)} .onnx files in {folder.name}", ALLOWED)
    return found[0]


def _unpack(archive: tarfile.TarFile, to: Path, refuse: Refuse) -> None:
    total = 0
    for count, member in enumerate(archive, 1):
        name = member.name.removeprefix("./")
        if member.isdir() and name in {"", "."}:
            continue
        # A sparse file is larger than what holds it.
        if not (member.isreg() and is_plain(name)) or member.issparse():
            raise refuse(f"a tar with {member.name[:200]!r}, no plain file", ALLOWED_LOCATION)
        total += member.size
        if count > FILES or total > SOURCE_BYTES:
            raise refuse(f"a tar of {count} files, {total} bytes and more", f"{FILES} files, {SOURCE_BYTES} bytes")
        _extract(archive, member, to / name, refuse)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, to: Path, refuse: Refuse) -> None:
    content = archive.extractfile(member)
    assert content is not None
    try:
        with to.open("xb") as file:
            while chunk := content.read(CHUNK_BYTES):
                file.write(chunk)
    except FileExistsError:
        raise refuse(f"a tar with {to.name!r} twice", "each file once") from None
