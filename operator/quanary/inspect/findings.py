"""Whether files are what their report, their statement and their signature say."""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from quanary.artifacts.signing import BadSignatureError, signature_of, verify
from quanary.artifacts.verify import digest_of
from quanary.inspect.target import Target
from quanary.wire.report import REPORT_FILE, STATEMENT_FILE, ArtifactFigures, FrontFigures, Report, SealedSignoff
from quanary.wire.statement import statement_of


class SignatureState(StrEnum):
    """What is known of a signature."""

    UNSIGNED = "unsigned"
    UNVERIFIED = "signed, not verified: --key names the key it must verify with"
    VERIFIED = "verified"
    FAILED = "failed"


@dataclass(frozen=True)
class ModelFile:
    """A model file that the report tells of. `found` is empty if it is not here."""

    figures: ArtifactFigures
    found: str
    signature: SignatureState
    detail: str = ""

    @property
    def is_as_reported(self) -> bool:
        """Nothing is wrong with what is not here."""
        return self.found in {"", self.figures.sha256}


@dataclass(frozen=True)
class Subject:
    """The artifact that is told of: the chosen one, or another of the front."""

    figures: ArtifactFigures
    recipe: str
    signoff: SealedSignoff | None
    role: str = ""


@dataclass(frozen=True)
class Findings:
    """All that was looked at. `problems` is empty if everything is as it should be."""

    report: Report
    subject: Subject
    models: tuple[ModelFile, ...]
    statement: str  # agrees, differs or absent
    problems: tuple[str, ...]


def examine(target: Target, key: Path | None) -> Findings:
    """Hash the model files, compare the statement, and verify signatures with `key`.

    Raises:
        RefusedError: on `--key`, for a key that cannot verify.
    """
    subject, problems = _subject(target)
    models = tuple(_look_at(target, each, key) for each in _told_of(target, subject))
    statement = _compare_statement(target)
    problems += [line for each in models for line in _wrong(each, key)]
    if statement == "differs":
        problems.append(f"{STATEMENT_FILE} does not follow from {REPORT_FILE}")
    if key and not any(each.found for each in models):
        problems.append("no model file here to verify the signature of")
    return Findings(target.report, subject, models, statement, tuple(problems))


def _subject(target: Target) -> tuple[Subject, list[str]]:
    report = target.report
    chosen = Subject(report.artifact, report.recipe, report.signoff)
    if not target.model:
        return chosen, []
    digest = digest_of(target.folder / target.model)
    if digest == report.artifact.sha256:
        return chosen, []
    for each in report.front:
        if each.artifact.sha256 == digest:
            return _of_front(each), []
    return chosen, [f"{target.model} has sha256 {digest}, which the report does not tell of"]


def _of_front(entry: FrontFigures) -> Subject:
    return Subject(entry.artifact, entry.recipe, entry.signoff, entry.role)


def _told_of(target: Target, subject: Subject) -> list[ArtifactFigures]:
    """The one that was meant, or all of them, each once."""
    if target.model:
        return [subject.figures.model_copy(update={"file": target.model})]
    figures = (target.report.artifact, *(each.artifact for each in target.report.front))
    return list({each.sha256: each for each in figures}.values())


def _look_at(target: Target, figures: ArtifactFigures, key: Path | None) -> ModelFile:
    path = target.folder / figures.file
    # A report may name any path; only a file beside or below it is its artifact.
    if not path.resolve().is_relative_to(target.folder.resolve()) or not path.is_file():
        return ModelFile(figures, "", SignatureState.UNSIGNED)
    state, detail = _signature(path, key)
    return ModelFile(figures, digest_of(path), state, detail)


def _signature(model: Path, key: Path | None) -> tuple[SignatureState, str]:
    if not signature_of(model).is_file():
        return SignatureState.UNSIGNED, ""
    if key is None:
        return SignatureState.UNVERIFIED, ""
    try:
        verify(model, key)
    except BadSignatureError as error:
        return SignatureState.FAILED, str(error)
    return SignatureState.VERIFIED, ""


def _wrong(model: ModelFile, key: Path | None) -> list[str]:
    lines = []
    if not model.is_as_reported:
        lines.append(f"{model.figures.file} has sha256 {model.found}; its report says {model.figures.sha256}")
    if model.signature == SignatureState.FAILED:
        lines.append(f"the signature of {model.figures.file} does not verify: {model.detail}")
    if key and model.found and model.signature == SignatureState.UNSIGNED:
        lines.append(f"{model.figures.file} is not signed")
    return lines


def _compare_statement(target: Target) -> str:
    path = target.folder / STATEMENT_FILE
    if not path.is_file():
        return "absent"
    try:
        statement = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return "differs"
    return "agrees" if _essence(statement) == _essence(_expected(target)) else "differs"


def _expected(target: Target) -> dict[str, Any]:
    """With the digest of the report as it lies here: another version may have spelled it differently."""
    expected = statement_of(target.report)
    products = expected["predicate"]["runDetails"]["byproducts"]
    products[0]["digest"]["sha256"] = hashlib.sha256(target.content).hexdigest()
    return expected


def _essence(statement: Any) -> Any:
    """Every digest that it binds together, and the verdict."""
    try:
        predicate = statement["predicate"]
        materials = predicate["buildDefinition"]["resolvedDependencies"]
        products = predicate["runDetails"]["byproducts"]
        described = [*statement["subject"], *materials, *products]
        return predicate["verdict"], sorted((each["name"], each["digest"]["sha256"]) for each in described)
    except (KeyError, TypeError, AttributeError):
        return None
