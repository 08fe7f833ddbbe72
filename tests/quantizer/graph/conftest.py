from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`rebuild` works in the current folder, that is a confined process's own."""
    monkeypatch.chdir(tmp_path)
