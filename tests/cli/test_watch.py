"""`watch`: the events of a file that other processes write, in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.command_line import PROGRAM, shown_on
from tests.support.posix_modules import pty
from tests.support.processes import command, environment, start
from veritas_peewee import connect, sync
from veritas_peewee.evidence import keys
from veritas_peewee.queries import lookups
from veritas_peewee.recording import operations, recorder, removal

ENV = environment(TERM="xterm-256color")
WATCH = (*PROGRAM, "watch")
TIMEOUT = 30


@contextmanager
def started(*command: object, **options) -> Iterator[subprocess.Popen[str]]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    words = [str(word) for word in command]
    with subprocess.Popen(words, text=True, **{**pipes, "env": ENV, **options}) as process:
        try:
            yield process
        finally:
            process.kill()


def watched(path, *args):
    words = [*WATCH, "--database", str(path), *map(str, args)]
    return subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, env=ENV)


def test_it_shows_what_another_process_records_until_the_audit_ends(path):
    with connect(path):
        audit = operations.create("https://example.com")
        first = recorder.record(audit.id, {"type": "log_entry", "message": "first"})
    writer = command("record_events.py", path, audit.id)
    with (
        started(*WATCH, audit.id, "--database", path, "--json") as watch,
        started(*writer) as record,
    ):
        assert json.loads(watch.stdout.readline())["id"] == first
        for number in range(3):  # each line is there before the next event is recorded
            record.stdin.write(f"näh {number}\n")
            record.stdin.flush()
            event_id = int(record.stdout.readline())
            event = json.loads(watch.stdout.readline())
            assert event == event | {"id": event_id, "audit_id": audit.id}
            assert event["data"]["message"] == f"näh {number}"
        record.stdin.close()
        assert json.loads(watch.stdout.readline())["event_type"] == "audit_complete"
        assert watch.stdout.read() == watch.stderr.read() == ""
        assert watch.wait(TIMEOUT) == 0
    told = watched(path, audit.id, "--after", first)
    assert told.returncode == 0
    assert [line.split()[2] for line in told.stdout.splitlines()[:-1]] == [
        *["log_entry"] * 3,
        "audit_complete",
    ]
    assert told.stdout.splitlines()[-1] == "completed  https://example.com"


def test_without_an_id_it_shows_every_new_event_until_it_is_interrupted(path):
    with connect(path):
        one, two = (
            operations.create("https://one.example"),
            operations.create("https://two.example"),
        )
        ids = [recorder.record(audit.id, {"type": "log_entry"}) for audit in (one, two)]
    with started(*WATCH, "--after", ids[0], "--database", path) as watch:
        assert two.id in watch.stdout.readline()
        with connect(path):
            recorder.record(one.id, {"type": "log_entry", "message": "\x1b[2Jhidden"})
        line = watch.stdout.readline()
        assert one.id in line
        assert line.endswith("hidden\n")
        assert "\x1b" not in line
        watch.send_signal(signal.SIGINT)
        assert watch.wait(TIMEOUT) == 130
        assert watch.stderr.read() == ""


def test_on_a_terminal_it_tells_how_far_the_audit_is(path):
    with connect(path):
        audit = operations.create("https://example.com")
        recorder.record(audit.id, {"type": "phase_start", "phase": "scout", "pct": 37})
        recorder.record(audit.id, {"type": "log_entry", "message": "long " * 60, "pct": "no"})
        recorder.record(audit.id, {"type": "audit_complete"})
    outer, inner = pty.openpty()
    words = (*WATCH, audit.id, "--database", path)
    with started(*words, stdin=inner, stdout=inner, stderr=inner) as watch:
        os.close(inner)
        seen = shown_on(outer)
        assert watch.wait(TIMEOUT) == 0
    assert b"37%" in seen
    assert b"scout" in seen
    assert "…".encode() in seen  # one line each


def test_of_an_audit_s_rows_it_says_only_that_they_are_stated(path, tmp_path):
    keys.make_key(tmp_path / "key", "audits.example.org/store")
    with connect(path):
        audit = operations.create("https://example.com")
        first = recorder.record(audit.id, {"type": "log_entry", "message": "audit_sealed"})
        recorder.record(audit.id, {"type": "audit_complete"})
        sync.head(key=tmp_path / "key")
    lines = watched(path, audit.id, "--after", first).stdout.splitlines()
    assert lines[1].split()[2:] == ["audit_sealed", "rows", "stated"]


def test_it_changes_nothing_and_needs_no_right_to(path, tmp_path):
    with connect(path):
        audit = operations.create("https://example.com")
        recorder.record(audit.id, {"type": "audit_complete"})
    before = path.read_bytes()
    path.chmod(0o400)
    assert watched(path, audit.id).returncode == 0
    assert path.read_bytes() == before


def test_what_cannot_be_watched_is_one_clear_line(path):
    told = watched(path, "none")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == f"veritas-peewee: {path}: there is no such database\n"
    with connect(path):
        audit = operations.create("https://example.com")
    told = watched(path, "none")
    assert told.returncode == 1
    assert told.stderr == "veritas-peewee: there is no audit 'none'\n"
    for args in ((audit.id, "--after", 7), ("--after", 7), (audit.id, "--after", -1)):
        told = watched(path, *args)
        assert told.returncode == 2
        assert told.stderr.count("\n") == 1
        assert "--after" in told.stderr


@pytest.mark.parametrize("as_json", [False, True], ids=["for people", "json"])
def test_the_end_of_an_audit_whose_process_was_killed_is_said(path, as_json):
    with connect(path):
        operations.create("https://example.com", id="one")
    narrow = {**ENV, "COLUMNS": "40"}  # how it ended is never cut
    with (
        start("run_one.py", path) as runner,
        started(*WATCH, "one", "--database", path, *["--json"] * as_json, env=narrow) as watch,
    ):
        # Only from its first phase on an audit has a process that runs it.
        runner.stdin.write('{"type": "phase_start", "phase": "scout"}\n')
        runner.stdin.flush()
        assert "phase_start" in watch.stdout.readline()
        runner.kill()
        runner.wait()
        out, err = watch.communicate(timeout=TIMEOUT)
        assert watch.returncode == 0
    why = "the process that was running it has ended without saying so"
    if as_json:
        assert (out, err) == ("", f"veritas-peewee: one: disconnected: {why}\n")
    else:
        assert (out, err) == (f"disconnected  https://example.com  ({why})\n", "")
    with connect(path, read_only=True):
        assert lookups.get("one").status == "running"  # nothing was written
    with connect(path):
        pass
    told = watched(path, "one")  # it is recorded now, and so an end like any other
    assert told.stdout.splitlines()[-1] == "disconnected  https://example.com"


def test_an_audit_that_is_deleted_ends_it_with_an_error(path):
    with connect(path):
        audit = operations.create("https://example.com")
        recorder.record(audit.id, {"type": "log_entry"})
    with started(*WATCH, audit.id, "--database", path) as watch:
        assert "log_entry" in watch.stdout.readline()
        with connect(path):
            removal.delete(audit.id)
        assert watch.wait(TIMEOUT) == 1
        assert watch.stderr.read() == f"veritas-peewee: there is no audit '{audit.id}'\n"


@pytest.mark.parametrize("how", ["removed", "replaced by another one"])
def test_a_file_that_is_no_longer_there_ends_it_with_an_error(path, tmp_path, how):
    with connect(path):
        audit = operations.create("https://example.com")
        recorder.record(audit.id, {"type": "log_entry"})
    with started(*WATCH, audit.id, "--database", path) as watch:
        assert "log_entry" in watch.stdout.readline()
        if how == "removed":
            path.unlink()
        else:
            with connect(tmp_path / "other.db"):
                pass
            (tmp_path / "other.db").rename(path)
        assert watch.wait(TIMEOUT) == 1
        assert watch.stderr.read() == (
            f"veritas-peewee: {path}: the file was {how} while it was open\n"
        )
