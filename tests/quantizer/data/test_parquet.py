from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quanary.quantizer.data import parquet
from quanary.quantizer.inference import TensorSpec
from tests.quantizer.data.sets import (
    STATE,
    X,
    fixed_lists,
    lists,
    numbered,
    opened,
    refusal_of,
    save_parquet,
    tar_of,
)
from tests.quantizer.models import save_shards

IMAGE = TensorSpec("input.1", "float32", (None, 3, 4, 5))
WORDS = TensorSpec("words", "object", (None, 2))


def images(count: int) -> Any:
    return np.random.default_rng(1).standard_normal((count, 3, 4, 5)).astype(np.float32)


FORMS = {
    "lists": lists,
    "fixed lists": fixed_lists,
    "one flat list": lambda rows: lists(rows.reshape(len(rows), -1)),
    "tensors": pa.FixedShapeTensorArray.from_numpy_ndarray,
}


@pytest.mark.parametrize("form", FORMS)
def test_a_row_becomes_an_input_of_the_models_shape(tmp_path: Path, form: str) -> None:
    """Across row groups and batches, whichever way the file nests its numbers."""
    rows = images(50)
    save_parquet(tmp_path / "d" / "a.parquet", {"input.1": FORMS[form](rows)}, row_group_size=20)
    data = opened(tmp_path / "d", IMAGE)
    assert data.counts == (("a.parquet", 50),)
    feeds = [each.feed["input.1"] for each in data.read()]
    assert {each.shape for each in feeds} == {(1, 3, 4, 5)}
    assert np.array_equal(np.concatenate(feeds), rows)


def test_a_sample_is_the_same_in_either_format(tmp_path: Path) -> None:
    """Content, label and group, so that sets of two formats can be kept apart."""
    rows, label, group = numbered(0, 6), np.arange(6), np.array(list("aabbcc"))
    shards = save_shards(tmp_path / "npz", {"x": rows, "label": label, "group": group})
    columns = {"x": lists(rows), "label": pa.array(label), "group": pa.array(group.tolist())}
    table = save_parquet(tmp_path / "a.parquet", columns)
    for ours, theirs in zip(opened(table).read(), opened(shards).read(), strict=True):
        assert (ours.digest, ours.label, ours.group) == (theirs.digest, theirs.label, theirs.group)
        assert ours.where == theirs.where.replace("shard-000.npz", "a.parquet")


def test_a_tar_of_parquet_reads_as_a_folder_does(tmp_path: Path) -> None:
    for number in range(3):
        save_parquet(tmp_path / "d" / f"{number}.parquet", {"x": lists(numbered(number * 4, 4))})
    members = [(path.name, path.read_bytes()) for path in sorted((tmp_path / "d").iterdir())]
    tar = opened(tar_of(tmp_path / "d.tar.gz", *members, mode="w:gz"))
    assert [each.digest for each in tar.read()] == [each.digest for each in opened(tmp_path / "d").read()]
    assert tar.counts == (("0.parquet", 4), ("1.parquet", 4), ("2.parquet", 4))


def test_rows_of_their_own_length_stay_so(tmp_path: Path) -> None:
    column = pa.array([[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]]], pa.list_(pa.list_(pa.float32())))
    save_parquet(tmp_path / "d" / "a.parquet", {"x": column})
    assert [each.feed["x"].shape for each in opened(tmp_path / "d").read()] == [(1, 3), (2, 3)]


def test_an_input_without_a_batch_axis_is_taken_whole(tmp_path: Path) -> None:
    state = np.arange(8, dtype=np.float32).reshape(4, 2, 1)
    save_parquet(tmp_path / "d" / "a.parquet", {"x": lists(numbered(0, 4)), "state": lists(state)})
    samples = list(opened(tmp_path / "d", X, STATE).read())
    assert np.array_equal(np.stack([each.feed["state"] for each in samples]), state)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("float64", [0.1, -2]),
        ("float16", [0.5, 2]),
        ("int8", [-1, 3]),
        ("uint64", [0, 1 << 60]),
        ("bool", [True, False]),
    ],
)
def test_every_type_of_number_arrives_as_it_is(tmp_path: Path, dtype: str, values: list[Any]) -> None:
    array = np.array(values, dtype)
    save_parquet(tmp_path / "d" / "a.parquet", {"x": pa.array(array)})
    found = [each.feed["x"] for each in opened(tmp_path / "d", TensorSpec("x", dtype, (None, 1))).read()]
    assert np.array_equal(np.concatenate(found)[:, 0], array)
    assert found[0].dtype == dtype


def test_text_is_an_input_and_a_label_too(tmp_path: Path) -> None:
    columns = {"words": pa.array([["a", "b"], ["c", "a"]]), "label": pa.array(["one", "two"])}
    save_parquet(tmp_path / "d" / "a.parquet", columns)
    samples = list(opened(tmp_path / "d", WORDS).read())
    assert [each.feed["words"].tolist() for each in samples] == [[["a", "b"]], [["c", "a"]]]
    assert [str(each.label) for each in samples] == ["one", "two"]


def test_columns_nobody_asked_for_are_passed_over(tmp_path: Path) -> None:
    """Whatever they hold, and whether their names begin like ours."""
    columns = {"x.y": pa.array([{"a": 1}, None]), "x": lists(numbered(0, 2)), "date": pa.array([None, None])}
    save_parquet(tmp_path / "d" / "a.parquet", columns)
    assert np.array_equal(np.concatenate([each.feed["x"] for each in opened(tmp_path / "d").read()]), numbered(0, 2))


def test_a_set_is_read_a_few_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BATCH_BYTES", 1 << 16)
    rows = images(16_000)
    save_parquet(tmp_path / "d" / "a.parquet", {"input.1": lists(rows)}, data_page_size=1 << 14, use_dictionary=False)
    before = pa.total_allocated_bytes()
    largest = 0
    for sample, row in zip(opened(tmp_path / "d", IMAGE).read(), rows, strict=True):
        largest = max(largest, pa.total_allocated_bytes() - before)
        assert np.array_equal(sample.feed["input.1"][0], row)
    assert largest < rows.nbytes / 2


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"y": lists(numbered(0, 2))}, "a.parquet with columns y"),
    ({"x": lists(numbered(0, 2).astype(np.float64))}, "column x list<element: double>"),
    ({"x": pa.array(["a", "b"])}, "column x string"),
    ({"x": pa.array([{"a": 1.0}])}, "column x struct<a: double>"),
    ({"x": lists(np.zeros((2, 4), np.float32))}, "sample 0: column x with float32[4]"),
    ({"x": lists(numbered(0, 2)), "label": pa.array([{"a": 1}, {"a": 2}])}, "column label struct"),
    ({"x": lists(numbered(0, 2)), "labels": pa.array([1, 2])}, "'labels', which nothing reads"),
    ({"x": lists(numbered(0, 2)), "label": pa.array([1, None])}, "sample 1: column label without a value"),
    ({"x": lists(numbered(0, 2)), "group": pa.array(["a", None])}, "sample 1: column group without a value"),
    ({"x": pa.array([[1, 2, 3], None], pa.list_(pa.float32()))}, "sample 1: column x without a value"),
    ({"x": pa.array([[1, 2, 3], [1, None, 3]], pa.list_(pa.float32()))}, "sample 1: column x without a value"),
    ({"x": pa.array([[1, 2, 3], [1, 2]], pa.list_(pa.float32()))}, "sample 1: column x with float32[2]"),
    ({"x": pa.array([[1, 2, 3], []], pa.list_(pa.float32()))}, "sample 1: column x with float32[0]"),
    (
        {"x": pa.array([[[1, 2, 3], [4]]], pa.list_(pa.list_(pa.float32())))},
        "sample 0: column x with lists of 1 to 3 values",
    ),
    ({"x": pa.array([[1, 2, 3], [1, np.nan, 3]], pa.list_(pa.float32()))}, "sample 1: NaN or infinity in x"),
    ({"x": lists(numbered(0, 0))}, "no samples"),
]


@pytest.mark.parametrize(("columns", "found"), REFUSALS, ids=[found for _, found in REFUSALS])
def test_columns_that_do_not_fit_the_model_are_named(tmp_path: Path, columns: dict[str, Any], found: str) -> None:
    save_parquet(tmp_path / "d" / "a.parquet", columns)
    sentence = refusal_of(tmp_path / "d")
    assert found in sentence
    assert "allowed:" in sentence


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    column = lists(numbered(0, 2))
    table = pa.Table.from_arrays([column, column], names=["x", "x"])
    (tmp_path / "d").mkdir()
    pa.parquet.write_table(table, tmp_path / "d" / "a.parquet")
    assert "column x twice" in refusal_of(tmp_path / "d")
