"""What a run leaves behind: everything is made beside the results and moved into place whole, the report last."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quanary.api.v1alpha1 import Verdict
from quanary.artifacts.verify import digest_of
from quanary.quantizer.assemble import FRONT_PREFIX, file_of
from quanary.quantizer.judging import Judged
from quanary.quantizer.progress import Progress
from quanary.wire.launch import QuantizeArguments
from quanary.wire.report import PAGE_FILE, REPORT_FILE, SIGNATURE_SUFFIX, STATEMENT_FILE, Report
from quanary.wire.statement import statement_text

REPOSITORY: Final = "spec.artifacts.repository"
# Only what is certified is worth pulling: everything else is named by its digest alone.
_UNCERTIFIED: Final = frozenset({Verdict.OVER_BUDGET, Verdict.NOT_CERTIFIABLE})


@dataclass(frozen=True)
class Outcome:
    """A judged artifact; `uris` is empty if nothing was published."""

    report: Report
    report_sha256: str
    uris: dict[str, str]

    @property
    def uri(self) -> str:
        """Of the chosen artifact."""
        return self.uris.get(self.report.artifact.sha256, "")


def is_published(arguments: QuantizeArguments, judged: Judged) -> bool:
    """Whether anything will be pushed."""
    return bool(arguments.publish) and judged.verdict not in _UNCERTIFIED


def planned_uris(arguments: QuantizeArguments, judged: Judged) -> dict[str, str]:
    """By digest, for the report, that is written before the pinned URIs are known."""
    if not is_published(arguments, judged):
        return {}
    from quanary.artifacts.publish import tagged_uri  # noqa: PLC0415 - see _publish

    return {each.sha256: tagged_uri(arguments.publish, each.sha256) for each in judged.certified}


def write(arguments: QuantizeArguments, judged: Judged, report: Report, work: Path, progress: Progress) -> Outcome:
    """Files, signatures, and the registry.

    Raises:
        RefusedError: the key or the repository is not fit.
        UnreachableError: the registry did not answer as it should.
    """
    out = Path(arguments.out)
    progress.step(f"write {out / REPORT_FILE}, {PAGE_FILE}, {report.artifact.file}")
    files = _stage(judged, report, work / "out")
    if arguments.sign_key:
        from quanary.artifacts.signing import sign  # noqa: PLC0415 - few sign, and it takes long to import

        models = [each for each in files if each.suffix == ".onnx"]
        files = [*(sign(each, Path(arguments.sign_key)) for each in models), *files]
    _move(files, out)
    uris = _publish(arguments, judged, report, progress)
    return Outcome(report, digest_of(out / REPORT_FILE), uris)


def _stage(judged: Judged, report: Report, folder: Path) -> list[Path]:
    """All files in their places within `folder`, the report last."""
    from quanary.quantizer.report import write_html  # noqa: PLC0415 - templates, of no use before the end

    folder.mkdir()
    files = []
    for each in judged.certified or (judged.chosen,):
        path = folder / file_of(each, judged.chosen)
        shutil.copyfile(each.model.path, path)
        files.append(path)
    statement, page, described = folder / STATEMENT_FILE, folder / PAGE_FILE, folder / REPORT_FILE
    write_html(report, page)
    described.write_text(report.to_json())
    statement.write_text(statement_text(report))
    return [*files, page, statement, described]


def _move(files: list[Path], out: Path) -> None:
    """Every move is one rename on one file system; who finds a report finds all that it names."""
    # First of all: an earlier report names files that go now.
    (out / REPORT_FILE).unlink(missing_ok=True)
    for old in (*out.glob(f"{FRONT_PREFIX}*"), *out.glob(f"*{SIGNATURE_SUFFIX}")):
        old.unlink()
    for each in files:
        each.replace(out / each.name)


def _publish(arguments: QuantizeArguments, judged: Judged, report: Report, progress: Progress) -> dict[str, str]:
    if not arguments.publish:
        return {}
    if not is_published(arguments, judged):
        progress.step(f"not published: {report.verdict}")
        return {}
    from quanary.artifacts.publish import publications_of, publish  # noqa: PLC0415 - takes long to import

    progress.step(f"publish to {arguments.publish}")
    publications = publications_of(report, Path(arguments.out))
    hosts = frozenset(arguments.insecure_host)
    pinned = publish(publications, arguments.publish, field=REPOSITORY, insecure_hosts=hosts)
    return {each.sha256: uri for each, uri in zip(publications, pinned, strict=True)}
