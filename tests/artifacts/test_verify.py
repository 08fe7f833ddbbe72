import hashlib
from pathlib import Path

import pytest

from quanary.artifacts.verify import Wanted, digest_of, write_verified
from quanary.wire.report import RefusedError

CONTENT = bytes(range(256)) * 64
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def write(chunks: list[bytes], to: Path, sha256: str = DIGEST, limit: int = 1 << 20) -> str:
    return write_verified(chunks, to, Wanted("oci://registry.example/m", sha256, "spec.model"), limit)


def test_a_right_file_appears_readable_with_its_digest(tmp_path: Path) -> None:
    to = tmp_path / "deep" / "model.onnx"
    assert write([CONTENT[:100], CONTENT[100:]], to) == DIGEST
    assert to.read_bytes() == CONTENT
    assert digest_of(to) == DIGEST
    assert to.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("position", [0, 5000, len(CONTENT) - 1])
def test_one_flipped_byte_leaves_nothing_behind(tmp_path: Path, position: int) -> None:
    flipped = bytearray(CONTENT)
    flipped[position] ^= 1
    with pytest.raises(RefusedError) as caught:
        write([bytes(flipped)], tmp_path / "model.onnx")
    assert caught.value.refusal.field == "spec.model.sha256"
    assert hashlib.sha256(flipped).hexdigest() in caught.value.refusal.found
    assert DIGEST in caught.value.refusal.allowed
    assert list(tmp_path.iterdir()) == []


def test_a_bad_file_does_not_replace_a_good_one(tmp_path: Path) -> None:
    to = tmp_path / "model.onnx"
    write([CONTENT], to)
    with pytest.raises(RefusedError):
        write([b"other"], to)
    assert to.read_bytes() == CONTENT


def test_a_file_over_the_limit_is_refused_before_it_is_whole(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="more than 1000 bytes"):
        write([CONTENT], tmp_path / "model.onnx", limit=1000)
    assert list(tmp_path.iterdir()) == []
