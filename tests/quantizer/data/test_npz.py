from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quanary.quantizer.data import digest_of_data
from quanary.quantizer.inference import TensorSpec
from tests.quantizer.data.sets import STATE, X, npz, numbered, opened, refusal_of, tar_of
from tests.quantizer.models import save_shards


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


@pytest.mark.parametrize("label", [np.array([0.5, 7]), np.array(["a", "bcd"]), np.array([[1, 2], [3, 4]])])
def test_a_label_may_be_a_number_a_text_or_several(tmp_path: Path, label: Any) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 2), "label": label})
    labels = [each.label for each in opened(folder).read()]
    assert np.array_equal(np.array(labels), label)


def test_a_group_is_the_same_in_whatever_width_it_is_stored(tmp_path: Path) -> None:
    """Texts are padded to the longest of a shard, numbers are of any type."""
    folder = save_shards(
        tmp_path / "d",
        {"x": numbered(0, 2), "group": np.array(["clip", "another clip"])},
        {"x": numbered(2, 1), "group": np.array(["clip"])},
    )
    groups = [each.group for each in opened(folder).read()]
    assert groups[0] == groups[2] != groups[1]
    for dtype in (np.int8, np.int64):
        numbers = save_shards(tmp_path / dtype.__name__, {"x": numbered(0, 1), "group": np.array([7], dtype)})
        assert next(opened(numbers).read()).group == b"7"


def test_arrays_nobody_asked_for_are_passed_over(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 2), "file_name": np.array(["a", "b"])})
    assert [sorted(each.feed) for each in opened(folder).read()] == [["x"], ["x"]]


def test_a_sample_that_is_kept_does_not_keep_its_shard(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "d", {"x": np.zeros((100, 3), np.float32)})
    kept = next(opened(folder).read()).feed["x"]
    assert kept.base is None or kept.base.nbytes == kept.nbytes


def test_an_input_named_label_is_an_input(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "d", {"label": numbered(0, 2)})
    data = opened(folder, TensorSpec("label", "float32", (None, 3)))
    assert not data.has_label
    assert [each.label for each in data.read()] == [None, None]


def test_text_inputs_are_objects_as_the_runtime_takes_them(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "d", {"words": np.array([["a", "bc"]])})
    (sample,) = opened(folder, TensorSpec("words", "object", (None, 2))).read()
    assert sample.feed["words"].dtype == object
    assert sample.feed["words"].tolist() == [["a", "bc"]]


def test_a_single_file_is_a_set(tmp_path: Path) -> None:
    (tmp_path / "all.npz").write_bytes(npz(x=numbered(0, 4)))
    assert opened(tmp_path / "all.npz").counts == (("all.npz", 4),)


def test_the_digest_of_a_sample_follows_its_content_alone(tmp_path: Path) -> None:
    rows = np.concatenate([numbered(0, 2), numbered(0, 1)])
    first, second, again = opened(save_shards(tmp_path / "d", {"x": rows, "label": np.arange(3)})).read()
    assert first.digest == again.digest != second.digest


def test_the_digest_of_a_folder_follows_names_and_bytes(tmp_path: Path) -> None:
    one = save_shards(tmp_path / "a", {"x": numbered(0, 2)}, {"x": numbered(2, 3)})
    same = save_shards(tmp_path / "b", {"x": numbered(0, 2)}, {"x": numbered(2, 3)})
    assert digest_of_data(one) == digest_of_data(same)
    (same / "shard-000.npz").rename(same / "shard-009.npz")
    assert digest_of_data(one) != digest_of_data(same)


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"y": numbered(0, 2)}, "shard-000.npz with arrays y"),
        ({"x": numbered(0, 2).astype(np.float64)}, "x float64[2, 3]"),
        ({"x": np.zeros((2, 4), np.float32)}, "x float32[2, 4]"),
        ({"x": np.zeros((2, 2, 2, 3), np.float32)}, "x float32[2, 2, 2, 3]"),
        ({"x": numbered(0, 2), "label": np.array([1])}, "lengths {'x': 2, 'label': 1}"),
        ({"x": numbered(0, 2), "label": np.array([1j, 1])}, "label complex128[2]"),
        ({"x": numbered(0, 2), "label": np.array(1)}, "label int64[]"),
        ({"x": numbered(0, 2), "group": np.array(["a"])}, "lengths {'x': 2, 'group': 1}"),
        ({"x": numbered(0, 2), "labels": np.array([1, 2])}, "'labels', which nothing reads; allowed: 'label'"),
        ({"x": numbered(0, 2), "Group": np.array([1, 2])}, "'Group', which nothing reads; allowed: 'group'"),
        ({"x": numbered(0, 0)}, "no samples"),
    ],
)
def test_arrays_that_do_not_fit_the_model_are_named(tmp_path: Path, arrays: dict[str, Any], found: str) -> None:
    sentence = refusal_of(save_shards(tmp_path / "d", arrays))
    assert found in sentence
    assert "allowed:" in sentence


@pytest.mark.parametrize(
    ("second", "found"),
    [
        (np.array([0.5, 1.5]), "label integer with 0 axes a sample in shard shard-000.npz, float with 0 axes"),
        (np.array([[1, 2], [3, 4]]), "integer with 1 axes a sample in shard shard-001.npz"),
        (np.array(["one", "two"]), "text with 0 axes a sample in shard shard-001.npz"),
    ],
)
def test_labels_of_two_kinds_are_refused(tmp_path: Path, second: Any, found: str) -> None:
    first = {"x": numbered(0, 2), "label": np.array([1, 2])}
    assert found in refusal_of(save_shards(tmp_path / "d", first, {"x": numbered(2, 2), "label": second}))


def test_a_group_in_some_shards_only_is_refused(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 2)}, {"x": numbered(2, 2), "group": np.array([1, 2])})
    assert "shard shard-000.npz without `group`" in refusal_of(folder)


def test_a_label_in_some_shards_only_is_refused(tmp_path: Path) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 2), "label": np.array([1, 2])}, {"x": numbered(2, 2)})
    assert "shard shard-001.npz without `label`" in refusal_of(folder)


@pytest.mark.parametrize("name", ["empty", "text"])
def test_what_is_no_data_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    refusal_of(tmp_path / name)
