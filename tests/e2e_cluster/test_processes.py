"""A pid file is believed only while the very process that it was written for lives."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from e2e.cluster import processes
from e2e.cluster.command import CommandError
from e2e.cluster.processes import Daemon, identity


def sleeper(folder: Path) -> Daemon:
    return Daemon("sleeper", ("sleep", "60"), folder)


def test_started_once_and_stopped(tmp_path: Path) -> None:
    daemon = sleeper(tmp_path)
    daemon.start()
    first = daemon.pid()
    daemon.start()
    assert first is not None
    assert daemon.pid() == first
    daemon.stop()
    assert daemon.pid() is None
    assert identity(first) is None
    assert not daemon.pid_file.exists()


def test_pid_of_another_process_is_stale_and_left_alone(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        daemon = sleeper(tmp_path)
        daemon.pid_file.parent.mkdir(parents=True)
        daemon.pid_file.write_text(f"{bystander.pid} {identity(os.getpid())}\n")
        assert daemon.pid() is None
        daemon.stop()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_same_start_time_of_another_boot_is_stale(tmp_path: Path) -> None:
    daemon = sleeper(tmp_path)
    daemon.start()
    try:
        pid, started = daemon.pid_file.read_text().split()
        daemon.pid_file.write_text(f"{pid} {'0' * 36}/{started.split('/')[1]}\n")
        assert daemon.pid() is None
    finally:
        daemon.pid_file.write_text(f"{pid} {started}\n")
        daemon.stop()


def test_an_ended_child_counts_as_dead_before_it_is_reaped() -> None:
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 5
    while identity(child.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert identity(child.pid) is None
    assert Path(f"/proc/{child.pid}").exists()
    child.wait()


def test_kill_spares_a_process_with_another_identity() -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        processes.kill(bystander.pid, "another boot/1", grace_seconds=0)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_waiting_for_a_process_that_ends_fails_at_once_with_its_log(tmp_path: Path) -> None:
    daemon = Daemon("broken", ("sh", "-c", "echo no such flag >&2; exit 1"), tmp_path)
    daemon.start()
    with pytest.raises(CommandError, match="the process ended") as failure:
        daemon.wait(lambda: False, seconds=30)
    assert "no such flag" in failure.value.report()
    assert str(daemon.log) in failure.value.report()
