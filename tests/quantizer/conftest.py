from collections.abc import Iterator
from pathlib import Path

import pytest

from quanary.quantizer.benefit import block, blocks
from quanary.quantizer.data import DataSet, digest_of_data, open_data
from quanary.quantizer.inference import Model, open_model
from tests.artifacts.services import running_registry
from tests.quantizer.models import answers, classifier, images, save, save_shards


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a real OCI registry on loopback."""
    with running_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
def quick_benefit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of benefit in this process, and short ones: tests/quantizer/benefit proves the fresh ones."""
    monkeypatch.setattr(blocks, "run", block.run_block)
    monkeypatch.setattr(blocks, "BLOCK_SECONDS", 0.01)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The float classifier's file."""
    return save(classifier(), tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="session")
def model(source: Path) -> Model:
    return open_model(source, "spec.model.uri")


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    batch = images(60, seed=11)
    return save_shards(tmp_path_factory.mktemp("calibration"), {"image": batch[:40]}, {"image": batch[40:]})


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 samples with the float model's answers as labels."""
    batch = images(600, seed=12)
    return save_shards(tmp_path_factory.mktemp("sealed"), {"image": batch, "label": answers(classifier(), batch)})


@pytest.fixture(scope="session")
def data(calibration: Path, model: Model) -> DataSet:
    field = "spec.quantization.calibration.data"
    return open_data(calibration, digest_of_data(calibration), field, model.inputs)
