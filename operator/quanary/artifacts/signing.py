"""Sign an artifact's files with a key, and verify them: OpenSSF model signing, offline.

The signature is a sigstore bundle with the sha256 of each file. Its own command line verifies it as well:

    model_signing verify key FOLDER --signature FOLDER/MODEL.sig --public_key PUB.pem --ignore_unsigned_files
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from typing_extensions import override

from quanary.wire.report import PAGE_FILE, REPORT_FILE, SIGNATURE_SUFFIX, STATEMENT_FILE, RefusedError

CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
SIGN_KEY, VERIFY_KEY = "--sign-key", "--key"

_ALLOWED: Final = f"a PEM {{}} key of an elliptic curve ({', '.join(CURVES)}){{}}"
# As the library words it, in a list in Python's spelling, whose quotes may be escaped.
_CHANGED: Final = re.compile(r"Hash mismatch for \\*'([^'\\]+)\\*'")
_SIGNATURE_LIMIT_BYTES: Final = 1 << 20


class BadSignatureError(Exception):
    """The files are not what was signed, or not with this key."""


def signature_of(model: Path) -> Path:
    """Where the signature of a model file and of what lies beside it is kept."""
    return model.with_name(model.name + SIGNATURE_SUFFIX)


def signed_files(model: Path) -> tuple[str, ...]:
    """Names of what a signature of `model` must cover, as far as it is there: nothing of it may be exchanged."""
    beside = (name for name in (REPORT_FILE, PAGE_FILE, STATEMENT_FILE) if (model.parent / name).exists())
    return (model.name, *beside)


def check_sign_key(key: Path) -> None:
    """Refuse a key that could not sign, before hours of work end in it.

    Raises:
        RefusedError: on `--sign-key`.
    """
    allowed = _ALLOWED.format("private", ", not encrypted")
    try:
        found = load_pem_private_key(key.read_bytes(), None)
    except OSError as error:
        raise RefusedError(SIGN_KEY, f"{key}: {error.strerror}", allowed) from error
    except TypeError as error:
        raise RefusedError(SIGN_KEY, f"{key}, an encrypted key", allowed) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RefusedError(SIGN_KEY, f"{key}, no private key in PEM", allowed) from error
    if not isinstance(found, EllipticCurvePrivateKey) or found.curve.name not in CURVES:
        raise RefusedError(SIGN_KEY, f"{key}, {_kind(found)}", allowed)


def check_verify_key(key: Path) -> None:
    """Refuse a key that cannot verify.

    Raises:
        RefusedError: on `--key`.
    """
    allowed = _ALLOWED.format("public", "")
    try:
        found = load_pem_public_key(key.read_bytes())
    except OSError as error:
        raise RefusedError(VERIFY_KEY, f"{key}: {error.strerror}", allowed) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RefusedError(VERIFY_KEY, f"{key}, no public key in PEM", allowed) from error
    if not isinstance(found, EllipticCurvePublicKey) or found.curve.name not in CURVES:
        raise RefusedError(VERIFY_KEY, f"{key}, {_kind(found)}", allowed)


def _kind(key: Any) -> str:
    curve = getattr(getattr(key, "curve", None), "name", "")
    return f"a key of curve {curve}" if curve else f"an {type(key).__name__}"


def sign(model: Path, key: Path) -> Path:
    """Sign the model file with the report, page and statement beside it. Returns the signature's path.

    Raises:
        RefusedError: on `--sign-key`, see `check_sign_key`.
        FileNotFoundError: its report does not lie beside it: alone it would be signed for nobody.
    """
    # Seconds to import, and most runs sign nothing.
    from model_signing import hashing, signing  # noqa: PLC0415

    check_sign_key(key)
    if not (model.parent / REPORT_FILE).is_file():
        message = f"no {REPORT_FILE} beside {model}"
        raise FileNotFoundError(message)

    class _Only(hashing.Config):  # type: ignore[misc]
        """The named files of a folder; what else lies there is nobody's business."""

        @override
        def hash(self, model_path: Any, *, files_to_hash: Iterable[Any] | None = None) -> Any:
            return super().hash(model_path, files_to_hash=[model.parent / name for name in signed_files(model)])

    signature = signature_of(model)
    whole = signature.with_name(f".{signature.name}.partial")
    config = signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(_Only())
    config.sign(model.parent, whole)
    return whole.replace(signature)


def verify(model: Path, key: Path) -> None:
    """Verify the model file, and all that is said of it beside it, against its signature.

    Raises:
        BadSignatureError: a byte of them, or the key, is another; or one of them is not signed.
        RefusedError: on `--key`, see `check_verify_key`.
    """
    from model_signing import verifying  # noqa: PLC0415

    check_verify_key(key)
    signature = signature_of(model)
    if signature.stat().st_size > _SIGNATURE_LIMIT_BYTES:
        message = f"{signature.name} is larger than {_SIGNATURE_LIMIT_BYTES} bytes"
        raise BadSignatureError(message)
    config = verifying.Config().use_elliptic_key_verifier(public_key=key).set_ignore_unsigned_files(True)
    try:
        config.verify(model.parent, signature)
        names = _names_in(signature)
    except InvalidSignature as error:
        raise BadSignatureError("the signature was made with another key, or changed") from error
    # A hostile signature file may break the library anywhere.
    except (ValueError, LookupError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise BadSignatureError(_words(error)) from error
    # Another set signed with the same key verifies too: it must be these files.
    _require_all(signed_files(model), names)


def _names_in(signature: Path) -> frozenset[str]:
    bundle = json.loads(signature.read_bytes())
    payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return frozenset(each["name"] for each in payload["predicate"]["resources"])


def _require_all(wanted: Sequence[str], names: frozenset[str]) -> None:
    if missing := [name for name in wanted if name not in names]:
        message = f"not signed: {', '.join(missing)}"
        raise BadSignatureError(message)


def _words(error: Exception) -> str:
    if isinstance(error, binascii.Error | UnicodeDecodeError | json.JSONDecodeError):
        return "the signature is not readable"
    text = " ".join(str(error).split())
    if changed := _CHANGED.findall(text):
        return f"changed since: {', '.join(changed)}"
    return text[:300] or type(error).__name__
