from collections.abc import Iterator

import pytest

from tests.artifacts.services import running_registry


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of a real OCI registry on loopback."""
    with running_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host
