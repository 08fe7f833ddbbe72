import json

import pytest

from quanary.api.v1alpha1 import Signoff, Verdict
from quanary.wire.report import (
    HANDOVER_LIMIT_BYTES,
    TEXT_LIMIT,
    ArtifactFigures,
    FrontEntry,
    Handover,
    ModelIdentity,
    Opening,
    Refusal,
    RefusedError,
    clip,
)

SIGNOFF = Signoff.model_validate(
    {
        "metric": "accuracy",
        "float": 0.9411764705882353,
        "int8": 0.9401709401709402,
        "drop": 0.0010055304172951233,
        "dropUpperBound": 0.004123456789012345,
        "samples": 100_000_000,
        "disagreement": 0.0010055304172951233,
        "disagreementUpperBound": 0.004123456789012345,
    }
)


def largest() -> Handover:
    """Every field as long as it can be."""
    figures = ArtifactFigures(
        file="model-int8.onnx", sha256="a" * 64, size_ratio=0.26632586716278883, latency_ratio=1.6012345678901234
    )
    return Handover(
        inputs="b" * 64,
        verdict=Verdict.NOT_CERTIFIABLE,
        because="x" * TEXT_LIMIT,
        artifact=figures,
        uri="oci://" + "y" * (TEXT_LIMIT - 6),
        report_sha256="c" * 64,
        signoff=SIGNOFF,
        model=ModelIdentity(sha256="d" * 64),
        cpu_features=("amx_int8", "avx2", "avx512_vnni", "avx512f", "avx_vnni"),
        tools=dict.fromkeys(("numpy", "onnx", "onnxruntime", "python", "quanary", "scipy"), "10.20.30.post40"),
        out_of_range_budget=0.023346303501945526,
    )


def with_front(entries: int, because: str = "x" * TEXT_LIMIT) -> Handover:
    """A front, an opening of the seal over all of it, and a metric of one's own: as long as they can be."""
    entry = FrontEntry(
        sha256="e" * 64,
        uri="oci://" + "y" * (TEXT_LIMIT - 6),
        role="smallest",
        size_ratio=0.26632586716278883,
        drop_upper_bound=0.004123456789012345,
    )
    opening = Opening(data="f" * 64, number=100, artifacts=("e" * 64,) * (entries + 1))
    changed = {"front": (entry,) * entries, "opening": opening, "because": because}
    signoff = SIGNOFF.model_copy(update={"metric": "m" * 64})
    return largest().model_copy(update={**changed, "signoff": signoff})


def test_the_largest_handover_fits_and_reads_back() -> None:
    message = largest().to_message()
    assert len(message.encode()) <= HANDOVER_LIMIT_BYTES
    assert Handover.model_validate_json(message) == largest()


@pytest.mark.parametrize("because", ["x" * TEXT_LIMIT, "\U0001f600" * TEXT_LIMIT, '\x00"' * (TEXT_LIMIT // 2)])
def test_a_front_of_three_and_an_opening_fit_whatever_the_sentence(because: str) -> None:
    whole = with_front(3, because)
    message = whole.to_message()
    assert len(message.encode()) <= HANDOVER_LIMIT_BYTES
    read = Handover.model_validate_json(message)
    assert (read.opening, read.artifact, read.uri, read.signoff) == (
        whole.opening,
        whole.artifact,
        whole.uri,
        whole.signoff,
    )
    assert [each.sha256 for each in read.front] == ["e" * 64] * 3
    assert read.because.rstrip("…") == because[: len(read.because.rstrip("…"))]


def test_what_fits_is_handed_over_whole() -> None:
    short = with_front(1, because="fine").model_copy(update={"uri": "oci://registry.example/a@sha256:" + "0" * 64})
    assert Handover.model_validate_json(short.to_message()) == short


def test_a_handover_over_the_limit_is_no_message() -> None:
    with pytest.raises(ValueError, match=f"at most {HANDOVER_LIMIT_BYTES} fit"):
        largest().model_copy(update={"tools": {f"tool{index}": "1" * 100 for index in range(20)}}).to_message()


def test_a_refusal_of_any_length_fits_and_names_its_field() -> None:
    error = RefusedError("spec.validation.data.uri", "é" * 5000, "z" * 5000)
    message = Handover(inputs="b" * 64, refusal=error.refusal).to_message()
    assert Handover.model_validate_json(message).refusal == error.refusal
    assert error.refusal.found.endswith("…")


def test_a_refusal_shows_foreign_text_to_no_terminal_as_it_is() -> None:
    error = RefusedError("spec.model.uri", "a node \x1b[2J\x07\u202e of\ntwo lines", "another\x00")
    assert str(error).isprintable()
    assert (
        error.refusal.found == "a node \N{REPLACEMENT CHARACTER}[2J" + "\N{REPLACEMENT CHARACTER}" * 2 + " of two lines"
    )


def test_a_refusal_alone_is_json_under_one_key() -> None:
    refusal = Refusal(field="spec.model.sha256", found="a", allowed="b")
    assert json.loads(refusal.to_message()) == {"refusal": {"field": "spec.model.sha256", "found": "a", "allowed": "b"}}
    assert refusal.sentence == "spec.model.sha256: found a; allowed: b"


@pytest.mark.parametrize("length", [TEXT_LIMIT, TEXT_LIMIT + 1])
def test_clipping_keeps_the_limit(length: int) -> None:
    assert len(clip("x" * length)) == TEXT_LIMIT


def test_a_refusal_in_any_script_fits_the_handover() -> None:
    refusal = RefusedError("spec.model.uri", "模" * 5000, "型" * 5000).refusal
    read = Handover.model_validate_json(Handover(inputs="i" * 64, refusal=refusal).to_message())
    assert read.refusal is not None
    assert read.refusal.field == "spec.model.uri"
    assert read.refusal.found.startswith("模")
