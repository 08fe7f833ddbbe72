import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typing_extensions import override

from quanary.quantizer import data as module
from quanary.quantizer.data import DataSet, digest_of_data, open_data
from quanary.quantizer.inference import TensorSpec
from quanary.wire.report import RefusedError
from tests.quantizer.models import save_shards

FIELD = "spec.validation.data"
X = TensorSpec("x", "float32", (None, 3))
STATE = TensorSpec("state", "float32", (2, 1))


def numbered(start: int, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.arange(start * 3, (start + count) * 3, dtype=np.float32).reshape(count, 3)


def opened(path: Path, *inputs: TensorSpec) -> DataSet:
    return open_data(path, digest_of_data(path), FIELD, inputs or (X,))


def refusal_of(path: Path, *inputs: TensorSpec) -> str:
    with pytest.raises(RefusedError) as caught:
        list(opened(path, *inputs).read())
    assert caught.value.refusal.field == f"{FIELD}.uri"
    return caught.value.refusal.sentence


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def tar_of(path: Path, *members: tuple[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_samples_come_in_order_across_shards_as_batches_of_one(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 2)}, {"x": numbered(2, 3)})
    samples = list(opened(folder).read())
    assert [(each.shard, each.index) for each in samples] == [
        ("shard-000.npz", 0), ("shard-000.npz", 1), ("shard-001.npz", 0), ("shard-001.npz", 1), ("shard-001.npz", 2),
    ]  # fmt: skip
    assert np.array_equal(np.concatenate([each.feed["x"] for each in samples]), numbered(0, 5))
    assert samples[0].label is None


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_reads_as_a_folder_does(tmp_path: Path, mode: str) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 2)}, {"x": numbered(2, 3)})
    members = [(f"set/{path.name}", path.read_bytes()) for path in sorted(folder.iterdir())]
    tar = tar_of(tmp_path / "d.tar", *members, ("set/README", b"about"), mode=mode)
    assert [each.digest for each in opened(tar).read()] == [each.digest for each in opened(folder).read()]


def test_an_array_with_an_axis_more_holds_whole_inputs(tmp_path: Path) -> None:
    """Sequences of their own length, and a state that is no batch."""
    frames = np.stack([numbered(0, 4), numbered(4, 4)])
    folder = save_shards(tmp_path / "d", {"x": frames, "state": np.zeros((2, 2, 1), np.float32)})
    samples = list(opened(folder, X, STATE).read())
    assert [each.feed["x"].shape for each in samples] == [(4, 3), (4, 3)]
    assert [each.feed["state"].shape for each in samples] == [(2, 1), (2, 1)]


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, range(10)), (20, range(10)), (5, [0, 2, 4, 6, 8]), (3, [0, 3, 6]), (1, [0])]
)
def test_a_limit_spreads_over_the_whole_set(tmp_path: Path, limit: int | None, expected: list[int]) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 4)}, {"x": numbered(4, 6)})
    assert [each.feed["x"][0, 0] / 3 for each in opened(folder).read(limit)] == list(expected)


def test_a_label_goes_with_its_sample(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 2), "label": np.array([5, 7])})
    assert [each.label for each in opened(folder).read()] == [5, 7]


def test_the_digest_of_a_folder_follows_names_and_bytes(tmp_path: Path) -> None:
    one = save_shards(tmp_path / "a", {"x": numbered(0, 2)}, {"x": numbered(2, 3)})
    same = save_shards(tmp_path / "b", {"x": numbered(0, 2)}, {"x": numbered(2, 3)})
    assert digest_of_data(one) == digest_of_data(same)
    (same / "shard-000.npz").rename(same / "shard-009.npz")
    assert digest_of_data(one) != digest_of_data(same)


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
    monkeypatch.setattr(module, "SHARD_LIMIT_BYTES", 100_000)
    assert "shard bomb.npz of 1200128 bytes" in refusal_of(folder)


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"y": numbered(0, 2)}, "shard-000.npz with arrays y"),
        ({"x": numbered(0, 2).astype(np.float64)}, "x float64[2, 3]"),
        ({"x": np.zeros((2, 4), np.float32)}, "x float32[2, 4]"),
        ({"x": np.zeros((2, 2, 2, 3), np.float32)}, "x float32[2, 2, 2, 3]"),
        ({"x": numbered(0, 2), "label": np.array([1])}, "lengths {'x': 2, 'label': 1}"),
        ({"x": numbered(0, 2), "label": np.array([0.5, 1])}, "label float64[2]"),
        ({"x": numbered(0, 0)}, "no samples"),
    ],
)
def test_arrays_that_do_not_fit_the_model_are_named(tmp_path: Path, arrays: dict[str, Any], found: str) -> None:
    sentence = refusal_of(save_shards(tmp_path / "d", arrays))
    assert found in sentence
    assert "allowed:" in sentence


def test_a_label_in_some_shards_only_is_refused(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 2), "label": np.array([1, 2])}, {"x": numbered(2, 2)})
    assert "shard shard-001.npz without `label`" in refusal_of(folder)


@pytest.mark.parametrize("name", ["empty", "text"])
def test_what_is_no_data_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    refusal_of(tmp_path / name)
