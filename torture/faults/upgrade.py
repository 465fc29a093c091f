"""A process that is killed at a statement of an upgrade of the older code's file, or of a script
that changes rows: at each of their statements in turn."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from torture.apart import apart, die_at
from torture.checks import check_verify, select
from torture.legacy import LOST, TABLES, write_legacy
from torture.model import Row, Run, fault
from torture.reading import dump
from veritas_peewee import Audit, AuditFinding, Severity, connect, sync
from veritas_peewee.database.current import current_database
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.sqlite_errors import driver

ALL = 10_000
"""More rounds than there are statements: all of them."""
Point = Callable[[object], None]


@fault("upgrade", "an upgrade killed at every statement", rounds=ALL, quick=10)
def upgrade(run: Run) -> Iterator[Row]:
    yield from apart("upgrade", "torture.faults.upgrade:kill_upgrade", run)


@fault("script", "a script that changes rows, killed at every statement", rounds=ALL, quick=12)
def script(run: Run) -> Iterator[Row]:
    yield from apart("script", "torture.faults.upgrade:kill_script", run)


def _numbers(row: Row, run: Run, act: Callable[[Point], None]) -> list[int]:
    """The statements at which to kill, evenly over all that there are."""
    _, points = die_at(0, act)
    if points == 0:
        row.problem("it fails even if it is not killed")
    row.figures["statements"] = points
    rounds = min(run.rounds, points)
    return [1 + (points - 1) * index // max(rounds - 1, 1) for index in range(rounds)]


# ---- an upgrade ----


def kill_upgrade(run: Run) -> Iterator[Row]:
    begin = perf_counter()
    row = Row("upgrade")
    before, after = run.folder / "older" / "audits.db", run.folder / "newer" / "audits.db"
    write_legacy(before)
    shutil.copytree(before.parent, after.parent)
    with connect(after):
        pass
    old, new = dump(before), _rows(after)
    path = run.folder / "upgraded" / "audits.db"

    def act(point: Point) -> None:
        _copy(before, path)
        _open_watched(path, point)

    for number in _numbers(row, run, act):
        killed, _ = die_at(number, act)
        row.rounds += 1
        if not killed:
            row.problem(f"statement {number}: was not reached")
        schema = "the old schema" if dump(path) == old else "the new schema"
        row.count(schema)
        if schema == "the new schema" and _rows(path) != new:
            row.half_saved += 1
        for table in TABLES:
            ids = {found for (found,) in select(path, f"SELECT id FROM {table}")}
            row.missing += sum(
                one not in ids for (one,) in select(before, f"SELECT id FROM {table}")
            )
        _check_upgraded(row, number, path, old, new)
    row.seconds = perf_counter() - begin
    yield row


def _check_upgraded(row: Row, number: int, path: Path, old: str, new: list[object]) -> None:
    """The next opening upgrades the file to the same rows, and the backup is the old file."""
    with connect(path):
        pass
    if _rows(path) != new:
        row.problem(f"statement {number}: the next opening did not upgrade it whole")
    check_verify(row, path)
    backups = list(path.parent.glob("audits.db.backup-*"))
    row.most("backups", len(backups))
    if not backups or any(dump(backup) != old for backup in backups):
        row.problem(f"statement {number}: the older file is not kept aside")
    if left := sorted(one.name for one in path.parent.iterdir() if one.suffix == ".partial"):
        row.problem(f"statement {number}: left behind: {', '.join(left)}")


def _copy(source: Path, path: Path) -> None:
    shutil.rmtree(path.parent, ignore_errors=True)
    shutil.copytree(source.parent, path.parent)


def _open_watched(path: Path, point: Point) -> None:
    """Open the store; `point` is called with each statement before it runs."""
    plain = SqliteStore.connect

    def watched(database: SqliteStore, reuse_if_open: bool = False) -> bool:
        opened = plain(database, reuse_if_open)
        database.raw.set_trace_callback(point)
        return opened

    setattr(SqliteStore, "connect", watched)  # noqa: B010
    with connect(path):
        pass


def _rows(path: Path) -> list[object]:
    """All rows and the schema, but for the moments at which it was upgraded."""
    found: list[object] = []
    for kind, name, sql in select(path, "SELECT type, name, sql FROM sqlite_master ORDER BY name"):
        found.append((kind, name, sql))
        if kind == "table" and name != "veritas_migrations":
            rows = select(path, f'SELECT * FROM "{name}" ORDER BY 1')
            # An audit that the upgrade makes for rows whose audit is gone has the upgrade's time.
            found += [_timeless(row) if LOST in row else row for row in rows]
    found += select(path, "SELECT name FROM veritas_migrations ORDER BY name")
    return found


def _timeless(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row without the time of the upgrade and without the digest that covers it."""
    return tuple(
        value
        for value in row
        if not (isinstance(value, str) and (value.startswith("20") or len(value) == 64))
    )


# ---- a script ----


def kill_script(run: Run) -> Iterator[Row]:
    begin = perf_counter()
    row = Row("script")
    path, before = run.folder / "script" / "audits.db", run.folder / "before" / "audits.db"
    with connect(before):
        audit = sync.create("https://example.com").id
        told = {"id": "f1", "pattern_type": "nagging", "severity": "low", "confidence": 0.5}
        sync.record(audit, {"type": "finding", "finding": {**told, "description": "nags"}})

    def act(point: Point) -> None:
        _copy(before, path)
        with connect(path):
            current_database().raw.set_trace_callback(point)
            Audit.update(narrative="It nags.").where(Audit.id == audit).execute()
            for finding in AuditFinding.select():
                finding.severity = Severity.HIGH
                finding.save()
            changed = sync.get(audit)
            changed.site_type = "shop"
            changed.save()
            AuditFinding.delete().execute()
            sync.delete(audit)

    for number in _numbers(row, run, act):
        die_at(number, act)
        row.rounds += 1
        try:
            check_verify(row, path)
        except driver.Error as error:
            row.problem(f"statement {number}: {error}")
    row.seconds = perf_counter() - begin
    yield row
