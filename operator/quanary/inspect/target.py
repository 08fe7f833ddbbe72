"""What a person pointed at: a folder, a report, a model file beside its report, or a published artifact."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quanary.artifacts.locate import OciFile, locate
from quanary.artifacts.pull import pull
from quanary.wire.report import (
    PAGE_FILE,
    REPORT_FILE,
    REPORT_LIMIT_BYTES,
    SIGNATURE_SUFFIX,
    STATEMENT_FILE,
    RefusedError,
    Report,
    clip,
)

FIELD: Final = "ARTIFACT"
ALLOWED: Final = f"a folder with {REPORT_FILE}, {REPORT_FILE} itself, a model file beside it, or oci://host/repository"


@dataclass(frozen=True)
class Target:
    """A report and the folder it lies in; `model` if one model file of it was meant."""

    folder: Path
    report: Report
    content: bytes
    model: str = ""


def open_target(artifact: str, work: Path, insecure_hosts: frozenset[str]) -> Target:
    """Read the report; what is remote is pulled into `work` first.

    Raises:
        RefusedError: it is none of `ALLOWED`, or not what a digest says.
        UnreachableError: its registry did not answer as it should.
    """
    if "://" in artifact:
        location = locate(artifact, field=FIELD, insecure_hosts=insecure_hosts)
        if not isinstance(location, OciFile):
            raise RefusedError(FIELD, repr(artifact), ALLOWED)
        files = pull(location, work, field=FIELD, insecure_hosts=insecure_hosts)
        return _read(work, _model_of([each.name for each in files], artifact))
    path = Path(artifact)
    if path.is_dir():
        return _read(path)
    if not path.is_file():
        raise RefusedError(FIELD, f"no file or folder {clip(artifact)}", ALLOWED)
    return _read(path.parent, name=path.name) if path.suffix == ".json" else _read(path.parent, path.name)


def _model_of(names: list[str], uri: str) -> str:
    about = {REPORT_FILE, PAGE_FILE, STATEMENT_FILE}
    models = [name for name in names if name not in about and not name.endswith(SIGNATURE_SUFFIX)]
    if len(models) != 1:
        raise RefusedError(FIELD, f"layers {', '.join(names)} at {uri}", "an artifact with one model")
    return models[0]


def _read(folder: Path, model: str = "", name: str = REPORT_FILE) -> Target:
    path = folder / name
    if not path.is_file():
        raise RefusedError(FIELD, f"no {name} in {clip(str(folder))}", ALLOWED)
    if path.stat().st_size > REPORT_LIMIT_BYTES:
        raise RefusedError(FIELD, f"{path.stat().st_size} bytes in {name}", f"at most {REPORT_LIMIT_BYTES}")
    content = path.read_bytes()
    try:
        return Target(folder, Report.from_json(content), content, model)
    except ValueError as error:
        # The first line of pydantic's says how many errors, the next two where and what.
        found = re.sub(r"\s+", " ", " ".join(str(error).splitlines()[:3]))
        raise RefusedError(FIELD, f"{name}: {found}", "a report of the quantizer") from error
