"""Audits removed with everything that belongs to them, a few in each transaction."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, field, replace
from typing import Any

import peewee

from veritas_peewee.catalog.entries import UNFINISHED
from veritas_peewee.database.expressions import is_text
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.models import Audit, AuditEvent, AuditRunner, AuditScreenshot
from veritas_peewee.recording.removal import remove_after_commit, remove_row

PIECE_FILES = 100
"""Files after which a transaction begins with no other audit."""
PIECE_SECONDS = 0.02
"""Seconds after which a transaction begins with no other audit."""


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What was removed or, in a dry run, what would be."""

    dry_run: bool = False
    audits: int = 0
    events: int = 0
    screenshots: int = 0
    """Image files; one that an audit that stays shows too is not counted, and stays."""
    screenshot_bytes: int = 0
    skipped: int = 0
    """Audits that were taken up again, or deleted by others, before their turn came."""
    undated: list[Any] = field(default_factory=list)
    """The ids of ended audits that stay because their `created_at` is not a moment."""
    bytes_before: int = 0
    bytes_after: int = 0
    """The size of the database file, in bytes."""
    free_bytes: int | None = 0
    """The part of `bytes_after` that is free inside the file, for new audits; None on a server,
    which alone knows it."""

    def __add__(self, other: PruneReport) -> PruneReport:
        """This report with what another one counts too."""
        names = ("audits", "events", "screenshots", "screenshot_bytes", "skipped")
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in names})


def count(ids: list[str]) -> PruneReport:
    """What would be removed with these audits."""
    found = PruneReport()
    for audit_id in ids:
        found += _belongings(audit_id)[0]
    return found


def _belongings(audit_id: str) -> tuple[PruneReport, list[str]]:
    """What belongs to an audit, and the files that no other audit shows."""
    sizes = dict(execute(_files_sql(), (audit_id,)))
    ((events,),) = execute(_events_sql(), (audit_id,))
    size = sum(size for size in sizes.values() if isinstance(size, int))
    return PruneReport(False, 1, events, len(sizes), size), list(sizes)


def remove_some(ids: list[str]) -> tuple[int, PruneReport]:
    """In a transaction: remove the first of these audits, for PIECE_SECONDS at most.

    Returns how many of them it has dealt with, removed or skipped, and what was removed. The files
    are removed after the commit, once it is on disk.
    """
    until = time.perf_counter() + PIECE_SECONDS
    removed = PruneReport()
    files: list[str] = []
    taken = 0
    for audit_id in ids:
        taken += 1
        found, own = _belongings(audit_id)
        # It may have been taken up again since it was chosen.
        if remove_row(audit_id, _remove_sql()):
            removed += found
            files += own
        else:
            removed += PruneReport(skipped=1)
        if time.perf_counter() > until or len(files) >= PIECE_FILES:
            break
    remove_after_commit(files)
    return taken, removed


@functools.cache
def _remove_sql() -> str:
    going = [peewee.SQL(f"'{status}'") for status in sorted(UNFINISHED)]
    running = AuditRunner.select(AuditRunner.audit)
    query = Audit.delete().where(
        Audit.id == MARK, Audit.status.not_in(going), Audit.id.not_in(running)
    )
    return text_of(query)


@per_backend
def _events_sql() -> str:
    count = peewee.fn.COUNT(peewee.SQL("*"))
    return text_of(AuditEvent.select(count).where(AuditEvent.audit == MARK))


@per_backend
def _files_sql() -> str:
    other = AuditScreenshot.alias()
    shared = other.select(peewee.SQL("1")).where(
        is_text(other.file_path, AuditScreenshot.file_path), other.audit != AuditScreenshot.audit
    )
    query = AuditScreenshot.select(AuditScreenshot.file_path, AuditScreenshot.file_size_bytes)
    return text_of(query.where(AuditScreenshot.audit == MARK, ~peewee.fn.EXISTS(shared)))
