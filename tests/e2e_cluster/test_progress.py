"""Steps show where they are; a failing one says which log to read and its last lines."""

import io
from pathlib import Path

import pytest

from e2e.cluster.command import CommandError, output, run
from e2e.cluster.progress import Steps


def test_step_shows_its_number_title_and_time() -> None:
    out = io.StringIO()
    steps = Steps(14, out)
    with steps.step("etcd"):
        pass
    with steps.step("kube-apiserver"):
        pass
    first, second = out.getvalue().splitlines()
    assert first.startswith("[ 1/14] etcd … ")
    assert second.startswith("[ 2/14] kube-apiserver … ")
    assert second.endswith(" s")


def test_failing_step_says_so_and_passes_the_failure_on() -> None:
    out = io.StringIO()
    with pytest.raises(CommandError), Steps(3, out).step("etcd"):
        raise CommandError("no")
    assert out.getvalue().startswith("[ 1/3] etcd … failed after ")


def test_failure_shows_the_last_lines_of_its_log_only(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    with pytest.raises(CommandError) as failure:
        run(["sh", "-c", "seq 1000 1100; exit 3"], log)
    report = failure.value.report()
    assert "ended with status 3" in report
    assert f"log: {log}" in report
    assert "1100" in report
    assert "1050" not in report


def test_failure_of_a_command_without_a_log_holds_its_error_output() -> None:
    with pytest.raises(CommandError, match="no route"):
        output(["sh", "-c", "echo no route >&2; exit 1"])


def test_a_missing_program_is_named() -> None:
    with pytest.raises(CommandError, match="`no-such-program` is not installed"):
        output(["no-such-program", "--now"])
