"""`ingest` of output that cannot be read in full: the exit code and standard error agree."""

from __future__ import annotations

import importlib
import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import PROGRAM, run_here
from tests.support.processes import environment
from veritas_peewee import connect, sync
from veritas_peewee.testing import make_audit, make_event

URL = "https://shop.example/"
EVENTS = make_audit(URL, screenshots=0)
LINES = [json.dumps(event) for event in EVENTS]
BAD = '{"type": "finding", "finding": {"id": "f9", "severity": "critical",}}'


def stored(database: Path) -> Any:
    with connect(database):
        return sync.get(sync.history(limit=1).items[0].id)


def piped(data: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "ingest", "-", *map(str, args)],
        input=data, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_line_that_cannot_be_read_is_told_and_the_rest_is_stored(tmp_path, capsys) -> None:
    file, database = tmp_path / "a.jsonl", tmp_path / "audits.db"
    file.write_text("\n".join([LINES[0], BAD, *LINES[1:]]))
    done = run_here(capsys, "ingest", file, "--database", database)
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert f"{file}: line 2: JSON that cannot be read" in done.err
    assert "a.jsonl" in done.out
    audit = stored(database)
    assert (audit.status, len(audit.findings)) == ("completed", 1)
    assert [error for error in audit.errors if error.startswith("line 2: ")]


@pytest.mark.parametrize("args", [[], ["--url", URL]])
def test_the_same_through_a_pipe(tmp_path, args) -> None:
    database = tmp_path / "audits.db"
    done = piped("\n".join([LINES[0], BAD, *LINES[1:], BAD]), *args, "--database", database)
    assert done.returncode == 1
    assert ["line 2" in line or "line 6" in line for line in done.stderr.splitlines()] == [True] * 2
    audit = stored(database)
    assert audit.status == "completed"
    assert sum("JSON that cannot be read" in error for error in audit.errors) == 2


def test_values_of_the_wrong_type_are_noted_with_the_audit_alone(tmp_path, capsys) -> None:
    file, database = tmp_path / "a.json", tmp_path / "audits.db"
    file.write_text(json.dumps([make_event("site_type", confidence="much"), *EVENTS]))
    done = run_here(capsys, "ingest", file, "--database", database)
    assert (done.code, done.err) == (0, "")
    assert len(stored(database).errors) == 1


@pytest.mark.parametrize("text", ["", "\n\n", "engine: command not found\n", '{"level": "info"}\n'])
def test_a_pipe_that_brought_nothing_is_an_error(tmp_path, text) -> None:
    database = tmp_path / "audits.db"
    done = piped(text, "--url", URL, "--database", database)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no event, progress line or result came through the pipe" in done.stderr
    assert ("its last line was" in done.stderr) == bool(text.strip())
    audit = stored(database)
    assert audit.status == "disconnected"
    assert audit.errors[-1] in done.stderr


def test_bytes_that_are_no_text_are_noted_once_however_many_there_are(tmp_path) -> None:
    """A pipe of them has no more notes than a file."""
    database = tmp_path / "audits.db"
    told = b'{"type": "log_entry", "message": "caf\xe9"}\ncaf\xe9\n' * 100
    done = subprocess.run(
        [*PROGRAM, "ingest", "-", "--url", URL, "--database", str(database)],
        input=told + BAD.encode(), env=environment(), capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    errors = stored(database).errors
    assert sum("U+FFFD" in error for error in errors) == 1
    assert any(error.startswith("line 201: JSON that cannot be read") for error in errors)


@pytest.mark.parametrize("name", ["gzip", "bz2", "lzma", "zip"])
def test_a_packed_file_is_told_to_be_unpacked_first(tmp_path, capsys, name) -> None:
    file = tmp_path / "a.jsonl.packed"
    data = "\n".join(LINES).encode()
    if name == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("a.jsonl", data)
    else:
        file.write_bytes(importlib.import_module(name).compress(data))
    done = run_here(capsys, "ingest", file, "--database", tmp_path / "audits.db")
    assert (done.code, done.out) == (1, "")
    assert "there is no audit in it" in done.err
    assert "it is packed (" in done.err
    assert "unpack it first" in done.err


def test_an_export_is_told_to_be_one(tmp_path, capsys) -> None:
    database, file = tmp_path / "audits.db", tmp_path / "export.jsonl"
    with connect(database):
        sync.ingest(EVENTS)
        sync.export(file)
    done = run_here(capsys, "ingest", file, "--database", database)
    assert (done.code, done.out) == (1, "")
    assert "it is an export: `veritas-peewee import` takes it" in done.err


def test_a_file_that_is_cut_off_keeps_its_whole_events(tmp_path, capsys) -> None:
    file, database = tmp_path / "a.jsonl", tmp_path / "audits.db"
    file.write_text("\n".join(LINES)[:-20])
    done = run_here(capsys, "ingest", file, "--database", database)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "line 4: the JSON object that begins here is cut off" in done.err
    audit = stored(database)
    assert (audit.trust_score, len(audit.findings)) == (50.0, 1)


@pytest.mark.parametrize("closed", [False, True])
def test_what_is_cut_off_after_a_result_is_noted_with_the_audit_too(tmp_path, closed) -> None:
    database = tmp_path / "audits.db"
    result = {"type": "audit_result", "result": {"url": URL, "status": "completed"}}
    lines = [json.dumps(result), *(['{"type": "audit_complete"}'] if closed else []), '{"t']
    told = piped("\n".join(lines), "--url", URL, "--database", database)
    assert told.returncode == 1
    note = told.stderr.strip().rpartition("-: ")[2]
    assert "cut off" in note
    assert (stored(database).status, stored(database).errors) == ("completed", [note])
