"""Parquet from an enemy, or from a disk that failed: a sentence that names the place, and no memory to speak of."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typing_extensions import override

from quanary.quantizer.data import parquet
from quanary.quantizer.inference import TensorSpec
from quanary.wire.report import RefusedError
from tests.quantizer.data.sets import X, lists, numbered, opened, refusal_of, save_parquet

MEGABYTE = 1 << 20


@pytest.mark.parametrize("kept", [0, 4, 100, -1, -9])
def test_a_truncated_parquet_shard_is_named(tmp_path: Path, kept: int) -> None:
    path = save_parquet(tmp_path / "d" / "a.parquet", {"x": lists(numbered(0, 500))})
    path.write_bytes(path.read_bytes()[:kept])
    assert "damaged shard a.parquet" in refusal_of(tmp_path / "d")


def test_no_flipped_byte_of_a_parquet_shard_goes_unnoticed(tmp_path: Path) -> None:
    """Found, or without effect on what is read; never other numbers, and never a crash."""
    options = {"write_page_checksum": True, "compression": "none", "use_dictionary": False}
    path = save_parquet(tmp_path / "d" / "a.parquet", {"x": lists(numbered(0, 20))}, **options)
    whole = path.read_bytes()
    expected = [each.digest for each in opened(tmp_path / "d").read()]
    for position in range(4, len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        try:
            found = [each.digest for each in opened(tmp_path / "d").read()]
        except RefusedError:
            continue
        assert found == expected, f"byte {position}"


def test_millions_of_rows_in_a_few_bytes_are_refused(tmp_path: Path, little_memory: None) -> None:
    """Run lengths of one dictionary value: the file has nothing in it."""
    schema = pa.schema({"x": pa.float32()})
    zeros = pa.table({"x": pa.array(np.zeros(1 << 18, np.float32))})
    (tmp_path / "d").mkdir()
    with pq.ParquetWriter(tmp_path / "d" / "rows.parquet", schema) as writer:
        for _ in range(20):
            writer.write_table(zeros)
    assert (tmp_path / "d" / "rows.parquet").stat().st_size < MEGABYTE
    assert "rows.parquet: 5242880 samples so far" in refusal_of(tmp_path / "d", TensorSpec("x", "float32", (None, 1)))


@pytest.fixture
def long_row(tmp_path: Path) -> Path:
    """One row of four million zeros, in less than a kilobyte."""
    zeros = pa.array(np.zeros(1 << 22, np.int8))
    column = pa.ListArray.from_arrays(pa.array([0, 1 << 22], pa.int32()), zeros)
    path = save_parquet(tmp_path / "d" / "row.parquet", {"x": column}, compression="zstd")
    assert path.stat().st_size < 1000
    return path


def test_a_row_group_that_unpacks_to_too_much_is_refused(
    long_row: Path, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_LIMIT_BYTES", MEGABYTE)
    sentence = refusal_of(long_row.parent, TensorSpec("x", "int8", (None, 3)))
    assert "shard row.parquet: row group 0 that unpacks to " in sentence
    assert "smaller row_group_size" in sentence


def test_a_footer_that_claims_less_than_its_pages_is_found(long_row: Path, little_memory: None) -> None:
    """Arrow would believe the pages and unpack whatever they ask for."""
    content = long_row.read_bytes()
    (length,) = struct.unpack("<I", content[-8:-4])
    footer = content[-8 - length : -8]
    truth, lie = bytes.fromhex("80808004"), bytes.fromhex("82808000")  # Thrift's 4,194,304, and 1 in as many bytes
    assert truth in footer
    long_row.write_bytes(content[: -8 - length] + footer.replace(truth, lie) + content[-8:])
    assert "damaged shard row.parquet: pages of 4194304 values" in refusal_of(
        long_row.parent, TensorSpec("x", "int8", (None, 3))
    )


def test_a_long_text_repeated_is_one_text_in_memory(tmp_path: Path, little_memory: None) -> None:
    """A gibibyte of text in a few kilobytes."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1 << 10, np.int32)), pa.array(["y" * MEGABYTE]))
    save_parquet(tmp_path / "d" / "a.parquet", {"x": text}, compression="zstd")
    data = opened(tmp_path / "d", TensorSpec("x", "object", (None, 1)))
    assert sum(len(each.feed["x"][0, 0]) for each in data.read()) == 1 << 30


class PickledTrap(pa.ExtensionType):  # type: ignore[misc]
    """A type that only its maker knows."""

    def __init__(self) -> None:
        super().__init__(pa.float32(), "test.trap")

    @override
    def __arrow_ext_serialize__(self) -> bytes:
        return b"cos\nsystem\n(S'touch sprung'\ntR."

    @classmethod
    @override
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> "PickledTrap":
        raise AssertionError("deserialized")


def test_a_foreign_type_of_a_parquet_file_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    column = pa.ExtensionArray.from_storage(PickledTrap(), pa.array([1, 2], pa.float32()))
    save_parquet(tmp_path / "d" / "a.parquet", {"x": column})
    data = opened(tmp_path / "d", TensorSpec("x", "float32", (None, 1)))
    assert [each.feed["x"].tolist() for each in data.read()] == [[[1.0]], [[2.0]]]
    assert not (tmp_path / "sprung").exists()


def test_deep_lists_are_refused_by_name(tmp_path: Path) -> None:
    column = pa.array([[0.0]] * 2, pa.list_(pa.float32()))
    for _ in range(40):
        column = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), column)
    save_parquet(tmp_path / "d" / "deep.parquet", {"x": column})
    assert "deep.parquet, sample 0: column x with float32[1, 1" in refusal_of(tmp_path / "d", X)
