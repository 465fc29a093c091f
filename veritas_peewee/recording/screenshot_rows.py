"""Screenshots as rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from veritas_peewee.database.current import current_database
from veritas_peewee.database.statements import store_rows
from veritas_peewee.ledger import rows, seals
from veritas_peewee.ledger.memory import remembered
from veritas_peewee.models import AuditScreenshot
from veritas_peewee.values.moments import format_datetime


def screenshot_row(audit_id: str, values: dict[str, Any], when: datetime) -> tuple[Any, ...]:
    """The stored row of a screenshot, from its checked values; its file is on disk already."""
    row = {"audit": audit_id, **values, "created_at": format_datetime(when)}
    stored = tuple([row[name] for name in seals.covered(AuditScreenshot)])
    return (*stored, seals.digest_of(stored))


def note_screenshots(new: dict[str, list[tuple[Any, ...]]]) -> None:
    """Note that rows that `screenshot_row` has made are about to be inserted, by audit."""
    for audit_id, made in new.items():
        seals.add_rows(audit_id, AuditScreenshot, [row[-1] for row in made])


def counted(audit_id: str) -> int | None:
    """How many screenshots an audit has, with those that were noted; None if its row is not to be
    written with that number, because a trigger does so."""
    return rows.counted(current_database(), audit_id)


def add_screenshots(new: dict[str, list[tuple[Any, ...]]], *, are_counted: bool = False) -> None:
    """Insert rows that `note_screenshots` has noted."""
    columns = (*seals.covered(AuditScreenshot), "digest")
    memory = remembered(current_database())
    memory.own_change = are_counted
    if are_counted:
        memory.expected = {audit_id: len(made) for audit_id, made in new.items()}
    try:
        store_rows(AuditScreenshot, columns, [row for made in new.values() for row in made])
    finally:
        memory.own_change, memory.expected = False, {}
