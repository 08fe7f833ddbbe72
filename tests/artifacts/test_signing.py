"""Signatures over an artifact and all that is said of it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from quanary.artifacts.signing import BadSignatureError, check_sign_key, check_verify_key, sign, verify
from quanary.wire.report import RefusedError
from tests.quantizer.report.reports import write_folder

MODEL: Final = "model-int8.onnx"


def write_key(path: Path, key: Any, password: bytes | None = None) -> Path:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every kind of key."""
    folder = tmp_path_factory.mktemp("keys")
    write_key(folder / "ours.pem", ec.generate_private_key(ec.SECP256R1()))
    write_key(folder / "theirs.pem", ec.generate_private_key(ec.SECP256R1()))
    write_key(folder / "encrypted.pem", ec.generate_private_key(ec.SECP256R1()), b"secret")
    write_key(folder / "rsa.pem", rsa.generate_private_key(65537, 2048))
    write_key(folder / "ed25519.pem", ed25519.Ed25519PrivateKey.generate())
    write_key(folder / "koblitz.pem", ec.generate_private_key(ec.SECP256K1()))
    (folder / "text.pem").write_text("no key")
    return folder


@pytest.fixture
def signed(tmp_path: Path, keys: Path) -> Path:
    """The model file of a signed folder."""
    write_folder(tmp_path)
    assert sign(tmp_path / MODEL, keys / "ours.pem") == tmp_path / f"{MODEL}.sig"
    return tmp_path / MODEL


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_what_was_signed_verifies_wherever_it_lies(signed: Path, keys: Path, tmp_path_factory: Any) -> None:
    verify(signed, keys / "ours.pub")
    elsewhere = shutil.copytree(signed.parent, tmp_path_factory.mktemp("else") / "where")
    verify(elsewhere / MODEL, keys / "ours.pub")


def test_openssf_model_signing_verifies_it_by_its_own_command(signed: Path, keys: Path) -> None:
    program = str(Path(sys.executable).with_name("model_signing"))
    keyed = ["--public_key", str(keys / "ours.pub"), "--ignore_unsigned_files"]
    command = [program, "verify", "key", str(signed.parent), "--signature", f"{signed}.sig", *keyed]
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 0
    flip(signed)
    assert subprocess.run(command, capture_output=True, text=True, check=False).returncode != 0


@pytest.mark.parametrize("name", [MODEL, "report.json", "report.html", "statement.json"])
def test_a_changed_byte_fails(signed: Path, keys: Path, name: str) -> None:
    flip(signed.with_name(name))
    with pytest.raises(BadSignatureError, match=f"^changed since: {name}$"):
        verify(signed, keys / "ours.pub")


@pytest.mark.parametrize("name", ["report.json", "statement.json"])
def test_a_removed_file_fails(signed: Path, keys: Path, name: str) -> None:
    signed.with_name(name).unlink()
    with pytest.raises(BadSignatureError, match=name):
        verify(signed, keys / "ours.pub")


def test_another_key_fails(signed: Path, keys: Path) -> None:
    with pytest.raises(BadSignatureError, match="Key mismatch"):
        verify(signed, keys / "theirs.pub")


def test_a_forged_key_hint_fails(signed: Path, keys: Path) -> None:
    """The hint is no proof: it can be copied from the key that is expected."""
    signature = signed.with_name(f"{MODEL}.sig")
    hint = json.loads(signature.read_text())["verificationMaterial"]["publicKey"]["hint"]
    sign(signed, keys / "theirs.pem")
    bundle = json.loads(signature.read_text())
    bundle["verificationMaterial"]["publicKey"]["hint"] = hint
    signature.write_text(json.dumps(bundle))
    with pytest.raises(BadSignatureError, match="another key"):
        verify(signed, keys / "ours.pub")


def test_another_set_signed_with_our_key_is_not_this_one(signed: Path, keys: Path, tmp_path_factory: Any) -> None:
    """Its signature is right, and what it covers too; but it does not cover the model."""
    other = tmp_path_factory.mktemp("other")
    (other / "report.json").write_bytes(signed.with_name("report.json").read_bytes())
    (other / "readme").write_text("signed on another day")
    sign(other / "readme", keys / "ours.pem")
    shutil.copy(other / "readme", signed.with_name("readme"))
    shutil.copy(other / "readme.sig", signed.with_name(f"{MODEL}.sig"))
    flip(signed)
    with pytest.raises(BadSignatureError, match=f"not signed: {MODEL}, report.html, statement.json"):
        verify(signed, keys / "ours.pub")


def test_what_lies_beside_and_is_no_part_of_it_does_not_matter(signed: Path, keys: Path) -> None:
    (signed.parent / ".cache").mkdir()
    (signed.parent / ".cache/ranges").write_text("x")
    verify(signed, keys / "ours.pub")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: "{}",
        lambda text: text[:200],
        lambda text: "[" * 100_000,
        lambda text: text.replace('"payload":"', '"payload":"AAAA'),
        lambda text: text.replace("dsseEnvelope", "messageSignature"),
        lambda text: "x" * (2 << 20),
    ],
    ids=["empty", "nothing", "cut", "deep", "payload", "kind", "large"],
)
def test_a_hostile_signature_fails_and_breaks_nothing(signed: Path, keys: Path, spoil: Callable[[str], str]) -> None:
    signature = signed.with_name(f"{MODEL}.sig")
    signature.write_text(spoil(signature.read_text().replace(": ", ":")))
    with pytest.raises(BadSignatureError):
        verify(signed, keys / "ours.pub")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("none.pem", "No such file"),
        ("encrypted.pem", "an encrypted key"),
        ("text.pem", "no private key in PEM"),
        ("rsa.pem", "an RSAPrivateKey"),
        ("ed25519.pem", "an Ed25519PrivateKey"),
        ("koblitz.pem", "a key of curve secp256k1"),
        ("ours.pub", "no private key in PEM"),
    ],
)
def test_a_key_that_cannot_sign_is_refused(keys: Path, name: str, found: str) -> None:
    with pytest.raises(
        RefusedError, match=f"^--sign-key: found .*{found}.*; allowed: a PEM private key of an elliptic"
    ):
        check_sign_key(keys / name)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("none.pub", "No such file"),
        ("ours.pem", "no public key in PEM"),
        ("rsa.pub", "an RSAPublicKey"),
        ("koblitz.pub", "a key of curve secp256k1"),
    ],
)
def test_a_key_that_cannot_verify_is_refused(keys: Path, name: str, found: str) -> None:
    with pytest.raises(RefusedError, match=f"^--key: found .*{found}"):
        check_verify_key(keys / name)


def test_a_model_apart_from_its_report_is_not_signed(signed: Path, keys: Path) -> None:
    signed.with_name("report.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no report\.json beside"):
        sign(signed, keys / "ours.pem")


def test_nothing_is_signed_with_a_key_that_cannot(tmp_path: Path, keys: Path) -> None:
    write_folder(tmp_path)
    with pytest.raises(RefusedError, match="--sign-key"):
        sign(tmp_path / MODEL, keys / "encrypted.pem")
    assert not (tmp_path / f"{MODEL}.sig").exists()


def test_what_changed_is_named_whatever_its_digest(signed: Path, keys: Path) -> None:
    """Digests are spelled in bytes, some of which are quotes."""
    for index in range(64):
        signed.write_bytes(bytes([index]) * 10)
        with pytest.raises(BadSignatureError, match=f"^changed since: {MODEL}$"):
            verify(signed, keys / "ours.pub")
