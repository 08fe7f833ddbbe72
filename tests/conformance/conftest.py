"""The server under test, and the differences expected of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import models
from tests.conformance.differences import DIFFERENCES, FATAL
from tests.conformance.target import Target, given, server_name, started

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    expected, fatal = DIFFERENCES.get(server_name(), {}), FATAL.get(server_name(), {})
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        if item.name in fatal:
            item.add_marker(pytest.mark.skip(reason=fatal[item.name]))
        if item.name in expected:
            item.add_marker(pytest.mark.xfail(reason=expected[item.name], strict=True))


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return models.write(tmp_path_factory.mktemp("conformance"))


@pytest.fixture(scope="session")
def target(model_files: dict[str, Path]) -> Iterator[Target]:
    """The classifier: the first three of four features as `scores`, and their sum as `total`."""
    yield from _target("classifier", model_files)


@pytest.fixture(scope="session")
def types(model_files: dict[str, Path]) -> Iterator[Target]:
    """The echo of every datatype."""
    yield from _target("types", model_files)


def _target(name: str, files: dict[str, Path]) -> Iterator[Target]:
    elsewhere = given(name)
    if elsewhere is None:
        with started(files[name], name, files[name].with_suffix(".log")) as own:
            yield own
        return
    if not elsewhere.model:
        pytest.skip(f"the server has no model {name}")
    yield elsewhere
