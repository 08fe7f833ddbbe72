import sys
from pathlib import Path

import numpy as np
import pytest

from quanary.artifacts.verify import Wanted
from quanary.quantizer.data import DataSet, gather_data
from quanary.quantizer.inference import TensorSpec
from quanary.wire.report import RefusedError
from tests.quantizer.data.sets import FIELD, X, numbered

SOURCE = """
import numpy as np

CALLS = []

def rows():
    CALLS.append(1)
    scratch = np.empty(3, np.float32)
    for number in range(5):
        scratch[:] = np.arange(number * 3, number * 3 + 3)
        yield {"x": scratch, "label": number % 2, "group": f"g{number // 2}"}

def batched():
    return [{"x": np.ones((1, 3), np.float32)}]

def drifting():
    CALLS.append(1)
    return [{"x": np.full(3, len(CALLS), np.float32)}]

def failing():
    yield {"x": np.ones(3, np.float32)}
    raise KeyError("no such row")

def wrong_type(): return [{"x": np.ones(3)}]
def wrong_shape(): return [{"x": np.ones(3, np.float32)}, {"x": np.ones(4, np.float32)}]
def wrong_name(): return [{"y": np.ones(3, np.float32)}]
def misspelt(): return [{"x": np.ones(3, np.float32), "lable": 1}]
def no_mapping(): return [np.ones(3, np.float32)]
def no_label(): return [{"x": np.ones(3, np.float32), "label": 1}, {"x": np.zeros(3, np.float32)}]
def odd_label(): return [{"x": np.ones(3, np.float32), "label": {}}]
def infinite(): return [{"x": np.ones(3, np.float32)}, {"x": np.full(3, np.inf, np.float32)}]
def empty(): return []
def no_rows(): return 7
number = 7
"""


@pytest.fixture
def entry(tmp_path: Path) -> str:
    (tmp_path / "loader.py").write_text(SOURCE)
    return f"{tmp_path}/loader.py"


def gathered(uri: str, to: Path, sha256: str = "", *, code: bool = True) -> DataSet:
    return gather_data(Wanted(uri, sha256, FIELD), to, (X,), insecure_hosts=frozenset(), code=code)


def test_a_function_of_a_file_is_a_data_set(entry: str, tmp_path: Path) -> None:
    """Although it hands out one array that it fills again and again."""
    data = gathered(f"{entry}:rows", tmp_path)
    assert (data.samples, data.has_label, data.has_group) == (5, True, True)
    for _ in range(2):
        samples = list(data.read())
        assert np.array_equal(np.concatenate([each.feed["x"] for each in samples]), numbered(0, 5))
    assert [int(each.label or 0) for each in samples] == [0, 1, 0, 1, 0]
    assert [each.group for each in samples] == [b"'g0'", b"'g0'", b"'g1'", b"'g1'", b"'g2'"]
    assert samples[1].where == f"shard {entry}:rows, sample 1"


def test_a_function_of_a_module_is_a_data_set(entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "loader_of_test.py").write_text(SOURCE)
    assert gathered("loader_of_test:batched", tmp_path).samples == 1
    monkeypatch.delitem(sys.modules, "loader_of_test")


def test_the_digest_is_of_the_content(entry: str, tmp_path: Path) -> None:
    digest = gathered(f"{entry}:rows", tmp_path).sha256
    assert gathered(f"{entry}:rows", tmp_path, digest).sha256 == digest
    assert gathered(f"{entry}:batched", tmp_path).sha256 != digest
    with pytest.raises(RefusedError, match=rf"{FIELD}.sha256: found sha256 {digest}"):
        gathered(f"{entry}:rows", tmp_path, "0" * 64)


@pytest.mark.parametrize("form", ["file", "module"])
def test_a_resource_may_not_run_code(entry: str, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "loader.py").write_text("raise SystemExit('ran')")
    with pytest.raises(RefusedError, match="would run code"):
        gathered(f"{entry}:rows" if form == "file" else "loader:rows", tmp_path, code=False)
    assert "loader" not in sys.modules


@pytest.mark.parametrize(
    ("function", "found"),
    [
        ("wrong_type", "sample 0: x float64[3]"),
        ("wrong_shape", "sample 1: x float32[4]"),
        ("wrong_name", "sample 0: a mapping with keys y"),
        ("misspelt", "sample 0: 'lable', which nothing reads"),
        ("no_mapping", "sample 0: a ndarray"),
        ("no_label", "sample 1: label and group not as in the samples before"),
        ("odd_label", "sample 0: label object[]"),
        ("infinite", "sample 1: NaN or infinity in x"),
        ("empty", "no samples"),
        ("failing", "sample 1: KeyError: 'no such row'"),
        ("no_rows", "sample 0: TypeError"),
        ("number", "loader.py:number: a int"),
        ("nothing", "has no attribute 'nothing'"),
    ],
)
def test_what_a_function_does_wrong_is_named(entry: str, tmp_path: Path, function: str, found: str) -> None:
    with pytest.raises(RefusedError) as caught:
        gathered(f"{entry}:{function}", tmp_path)
    assert caught.value.refusal.field == f"{FIELD}.uri"
    assert found in caught.value.refusal.found


@pytest.mark.parametrize("place", ["no_such_module", "no/such/file.py"])
def test_a_place_that_is_not_there_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(RefusedError, match=r"no_such_module|No such file"):
        gathered(f"{place}:rows", tmp_path)


def test_a_function_that_gives_other_samples_the_next_time_is_refused(entry: str, tmp_path: Path) -> None:
    data = gathered(f"{entry}:drifting", tmp_path)
    with pytest.raises(RefusedError, match="another sample than in the first reading"):
        list(data.read())


def test_text_of_a_function_is_an_input(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text("def rows(): return [{'w': ['a', 'b']}]")
    spec = TensorSpec("w", "object", (None, 2))
    wanted = Wanted(f"{tmp_path}/words.py:rows", "", FIELD)
    (sample,) = gather_data(wanted, tmp_path, (spec,), insecure_hosts=frozenset(), code=True).read()
    assert sample.feed["w"].tolist() == [["a", "b"]]
    assert sample.feed["w"].dtype == object
