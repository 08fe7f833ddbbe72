"""Data from an enemy, or from a disk that failed: a sentence that names the place, and no memory to speak of."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from quanary.quantizer.data import npz as npz_module
from quanary.quantizer.data import opening, shards
from quanary.quantizer.inference import TensorSpec
from quanary.wire.report import RefusedError
from tests.quantizer.data.sets import lists, npz, numbered, opened, refusal_of, save_parquet, tar_of
from tests.quantizer.models import save_shards

MEGABYTE = 1 << 20


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_names_shard_and_sample(tmp_path: Path, bad: float) -> None:
    second = numbered(2, 3)
    second[1, 2] = bad
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 2)}, {"x": second})
    assert "shard shard-001.npz, sample 1: NaN or infinity in x" in refusal_of(folder)


@pytest.mark.parametrize("kept", [0, 10, 200, -30])
def test_a_truncated_shard_is_named(tmp_path: Path, kept: int) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 2)}, {"x": numbered(2, 30)})
    shard = folder / "shard-001.npz"
    shard.write_bytes(shard.read_bytes()[:kept])
    assert "damaged shard shard-001.npz" in refusal_of(folder)


def test_a_flipped_byte_in_a_shard_is_found(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 50)})
    content = bytearray((folder / "shard-000.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "shard-000.npz").write_bytes(content)
    assert "damaged shard shard-000.npz" in refusal_of(folder)


@pytest.mark.parametrize("cut", [700, 2000])
def test_a_truncated_tar_is_refused(tmp_path: Path, cut: int) -> None:
    tar = tar_of(tmp_path / "d.tar", ("a.npz", npz(x=numbered(0, 100))), ("b.npz", npz(x=numbered(0, 100))))
    tar.write_bytes(tar.read_bytes()[:cut])
    assert "damaged" in refusal_of(tar)


@pytest.mark.parametrize("name", ["../evil.npz", "/etc/evil.npz", "set/../../evil.npz"])
def test_a_path_outside_the_tar_is_refused(tmp_path: Path, name: str) -> None:
    tar = tar_of(tmp_path / "d.tar", ("a.npz", npz(x=numbered(0, 2))), (name, npz(x=numbered(0, 2))))
    assert f"tar member {name!r}, outside the tar" in refusal_of(tar)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_link_or_device_in_a_tar_is_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "d.tar", "w") as archive:
        info = tarfile.TarInfo("a.npz")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert "a link or device" in refusal_of(tmp_path / "d.tar")


class Trap:
    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("sprung"),))


def test_pickled_objects_are_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = save_shards(tmp_path / "d", {"x": np.array([Trap()], dtype=object)})
    assert "object" in refusal_of(folder)
    assert not (tmp_path / "sprung").exists()


def test_a_shard_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    np.savez_compressed(folder / "bomb.npz", x=np.zeros((100_000, 3), np.float32))
    assert (folder / "bomb.npz").stat().st_size < 10_000
    monkeypatch.setattr(npz_module, "SHARD_LIMIT_BYTES", 100_000)
    assert "shard bomb.npz of 1200128 bytes" in refusal_of(folder)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npz_module, "SHARD_LIMIT_BYTES", 32 * MEGABYTE)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (64 * MEGABYTE // 12, 3)}
    )
    (tmp_path / "d").mkdir()
    bomb = zipfile.ZipFile(tmp_path / "d" / "bomb.npz", "w", zipfile.ZIP_DEFLATED)
    with bomb, bomb.open("x.npy", "w") as member:
        member.write(header.getvalue())
        for _ in range(64):
            member.write(bytes(MEGABYTE))
    assert (tmp_path / "d" / "bomb.npz").stat().st_size < 100_000
    assert "shard bomb.npz of 67108992 bytes" in refusal_of(tmp_path / "d")


@pytest.mark.parametrize("shape", [(1 << 40, 3), (1 << 62, 3), (-1, 3), (2, 3), (0, 3)])
def test_a_header_that_lies_about_its_array_is_found(
    tmp_path: Path, little_memory: None, shape: tuple[int, ...]
) -> None:
    """numpy would allocate what the header claims before it reads a byte."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    (tmp_path / "d").mkdir()
    with zipfile.ZipFile(tmp_path / "d" / "lie.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + numbered(0, 1).tobytes())
    assert "damaged shard lie.npz: x.npy claims float32" in refusal_of(tmp_path / "d")


def test_axes_below_zero_that_claim_what_is_there_are_found(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (-1, -3)})
    (tmp_path / "d").mkdir()
    with zipfile.ZipFile(tmp_path / "d" / "lie.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + numbered(0, 1).tobytes())
    assert "damaged shard lie.npz: x.npy claims" in refusal_of(tmp_path / "d", TensorSpec("x", "float32", (None, None)))


def test_an_array_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, numbered(0, 2))
    (tmp_path / "d").mkdir()
    with zipfile.ZipFile(tmp_path / "d" / "a.npz", "w") as archive:
        archive.writestr("x.npy", content.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x.npy", content.getvalue())
    assert "damaged shard a.npz: x.npy is there twice" in refusal_of(tmp_path / "d")


def test_a_compression_that_may_ask_for_any_memory_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, numbered(0, 2))
    (tmp_path / "d").mkdir()
    with zipfile.ZipFile(tmp_path / "d" / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", content.getvalue())
    assert "damaged shard a.npz" in refusal_of(tmp_path / "d")


def test_a_member_of_a_tar_may_not_be_larger_than_a_shard(
    tmp_path: Path, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_LIMIT_BYTES", 10_000)
    tar = tar_of(tmp_path / "d.tar.gz", ("a.npz", npz(x=numbered(0, 2))), ("padding", bytes(20_000)), mode="w:gz")
    assert "shard padding of 20000 bytes" in refusal_of(tar)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_name_of_gigabytes_is_refused_unread(tmp_path: Path, little_memory: None, kind: bytes) -> None:
    info = tarfile.TarInfo("name")
    info.type, info.size = kind, 4 << 30
    (tmp_path / "d.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(64 * 512)))
    assert "a header of 4294967296 bytes" in refusal_of(tmp_path / "d.tar.gz")


def test_a_tar_of_endless_members_is_refused(
    tmp_path: Path, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "MEMBERS_LIMIT", 50)
    tar = tar_of(tmp_path / "d.tar", *((f"{number}.txt", b"") for number in range(60)))
    assert "a tar d.tar that unpacks to 51 files" in refusal_of(tar)


def test_a_sparse_member_is_refused(tmp_path: Path) -> None:
    """It unpacks to what it says, from nothing."""
    info = tarfile.TarInfo("a.npz")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"00000100000\0"  # the real size, after four pairs of offset and length
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    (tmp_path / "d.tar").write_bytes(bytes(header) + bytes(1024))
    assert "tar member 'a.npz', a link or device" in refusal_of(tmp_path / "d.tar")


@pytest.mark.parametrize("packed", ["tar", "folder"])
def test_shards_of_two_formats_are_refused(tmp_path: Path, packed: str) -> None:
    save_parquet(tmp_path / "d" / "b.parquet", {"x": lists(numbered(0, 2))})
    save_shards(tmp_path / "d", {"x": numbered(0, 2)})
    members = [(path.name, path.read_bytes()) for path in sorted((tmp_path / "d").iterdir())]
    path = tar_of(tmp_path / "d.tar", *members) if packed == "tar" else tmp_path / "d"
    assert "shards b.parquet and shard-000.npz in one set" in refusal_of(path)


def test_more_samples_than_anyone_needs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SAMPLES_LIMIT", 5)
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 3)}, {"x": numbered(0, 3)})
    assert "shard shard-001.npz: 6 samples so far" in refusal_of(folder)


def test_a_set_that_shrinks_while_it_is_used_is_refused(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 2)}, {"x": numbered(2, 3)})
    data = opened(folder)
    (folder / "shard-001.npz").unlink()
    with pytest.raises(RefusedError, match=r"fewer samples in .* than the 5 it had at first"):
        list(data.read())
