import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from quanary.artifacts import stores
from quanary.artifacts.failures import UnreachableError
from quanary.artifacts.fetch import Fetched, fetch
from quanary.artifacts.stores import StoreError, access_of
from quanary.artifacts.verify import Wanted
from quanary.wire.report import RefusedError
from tests.artifacts.services import cutting_relay, free_port, recorder
from tests.artifacts.stores import BUCKET, KEY, SECRET, put_gs, put_s3, running_gcs, running_s3

# The first run on a machine installs the servers.
pytestmark = pytest.mark.timeout(1800)

CONTENT = bytes(range(256)) * 4096  # a mebibyte
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ENDPOINTS = {"s3": "AWS_ENDPOINT_URL", "gs": "STORAGE_EMULATOR_HOST"}


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_s3(tmp_path_factory.mktemp("s3")) as host:
        yield host


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_gcs(tmp_path_factory.mktemp("gcs")) as host:
        yield host


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "STORAGE_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(stores, "RANGE_BYTES", 300_000)  # several requests for one object


def get(uri: str, to: Path, host: str, sha256: str = DIGEST, limit: int = 8 << 20) -> Fetched:
    return fetch(Wanted(uri, sha256, "spec.model"), to / "model.onnx", frozenset({host}), limit)


@pytest.fixture(params=["s3", "gs"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, str]:
    """Scheme, host and URI of a public object."""
    scheme = str(request.param)
    host: str = request.getfixturevalue({"s3": "s3", "gs": "gcs"}[scheme])
    monkeypatch.setenv(ENDPOINTS[scheme], f"http://{host}")
    put = put_s3 if scheme == "s3" else put_gs
    return scheme, host, put(host, "models/v1/model one+two.onnx", CONTENT)


def test_an_object_is_fetched_and_verified(store: tuple[str, str, str], tmp_path: Path) -> None:
    fetched = get(store[2], tmp_path, store[1])
    assert fetched == Fetched(tmp_path / "model.onnx", DIGEST)
    assert fetched.path.read_bytes() == CONTENT


def test_an_object_that_is_another_is_refused_and_leaves_nothing(store: tuple[str, str, str], tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match=rf"spec.model.sha256: found sha256 {DIGEST}"):
        get(store[2], tmp_path, store[1], "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_an_object_over_the_limit_is_refused(store: tuple[str, str, str], tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="more than 1000 bytes"):
        get(store[2], tmp_path, store[1], limit=1000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["models/v1/nothing.onnx", "models/v1"])
def test_a_missing_object_is_refused(store: tuple[str, str, str], tmp_path: Path, key: str) -> None:
    """Also one that is a folder to people, and no object."""
    with pytest.raises(RefusedError) as caught:
        get(f"{store[0]}://{BUCKET}/{key}", tmp_path, store[1])
    assert caught.value.refusal.field == "spec.model.uri"
    assert key in caught.value.refusal.found
    assert list(tmp_path.iterdir()) == []


def test_a_missing_bucket_is_refused(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3}")
    with pytest.raises(RefusedError, match="NoSuchBucket"):
        get("s3://nobodys-bucket/model.onnx", tmp_path, s3)


def test_a_private_object_is_for_whom_the_environment_names(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{s3}")
    uri = put_s3(s3, "secret.onnx", CONTENT, public=False)
    with pytest.raises(RefusedError, match="403"):
        get(uri, tmp_path, s3)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert get(uri, tmp_path, s3).sha256 == DIGEST


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_nobody_listening_is_no_refusal(scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv(ENDPOINTS[scheme], f"http://{host}")
    with pytest.raises(UnreachableError, match=f"{scheme}://{BUCKET}/x.onnx"):
        get(f"{scheme}://{BUCKET}/x.onnx", tmp_path, host)
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_is_cut_half_way_leaves_nothing_and_is_no_refusal(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    uri = put_s3(s3, "long.onnx", CONTENT)
    with cutting_relay(s3, after_bytes=500_000) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{relay}")
        with pytest.raises(UnreachableError):
            get(uri, tmp_path, relay)
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3}")
    uri = put_s3(s3, "moving.onnx", CONTENT)

    class Replacing:
        """The digest of a download, and the one who overwrites the object during it."""

        def __init__(self, limit: int) -> None:
            self.limit = limit

        def __lt__(self, size: int) -> bool:
            put_s3(s3, "moving.onnx", bytes(len(CONTENT)))
            return self.limit < size

    with pytest.raises(UnreachableError, match="replaced"):
        fetch(Wanted(uri, "", "f"), tmp_path / "m", frozenset({s3}), Replacing(8 << 20))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_redirect_leads_nowhere_else(scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`localhost` stands for a metadata address: another host than the one that was checked."""
    with contextlib.ExitStack() as stack:
        metadata, asked = stack.enter_context(recorder(200))
        host, asked_first = stack.enter_context(recorder(302, f"http://localhost:{metadata.split(':')[1]}/secret"))
        monkeypatch.setenv(ENDPOINTS[scheme], f"http://{host}")
        with pytest.raises((RefusedError, UnreachableError)):
            get(f"{scheme}://{BUCKET}/x.onnx", tmp_path, host)
    assert asked_first
    assert asked == []


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_a_proxy_of_the_environment_is_not_asked(scheme: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with recorder(404) as (host, asked), recorder(200) as (proxy, asked_proxy):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy}")
        monkeypatch.setenv(ENDPOINTS[scheme], f"http://{host}")
        with pytest.raises(RefusedError):
            get(f"{scheme}://{BUCKET}/x.onnx", tmp_path, host)
    assert asked
    assert asked_proxy == []


def test_the_metadata_address_is_never_asked_for_credentials(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with recorder(200) as (metadata, asked):
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://{metadata}")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3}")
        get(put_s3(s3, "public.onnx", CONTENT), tmp_path, s3)
    assert asked == []


@pytest.mark.parametrize(
    ("endpoint", "found"),
    [
        ("http://127.0.0.1:9000", "without TLS and is not listed as insecure"),
        ("https://127.0.0.1:9000", "loopback, link-local or metadata"),
        ("https://localhost:9000", "localhost is at"),
        ("https://169.254.169.254", "169.254.169.254"),
        ("https://[fd00:ec2::254]", "fd00:ec2::254"),
        ("https://2852039166", "169.254.169.254"),
        ("ftp://store.example", "is no http"),
    ],
)
@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_an_endpoint_nobody_may_fetch_from_is_refused(
    scheme: str, endpoint: str, found: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ENDPOINTS[scheme], endpoint)
    with pytest.raises(RefusedError) as caught:
        get(f"{scheme}://{BUCKET}/x.onnx", tmp_path, "elsewhere:80")
    assert found in caught.value.refusal.found


REFUSALS: list[tuple[dict[str, str], str]] = [
    ({"AWS_ACCESS_KEY_ID": KEY}, "without the other"),
    ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}, "link-local"),
]


@pytest.mark.parametrize(("environment", "found"), REFUSALS)
def test_credentials_that_cannot_be_used_are_named(environment: dict[str, str], found: str) -> None:
    with pytest.raises(StoreError, match=found) as caught:
        access_of("s3", environment)
    assert caught.value.status == 401


@pytest.mark.parametrize(
    ("scheme", "environment", "urls", "is_anonymous"),
    [
        ("s3", {}, ("https://s3.us-east-1.amazonaws.com",), True),
        ("s3", {"AWS_REGION": "eu-west-1"}, ("https://s3.eu-west-1.amazonaws.com",), True),
        (
            "s3",
            {"AWS_ENDPOINT_URL": "https://a.example", "AWS_ENDPOINT_URL_S3": "https://b.example"},
            ("https://b.example",),
            True,
        ),
        (
            "s3",
            {"AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AWS_ROLE_ARN": "arn", "AWS_REGION": "eu-west-1"},
            ("https://s3.eu-west-1.amazonaws.com", "https://sts.eu-west-1.amazonaws.com"),
            False,
        ),
        ("gs", {}, ("https://storage.googleapis.com",), True),
        ("gs", {"STORAGE_EMULATOR_HOST": "gcs.example:4443"}, ("http://gcs.example:4443",), True),
        (
            "gs",
            {"GOOGLE_APPLICATION_CREDENTIALS": "/key.json"},
            ("https://storage.googleapis.com", "https://oauth2.googleapis.com", "https://accounts.google.com"),
            False,
        ),
    ],
)
def test_the_environment_says_where_and_who(
    scheme: str, environment: dict[str, str], urls: tuple[str, ...], is_anonymous: bool
) -> None:
    access = access_of(scheme, environment)
    assert access.urls == urls
    assert access.config.get("skip_signature", False) is is_anonymous
