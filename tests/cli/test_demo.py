"""The demo, and what is left of it when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import DEADLINE, process, wait_for
from tests.support.processes import KILLED
from veritas_peewee import Audit, AuditEvent, AuditScreenshot, AuditStatus, connect
from veritas_peewee.cli import demo
from veritas_peewee.cli.app import run
from veritas_peewee.queries import history, lookups
from veritas_peewee.recording import operations, recorder

SAMPLES = 10


@pytest.fixture
def database(tmp_path: Path, project: Path) -> Path:
    return tmp_path / "demo.db"


def acknowledged(file: Path) -> list[tuple[str, int]]:
    if not file.exists():
        return []
    return [
        (audit_id, int(event_id))
        for audit_id, event_id in (line.split() for line in file.read_text().splitlines())
    ]


def check_files(database: Path) -> None:
    """The database is sound, and each screenshot row's file is there."""
    with connect(database, read_only=True) as opened:
        assert opened.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert opened.execute_sql("PRAGMA foreign_key_check").fetchall() == []
        rows = list(AuditScreenshot.select())
        for row in rows:
            file = database.parent / "screenshots" / row.file_path
            assert file.stat().st_size == row.file_size_bytes
        counts = Counter(row.audit_id for row in rows)
        for audit in Audit.select():
            assert audit.screenshots_count == counts[audit.id]


def test_it_runs_again_and_again(
    database: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ack = tmp_path / "ack"
    for again in (1, 2):
        arguments = ["--copies", "3", "--speed", "0", "--ack", str(ack)]
        assert run(["demo", *arguments, "--database", str(database)]) == 0
        shown = capfd.readouterr()
        assert shown.err == ""
        for text in ("all of them read back", "writes per commit", "p99", "writes/s", "Narrative"):
            assert text in shown.out
        lines = shown.out.splitlines()
        assert lines[0] == f"{3 * SAMPLES} audits at once"
        assert all(line.startswith("vrts_") for line in lines[1 : 3 * SAMPLES + 1])
        with connect(database, read_only=True):
            statuses = Counter(audit.status for audit in Audit.select())
            stored = {(row.audit_id, row.id) for row in AuditEvent.select()}
        assert statuses == {AuditStatus.COMPLETED: 24 * again, AuditStatus.ERROR: 6 * again}
        assert set(acknowledged(ack)) == stored
        assert len(acknowledged(ack)) == len(stored)
    check_files(database)


def test_json_from_another_folder(
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--copies", "2", "--speed", "0", "--json", "--database", database.name]
    assert run(["demo", *arguments]) == 0
    told: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert told["database"] == str(database)
    assert len(told["audits"]) == 2 * SAMPLES
    assert told["events_read_back"] == told["events_acknowledged"] > 300
    assert told["writer"]["failed"] == 0
    assert 0 < told["writer"]["commits"] <= told["writer"]["writes"]
    assert Path.cwd() == tmp_path
    # The screenshots that the results name were found all the same.
    with connect(database, read_only=True):
        shop = [audit for audit in Audit.select() if audit.url.startswith("https://shop.example")]
    assert Counter(audit.screenshots_count for audit in shop) == {1: 2, 2: 4, 3: 2}


def test_without_samples_it_says_so(
    database: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SAMPLES", Path("no", "samples"))
    assert run(["demo", "--database", str(database)]) == 1
    told = capfd.readouterr().err
    assert told.startswith("veritas-peewee: there are no samples")
    assert told.count("\n") == 1
    assert not database.exists()


def test_an_interrupt_is_quiet(database: Path, tmp_path: Path) -> None:
    ack = tmp_path / "ack"
    with process("demo", "--speed", "20", "--ack", ack, "--database", database) as started:
        wait_for(lambda: len(acknowledged(ack)) >= 50)
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=DEADLINE)
    assert (started.returncode, err) == (130, b"")
    with connect(database):
        statuses = {audit.status for audit in Audit.select()}
        stored = {(row.audit_id, row.id) for row in AuditEvent.select()}
    assert AuditStatus.RUNNING not in statuses
    assert stored >= set(acknowledged(ack))
    check_files(database)


IN_A_TASK = """
import signal
import subprocess
import sys
import anyio
from veritas_peewee.cli.ending import Ending, when_asked
async def interrupt():
    signal.raise_signal(signal.SIGINT)
async def main():
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(interrupt)
        await anyio.sleep_forever()
try:
    with when_asked(Ending()):
        anyio.run(main)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_is_quiet_whichever_task_it_comes_in() -> None:
    done = subprocess.run([sys.executable, "-c", IN_A_TASK], capture_output=True, timeout=DEADLINE)
    assert (done.stdout.strip(), done.stderr) == (b"interrupted", b"")


@pytest.mark.parametrize("moment", [1, 150, 450])
def test_killed_midway_nothing_acknowledged_is_lost(
    database: Path, tmp_path: Path, moment: int
) -> None:
    ack = tmp_path / "ack"
    with connect(database):
        pass
    pipe = ("ingest", "-", "--url", "https://live.example/", "--id", "live", "--json")
    with process(*pipe, "--database", database) as live:
        assert live.stdin is not None
        live.stdin.write(b'{"type": "phase_start", "phase": "scout", "message": "", "pct": 0}\n')
        live.stdin.flush()
        end = time.monotonic() + DEADLINE
        while not running(database):
            assert time.monotonic() < end
            time.sleep(0.01)
        with process("demo", "--speed", "60", "--ack", ack, "--database", database) as started:
            wait_for(lambda: len(acknowledged(ack)) >= moment)
            os.kill(started.pid, 9)
            assert started.wait(DEADLINE) == KILLED
        promised = set(acknowledged(ack))
        assert len(promised) >= moment

        check_files(database)
        with connect(database, read_only=True):
            assert promised <= {(row.audit_id, row.id) for row in AuditEvent.select()}
        orphans = running(database) - {"live"}
        with connect(database):
            for audit_id in orphans:
                audit = lookups.get(audit_id)
                assert audit.status == AuditStatus.DISCONNECTED
                assert audit.errors[-1] == "the process that was running this audit has ended"
                assert lookups.events(audit_id)[-1].event_type == "audit_disconnected"
            assert lookups.get("live").status == AuditStatus.RUNNING
            # The store is as good as new.
            audit = operations.create("https://after.example/")
            recorder.record(audit.id, {"type": "audit_complete", "elapsed": 1})
        if moment > 1:
            assert orphans
        out, err = live.communicate(b'{"type": "audit_complete", "elapsed": 5}\n', DEADLINE)
    # Two processes wrote to one file, and with some versions of SQLite that is told.
    told = [line for line in err.splitlines() if b"the WAL-reset bug" not in line]
    assert (live.returncode, told) == (0, [])
    assert json.loads(out)[0]["status"] == "completed"
    check_files(database)
    assert not running(database)


def running(database: Path) -> set[str]:
    with connect(database, read_only=True):
        return {audit.id for audit in history.history(status="running", limit=1000).items}
