"""Archives have the same bytes whenever they are written."""

import io
import tarfile
from pathlib import Path

import numpy as np

from e2e.demo.shards import Arrays, first, write_tar

ARRAYS: Arrays = {"bytes": np.arange(20, dtype=np.int32).reshape(10, 2), "label": np.arange(10)}


def test_tar_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("one.tar", "two.tar"):
        write_tar(tmp_path / name, ARRAYS, shard=4)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_tar_holds_every_sample_in_order(tmp_path: Path) -> None:
    write_tar(tmp_path / "data.tar", ARRAYS, shard=4)
    with tarfile.open(tmp_path / "data.tar") as tar:
        assert tar.getnames() == ["0000.npz", "0001.npz", "0002.npz"]
        shards = [np.load(io.BytesIO(tar.extractfile(name).read())) for name in tar.getnames()]  # type: ignore[union-attr]
    for name, array in ARRAYS.items():
        assert np.array_equal(np.concatenate([shard[name] for shard in shards]), array)


def test_first_cuts_every_array() -> None:
    assert {name: len(array) for name, array in first(ARRAYS, 3).items()} == {"bytes": 3, "label": 3}
