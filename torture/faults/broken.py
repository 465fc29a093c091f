"""Output that is broken: what can be read is stored, the rest is named, and nothing hangs."""

from __future__ import annotations

import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from torture import breaking
from torture.breaking import URL, Broken
from torture.command_line import program
from torture.hostile import no_hang
from torture.model import Row, Run, fault
from veritas_peewee import Audit, InvalidAudit, connect, sync
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.recording.forms import NOTES, UNKNOWN_EVENT, with_notes
from veritas_peewee.recording.output import parse

WAYS = ("file", "pipe")
_PLACE = re.compile(r"line \d+|\[\d+\]|\w+\.\w+|^\w+: ")
"""What a note names: a line, an element, or a value by its path."""


@fault("broken", "transcripts and results that are broken", rounds=1000, quick=60)
def run(run: Run) -> Iterator[Row]:
    chance = run.chance
    row = Row("broken", run.rounds)
    path = run.folder / "audits.db"
    with connect(path):
        for number in range(run.rounds):
            one = breaking.broken(number, chance)
            file = run.folder / "output.txt"
            file.write_text(one.text, newline="", encoding="utf-8", errors="surrogatepass")
            begin = perf_counter()
            with no_hang(20):
                _judge(row, f"{number} ({one.form}, {one.way})", one, file, path)
            row.most("slowest, s", perf_counter() - begin)
        for text in verify(files=False).problems:
            row.problem(f"verify: {text}")
    yield row


def _judge(row: Row, what: str, one: Broken, file: Path, path: Path) -> None:
    told = [_told(row, f"{what}, {way}", way, file, path) for way in WAYS]
    for way, audit in zip(WAYS, told, strict=True):
        if audit is not None:
            row.acknowledged += 1
            _check_kept(row, f"{what}, {way}", one, audit)
    if told[0] is not None:
        _check_recorded(row, what, one, told[0])
    elif any(line in _good(one.form) for line in one.text.split("\n")):
        row.count("refused, though a line of it is good")
        row.problem(f"{what}: was refused, though a line of it is an event")


def _told(row: Row, what: str, way: str, file: Path, path: Path) -> Audit | None:
    """Ingest it; returns the audit if there is one. The exit code and the errors must agree."""
    before = {audit.id for audit in Audit.select(Audit.id)}
    source = file if way == "file" else "-"
    with _standard_input(file):
        code, _, err = program("ingest", source, "--url", URL, "--database", path)
    if code not in (0, 1) or bool(code) != bool(err.strip()):
        row.problem(f"{what}: exit code {code} with these errors: {err[:200]}")
    if "error of the program" in err or "Traceback" in err:
        row.problem(f"{what}: {err[:300]}")
    row.count(f"exit {code}")
    new = [audit.id for audit in Audit.select(Audit.id) if audit.id not in before]
    if not new:
        if not code:
            row.problem(f"{what}: nothing is stored, with exit code 0")
        return None
    audit = sync.get(new[0])
    for text in err.splitlines():
        note = text.partition(f"{source}: ")[2]
        if note and note not in [" ".join(error.split()) for error in audit.errors]:
            row.problem(f"{what}: told on standard error alone: {note}")
    return audit


@contextmanager
def _standard_input(file: Path) -> Iterator[None]:
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(file.read_bytes()))
    try:
        yield
    finally:
        sys.stdin = before


def _check_kept(row: Row, what: str, one: Broken, audit: Audit) -> None:
    """Each line that is a good event is stored; what was lost is noted by its place."""
    good = _good(one.form)
    stored = Counter(map(_shape, (event.data for event in sync.events(audit.id))))
    if one.form == "events":
        here = Counter(_shape(good[line]) for line in one.text.split("\n") if line in good)
        if lost := here - stored:
            row.missing += sum(lost.values())
            row.problem(f"{what}: lost: {next(iter(lost))[:100]}")
    whole = Counter(map(_shape, good.values()))
    if one.form in ("events", "list", "pretty list"):
        is_lost = bool(whole - stored)
    else:
        is_lost = not _has_result(audit, breaking.result())
    noted = [text for text in audit.errors if _PLACE.search(text)]
    if is_lost and not noted and not _says_so(one):
        row.problem(f"{what}: something is lost, and no note names its place: {audit.errors}")
    row.count("whole" if not is_lost else "in part")


def _says_so(one: Broken) -> bool:
    """Whether what the broken output has is what is stored: nothing in it was to be read else."""
    if one.way in ("line", "end", "order", "interleaved"):
        return True  # whole lines may be gone, or their beginning, with what they said
    try:
        parts = [json.loads(one.text, strict=False)]
    except ValueError:
        try:
            parts = [json.loads(line, strict=False) for line in one.text.split("\n") if line]
        except ValueError:
            return False
    return bool(parts)


def _check_recorded(row: Row, what: str, one: Broken, audit: Audit) -> None:
    """Recorded one by one, leniently, the same events give the same rows."""
    try:
        events, notes = parse(one.text.encode(errors="surrogatepass"), may_be_cut=True)
    except InvalidAudit as error:
        row.problem(f"{what}: was stored from a file, and cannot be read: {error}")
        return
    events[-1] = with_notes(events[-1], notes)
    again = sync.create(URL)
    for event in events:
        if event["type"] == UNKNOWN_EVENT and "value" in event:
            event = event["value"]  # as it came
        elif event["type"] == UNKNOWN_EVENT:
            event = {**event, "type": None, NOTES: None}
        sync.record(again.id, event, lenient=True)
    found = sync.get(again.id)
    if audit.status == "disconnected":
        sync.update_status(again.id, "disconnected")
        found = sync.get(again.id)
    for name, mine, its in (
        ("columns", _columns(found), _columns(audit)),
        ("findings", _findings(found), _findings(audit)),
        ("screenshots", _images(found), _images(audit)),
        ("errors", len(found.errors), len(audit.errors) - (audit.status == "disconnected")),
    ):
        if mine != its:
            row.problem(f"{what}: {name} differ when recorded: {mine} and {its}")
    for problem in sync.verify(again.id):
        row.problem(f"{what}: {problem}")


def _columns(audit: Audit) -> dict[str, Any]:
    own = ("id", "seal", "sealed_events", "created_at", "updated_at", "started_at", "completed_at")
    return {k: v for k, v in audit.own_columns().items() if k not in (*own, "errors")}


def _findings(audit: Audit) -> list[Any]:
    own = ("id", "created_at", "digest")
    return [{k: v for k, v in row.own_columns().items() if k not in own} for row in audit.findings]


def _images(audit: Audit) -> list[Any]:
    return [(row.label, row.index_num, row.sha256) for row in audit.screenshots]


def _good(form: str) -> dict[str, Any]:
    """The lines of the good output that are events, as what they say."""
    if form in ("events", "list", "pretty list"):
        return {json.dumps(event): event for event in breaking.events()}
    return {}


def _shape(event: Any) -> str:
    """An event without what the store has added to it or replaced in it."""
    left = {key: value for key, value in (event or {}).items() if key not in (NOTES, "data")}
    return json.dumps(left, sort_keys=True)


def _has_result(audit: Audit, result: dict[str, Any]) -> bool:
    events = sync.events(audit.id, types=["engine_result"])
    return any(event.data and event.data.get("result") == result for event in events)
