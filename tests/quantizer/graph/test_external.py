"""Models of several files: read, normalised and named as a whole."""

import hashlib
import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from quanary.artifacts.verify import digest_of
from quanary.quantizer.graph import admit, files_of, identity_of, read_graph, rebuild, weights
from quanary.quantizer.inference import open_model
from quanary.wire.report import RefusedError
from tests.quantizer.graph.rebuilding import FEEDS
from tests.quantizer.hostile.corpus import reference
from tests.quantizer.models import classifier, model_of, save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model whose weights are in another file."""
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "model.onnx"
    onnx.save(classifier(12), path, save_as_external_data=True, location="weights", size_threshold=16)
    return path.parent


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def tar_of(folder: Path, to: Path) -> Path:
    with tarfile.open(to, "w") as archive:
        archive.add(folder, ".")
    return to


def test_a_model_of_several_files_is_named_by_their_sorted_digests(folder: Path) -> None:
    files = files_of(folder / "model.onnx")
    assert [each.name for each in files] == ["model.onnx", "weights"]
    lines = f"{digest_of(folder / 'model.onnx')}  model.onnx\n{digest_of(folder / 'weights')}  weights\n"
    assert identity_of(files) == hashlib.sha256(lines.encode()).hexdigest()
    (folder / "weights").write_bytes(bytes((folder / "weights").stat().st_size))
    assert identity_of(files) != hashlib.sha256(lines.encode()).hexdigest()


def test_a_model_of_one_file_is_named_by_it(tmp_path: Path) -> None:
    path = save(classifier(), tmp_path / "model.onnx")
    assert identity_of(files_of(path)) == digest_of(path)


def test_folder_tar_and_file_are_the_same_model(folder: Path, work: Path, tmp_path: Path) -> None:
    from_file = admit(folder / "model.onnx", work)
    from_folder = admit(folder, work)
    from_tar = admit(tar_of(folder, tmp_path / "model.tar"), work)
    assert from_file == from_folder
    assert from_tar.sha256 == from_folder.sha256
    assert (from_folder.unpacked, from_tar.unpacked) == (False, True)
    assert sorted(each.name for each in from_tar.path.parent.iterdir()) == ["model.onnx", "weights"]
    one, other = (open_model(each.path, "f").run(FEEDS[0][1])[0] for each in (from_folder, from_tar))
    assert np.array_equal(one, other)


def test_a_folder_with_two_models_is_refused(folder: Path, work: Path) -> None:
    save(classifier(), folder / "other.onnx")
    with pytest.raises(RefusedError, match=r"2 \.onnx files in model; allowed: a folder or tar with one"):
        admit(folder, work)


def test_small_models_become_one_file_and_compute_the_same_as_before(folder: Path, tmp_path: Path) -> None:
    request = rebuild.Request(folder / "model.onnx", tmp_path / "normalized.onnx", 17, FEEDS)
    apart = rebuild.rebuild(request)
    assert files_of(request.to) == (request.to,)
    single = rebuild.Request(save(classifier(12), tmp_path / "one.onnx"), request.to, 17, FEEDS)
    assert rebuild.rebuild(single)["sha256"] == apart["sha256"]


def test_large_models_stay_apart(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a model of a few kilobytes outgrew one file."""
    monkeypatch.setattr(weights, "ONE_FILE_BYTES", 1024)
    request = rebuild.Request(folder / "model.onnx", tmp_path / "normalized.onnx", 17, FEEDS)
    first = rebuild.rebuild(request)
    assert [each.name for each in files_of(request.to)] == ["normalized.onnx", "normalized.onnx.data"]
    assert first["sha256"] == identity_of(files_of(request.to))
    assert first["largest_difference"] < 1e-4
    assert rebuild.rebuild(request)["sha256"] == first["sha256"]
    again = open_model(request.to, "f").run(FEEDS[0][1])[0]
    assert np.allclose(again, open_model(folder / "model.onnx", "f").run(FEEDS[0][1])[0], atol=1e-4)


def test_weights_of_more_than_two_gibibytes_are_read_as_they_are(tmp_path: Path) -> None:
    """More than a protobuf holds: a sparse file, of which nothing is read before it has to be."""
    rows, columns = 1 << 15, 1 << 14
    node = helper.make_node("MatMul", ["x", "w"], ["scores"])
    model = model_of([node], {}, {"x": ["n", rows]})
    model.graph.initializer.append(reference("w", {"location": "weights"}, (rows, columns + 1)))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with (tmp_path / "weights").open("wb") as file:
        file.truncate(4 * rows * (columns + 1))
    assert (tmp_path / "weights").stat().st_size > 2 << 30
    read = read_graph(tmp_path / "model.onnx")
    assert read.graph.initializer[0].data_location == TensorProto.EXTERNAL
    assert len(read.SerializeToString()) < 1000
