"""The end of a process with writes under way: what was acknowledged is there, all are told."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.invariants import check_invariants
from tests.support.processes import command, environment
from veritas_peewee import AuditEvent, connect

CALLS = 5000
WITHIN = 10.0
"""Seconds after a signal within which a process has ended."""


def start(path: Path, backend: str, way: str) -> subprocess.Popen[bytes]:
    words = ("stop_while_writing.py", path, backend, way)
    process = subprocess.Popen(
        command(*words, warnings="always::ResourceWarning"),
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,  # what is read of a line is that line, and no more
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != b"ready\n":
        process.kill()
        raise AssertionError(process.communicate())
    return process


def ended(process: subprocess.Popen[bytes]) -> tuple[set[int], int, str]:
    """The ids that were acknowledged, how many callers were told, and the standard error."""
    try:
        out, err = (stream.decode() for stream in process.communicate(timeout=WITHIN))
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(process.communicate()) from None
    words = [line.split() for line in out.splitlines()]
    ids = {int(number) for kind, number in words if kind == "id"}
    (told,) = [int(number) for kind, number in words if kind == "told"]
    return ids, told, err


def stored(path: Path) -> set[int]:
    assert not Path(f"{path}-wal").exists()  # it was closed, not left
    with connect(path):
        check_invariants()
        return {event.id for event in AuditEvent.select(AuditEvent.id)}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_server_that_is_told_to_stop_answers_every_caller(
    tmp_path: Path, backend: str, number: signal.Signals
) -> None:
    path = tmp_path / "audits.db"
    process = start(path, backend, "handler")
    process.send_signal(number)
    ids, told, err = ended(process)
    assert (process.returncode, err) == (0, "")
    assert told == CALLS
    # Those that had a slot in the queue are finished, the others refused.
    assert CALLS // 2 - 1 <= len(ids) < CALLS
    assert len(stored(path)) == 100 + len(ids)
    assert ids <= stored(path)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ctrl_c_cancels_callers_and_keeps_what_was_acknowledged(
    tmp_path: Path, backend: str
) -> None:
    path = tmp_path / "audits.db"
    process = start(path, backend, "plain")
    process.send_signal(signal.SIGINT)
    ids, told, err = ended(process)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in err
    assert told == CALLS
    assert ids <= stored(path)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_sigterm_without_a_handler_loses_nothing_that_was_acknowledged(
    tmp_path: Path, backend: str
) -> None:
    path = tmp_path / "audits.db"
    process = start(path, backend, "plain")
    process.terminate()
    process.communicate(timeout=WITHIN)
    assert process.returncode == -signal.SIGTERM
    with connect(path):
        check_invariants()
        assert AuditEvent.select().count() == 100


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_script_that_forgets_to_close_ends_and_is_told(tmp_path: Path, backend: str) -> None:
    path = tmp_path / "audits.db"
    process = start(path, backend, "forget")
    _, _, err = ended(process)
    assert process.returncode == 0
    assert "ResourceWarning" in err
    assert "audits.db: the store was not closed" in err
    assert len(stored(path)) == 1
