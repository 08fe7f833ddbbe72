import pytest

from quanary.artifacts.addresses import is_forbidden
from quanary.artifacts.transport import ForbiddenAddressError, guarded_session
from tests.artifacts.services import web_server


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1%eth0", "fd00:ec2::254", "0.0.0.0",
     "100.100.100.200", "224.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:a9fe:a9fe::1",
     "fd00:ec2::23", "fd20:ce::254", "fd00:42::42"],
)  # fmt: skip
def test_addresses_of_this_machine_and_its_cloud_are_forbidden(address: str) -> None:
    assert is_forbidden(address)


@pytest.mark.parametrize("address", ["10.96.0.10", "198.18.0.1", "93.184.216.34", "2606:2800::1", "64:ff9b::5db8:d822"])
def test_addresses_of_a_cluster_and_the_world_are_not(address: str) -> None:
    assert not is_forbidden(address)


def test_a_name_is_judged_by_the_address_it_connects_to() -> None:
    """`localhost` is no forbidden address by itself; what it resolves to is."""
    with web_server(b"x") as host, guarded_session(frozenset()) as session:
        port = host.split(":")[1]
        with pytest.raises(ForbiddenAddressError, match="localhost is at"):
            session.get(f"https://localhost:{port}/file")


def test_a_host_that_is_not_listed_is_never_spoken_to_in_clear() -> None:
    refused = pytest.raises(ForbiddenAddressError, match="not listed as insecure")
    with web_server(b"x") as host, guarded_session(frozenset({"elsewhere:80"})) as session, refused:
        session.get(f"http://{host}/file")


def test_a_redirect_cannot_lead_to_a_forbidden_host() -> None:
    refused = pytest.raises(ForbiddenAddressError)
    with web_server(b"secret") as metadata, web_server(b"x", elsewhere=f"http://{metadata}/file") as host:
        with guarded_session(frozenset({host})) as session, refused:
            session.get(f"http://{host}/away")
        with guarded_session(frozenset({host, metadata})) as session:
            assert session.get(f"http://{host}/away").content == b"secret"


def test_a_listed_host_is_answered() -> None:
    with web_server(b"content") as host, guarded_session(frozenset({host})) as session:
        assert session.get(f"http://{host}/file").content == b"content"
