"""A restored store continues the ids of events of the store that it replaces."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from veritas_peewee.config import Location
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.errors import StoreError
from veritas_peewee.evidence import blocks
from veritas_peewee.files.platform import sync
from veritas_peewee.ledger import continued
from veritas_peewee.ledger.heads import Head, newest_head
from veritas_peewee.maintenance.copying import opened
from veritas_peewee.models import TreeBlock

_logger = logging.getLogger("veritas_peewee")

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


def warn_of_checkpoints(kept: Head, old: SqliteStore | None, path: Path) -> None:
    """Warn where the store at `path`, which is being replaced, may have signed checkpoints of
    events after the head `kept`, the backup's.

    `old` is as in `continue_ids`.
    """
    try:
        if old is None:
            signed_upto = kept.position + 1
        elif TreeBlock._meta.table_name not in old.get_tables():
            return
        else:
            there, odd = blocks.stored()
            signed_upto = kept.position + 1 if odd else there[-1].last_event if there else 0
    except (*DRIVER_ERRORS, StoreError):
        signed_upto = kept.position + 1
    if signed_upto > kept.position:
        _logger.warning(
            "%s: the store that is replaced has events after %d, the backup's newest, and may have "
            "signed checkpoints of them, which the restored store contradicts: keep what is set "
            "aside, sign under a new key and name, and say why",
            path,
            kept.position,
        )
