"""A restored store continues the ids of events of the store that it replaces."""

from __future__ import annotations

import os
from pathlib import Path

from veritas_peewee.config import Location
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.files.platform import sync
from veritas_peewee.ledger import continued
from veritas_peewee.ledger.heads import Head, newest_head
from veritas_peewee.maintenance.copying import opened

BESIDE = ("-wal", "-shm", "-journal")
"""The endings of the files that SQLite has beside a database."""


def continue_ids(new: Location, head: Head, old: SqliteStore | None, path: Path) -> Head:
    """Have a copy, whose head is given, continue the ids of the store at `path`; returns its head.

    `old` is that store, open and current; None if it cannot be read or is not there.
    """
    given = None if old is None else continued.newest_given()
    if given is None:
        files = [Path(f"{path}{end}") for end in ("", *BESIDE) if os.path.lexists(f"{path}{end}")]
        size = sum(file.stat().st_size for file in files)
        given = head.position + continued.guess(size) if size else 0
    if given <= head.position:
        return head
    assert new.path is not None
    with opened(SqliteStore(new, "script")):
        continued.continue_after(given)
    sync(new.path)
    with opened(SqliteStore(new, "viewer")):
        return newest_head()
