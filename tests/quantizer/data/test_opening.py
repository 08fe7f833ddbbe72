import hashlib
from pathlib import Path

import pytest

from quanary.artifacts.verify import Wanted
from quanary.quantizer.data import DataSet, digest_of_data, gather_data
from quanary.wire.report import RefusedError
from tests.artifacts.services import web_server
from tests.quantizer.data.sets import FIELD, X, lists, npz, numbered, opened, save_parquet, tar_of
from tests.quantizer.models import save_shards


def gathered(uri: str, to: Path, sha256: str = "", host: str = "") -> DataSet:
    return gather_data(Wanted(uri, sha256, FIELD), to, (X,), insecure_hosts=frozenset({host}))


def test_a_path_with_a_colon_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_shards(Path("set:one"), {"x": numbered(0, 2)})
    assert gathered("set:one", tmp_path).samples == 2


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet", "npz", "file uri"])
def test_local_data_is_opened_where_it_is_once_its_digest_is_right(tmp_path: Path, kind: str) -> None:
    folder = save_shards(tmp_path / "d", {"x": numbered(0, 4)})
    (tmp_path / "a.npz").write_bytes(npz(x=numbered(0, 4)))
    path = {
        "folder": folder,
        "file uri": folder,
        "tar": tar_of(tmp_path / "d.tar", ("a.npz", npz(x=numbered(0, 4)))),
        "parquet": save_parquet(tmp_path / "a.parquet", {"x": lists(numbered(0, 4))}),
        "npz": tmp_path / "a.npz",
    }[kind]
    uri = path.as_uri() if kind == "file uri" else str(path)
    data = gathered(uri, tmp_path / "copy", digest_of_data(path))
    assert [each.digest for each in data.read()] == [each.digest for each in opened(folder).read()]
    assert not (tmp_path / "copy").exists()
    with pytest.raises(RefusedError, match=rf"{FIELD}.sha256"):
        gathered(uri, tmp_path / "copy", "0" * 64)


@pytest.mark.parametrize("form", ["tar", "tar.gz", "parquet", "npz"])
def test_remote_data_is_fetched_verified_and_known_by_its_content(tmp_path: Path, form: str) -> None:
    """Not by its name: the URI has none."""
    shard = npz(x=numbered(0, 4))
    (tmp_path / "b").write_bytes(shard)
    path = {
        "tar": lambda: tar_of(tmp_path / "a", ("a.npz", shard)),
        "tar.gz": lambda: tar_of(tmp_path / "a", ("a.npz", shard), mode="w:gz"),
        "parquet": lambda: save_parquet(tmp_path / "a", {"x": lists(numbered(0, 4))}),
        "npz": lambda: tmp_path / "b",
    }[form]()
    content = path.read_bytes()
    with web_server(content) as host:
        data = gathered(f"http://{host}/file", tmp_path / "work" / "data", hashlib.sha256(content).hexdigest(), host)
        with pytest.raises(RefusedError, match=rf"{FIELD}.sha256"):
            gathered(f"http://{host}/file", tmp_path / "other", "0" * 64, host)
    assert data.path == tmp_path / "work" / "data"
    assert [int(each.feed["x"][0, 0]) for each in data.read()] == [0, 3, 6, 9]
    assert not (tmp_path / "other").exists()
