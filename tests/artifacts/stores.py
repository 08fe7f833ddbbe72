"""Real servers of the S3 and Google Cloud Storage APIs on loopback, as processes of their own.

They are installed outside the project's environment, from pinned files, once for each version of those files.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from e2e.cluster import paths
from tests.artifacts.services import free_port, wait_for

CACHE = paths.CACHE / "tests"
REQUIREMENTS = paths.REPO / "requirements" / "stores.txt"
GO_MODULE = Path(__file__).parent / "gcs"
BUCKET = "team-data"

KEY, SECRET = "AKIAEXAMPLE", "example-secret"


def installed(name: str, pins: tuple[Path, ...], install: Callable[[Path], None]) -> Path:
    """A folder that `install` filled, made once for this content of `pins`."""
    digest = hashlib.sha256(b"".join(pin.read_bytes() for pin in pins)).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".done").exists():
            install(folder)
            (folder / ".done").touch()
    return folder


def _install_moto(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)


def _install_gcs(folder: Path) -> None:
    flags = {"CGO_ENABLED": "0", "GOBIN": str(folder), "GOFLAGS": "-mod=readonly -buildvcs=false"}
    subprocess.run(["go", "install", "-trimpath", "tool"], cwd=GO_MODULE, env=os.environ | flags, check=True)


@contextmanager
def _running(command: list[str], url: str, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
    try:
        wait_for(url, process)
        yield
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def running_s3(folder: Path) -> Iterator[str]:
    """`127.0.0.1:port` of an S3 server with an empty `BUCKET`."""
    home = installed("moto", (REQUIREMENTS,), _install_moto)
    port = free_port()
    host = f"127.0.0.1:{port}"
    command = [str(home / "bin" / "python"), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, f"http://{host}/moto-api/", folder / "s3.log"):
        httpx.put(f"http://{host}/{BUCKET}").raise_for_status()
        yield host


@contextmanager
def running_gcs(folder: Path) -> Iterator[str]:
    """`127.0.0.1:port` of a Google Cloud Storage server with an empty `BUCKET`."""
    home = installed("gcs", (GO_MODULE / "go.mod", GO_MODULE / "go.sum"), _install_gcs)
    port = free_port()
    host = f"127.0.0.1:{port}"
    command = [str(home / "fake-gcs-server"), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-backend", "memory", "-public-host", host]
    with _running(command, f"http://{host}/storage/v1/b?project=test", folder / "gcs.log"):
        httpx.post(f"http://{host}/storage/v1/b", json={"name": BUCKET}).raise_for_status()
        yield host


def put_s3(host: str, key: str, content: bytes, *, public: bool = True) -> str:
    """Store an object; anyone may read a public one."""
    headers = {"x-amz-acl": "public-read"} if public else {}
    httpx.put(f"http://{host}/{BUCKET}/{key}", content=content, headers=headers).raise_for_status()
    return f"s3://{BUCKET}/{key}"


def put_gs(host: str, key: str, content: bytes) -> str:
    """Store an object."""
    upload = f"http://{host}/upload/storage/v1/b/{BUCKET}/o"
    httpx.post(upload, params={"uploadType": "media", "name": key}, content=content).raise_for_status()
    return f"gs://{BUCKET}/{key}"
