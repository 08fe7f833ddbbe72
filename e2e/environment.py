"""Python environments of programs whose dependencies clash with ours, each made once for a lock file."""

import hashlib
import subprocess
import venv
from pathlib import Path

from e2e.demo.build import cache_folder


def python_of(lock: Path) -> Path:
    """The interpreter of the environment that holds what `lock` says, with hashes."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    folder = cache_folder().parent / "environments" / f"{lock.stem}-{digest}"
    if not (folder / "complete").exists():
        venv.create(folder, with_pip=True, clear=True)
        options = ("--quiet", "--disable-pip-version-check", "--require-hashes")
        subprocess.run([folder / "bin/pip", "install", *options, "-r", lock], check=True)
        (folder / "complete").touch()
    return folder / "bin/python"
