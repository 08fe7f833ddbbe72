"""What comes from outside, pinned and verified: wheels by pip, recorded speech by apt. Nothing is installed or run."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
SPEECH: Final = "asterisk-core-sounds-en-wav"
SPEECH_VERSION: Final = "1.6.1-1"
SPEECH_SHA256: Final = "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d"

# Wheels are chosen by these, whatever machine this runs on: the same bytes everywhere.
PLATFORM: Final = (
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
    "--abi=abi3",
    "--abi=none",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux2014_x86_64",
    "--platform=manylinux2010_x86_64",
    "--platform=any",
)


def wheels(cache: Path) -> tuple[Path, ...]:
    """Fetch the pinned wheels into `cache`, verified by pip; nothing is fetched twice."""
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", *PLATFORM]
    command += ["--dest", str(cache), "--find-links", str(cache), "--requirement", str(REQUIREMENTS)]
    marker = cache / "complete"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not marker.exists() or marker.read_text() != wanted:
        subprocess.run(command, check=True)
        marker.write_text(wanted)
    return tuple(sorted(cache.glob("*.whl")))


def speech(cache: Path) -> Path:
    """Debian's package of recorded prompts."""
    return debian(cache, SPEECH, SPEECH_VERSION, SPEECH_SHA256)


def debian(cache: Path, name: str, version: str, sha256: str) -> Path:
    """Fetch a Debian package for all machines into `cache`.

    Raises:
        ValueError: it is not what it was.
    """
    cache.mkdir(parents=True, exist_ok=True)
    package = cache / f"{name}_{version}_all.deb"
    if not package.exists():
        # As root apt drops its rights for a download, if it can write here; that it cannot is only a warning.
        command = ["apt-get", "--quiet", "download", f"{name}={version}"]
        if subprocess.run(command, cwd=cache, check=False).returncode:
            subprocess.run(["apt-get", "--quiet", "update"], check=True)  # a new machine has no lists yet
            subprocess.run(command, cwd=cache, check=True)
    found = hashlib.sha256(package.read_bytes()).hexdigest()
    if found != sha256:
        message = f"{package}: sha256 is {found}; allowed: {sha256}"
        raise ValueError(message)
    return package
