"""The protocol that every peer implements, and the connection they all have."""

from __future__ import annotations

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.effects import Taken, store_image, take
from benchmarks.history import PAGE, HistoryQuery
from benchmarks.model import Unsupported
from benchmarks.sample import Row, WholeAudit

PRAGMAS: dict[str, int | str] = {
    "journal_mode": "WAL",
    "synchronous": "NORMAL",
    "cache_size": -64000,
    "temp_store": "MEMORY",
    "foreign_keys": "ON",
    "busy_timeout": 30000,
    "wal_autocheckpoint": 1000,
}
"""The PRAGMAs of every peer's connections."""


class PragmaConnection(sqlite3.Connection):
    """A `factory` for sqlite3.connect: every connection has the same PRAGMAs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, value in PRAGMAS.items():
            self.execute(f"PRAGMA {name} = {value}")


class Peer(ABC):
    """One library, used as its own documentation says a web backend should use it.

    A method that a peer does not override is something that the library has no way to do.
    """

    name: ClassVar[str]
    group_of: ClassVar[int | None] = None
    """For the limits: rows in one transaction, 0 for as many as tasks wait; None for others."""
    images: Path
    """The folder of the image files."""

    @abstractmethod
    async def open(self, path: Path) -> None:
        """Open the file, as a backend does at its start."""

    @abstractmethod
    async def close(self) -> None:
        """Close the file."""

    async def create(self, audit_id: str, url: str) -> None:
        """Add a queued audit."""
        raise Unsupported("no recording measured")

    async def record(self, audit_id: str, event: Row) -> None:
        """Record one event and its effect on the rows, both or neither."""
        raise Unsupported("no recording measured")

    async def taken(self, audit_id: str, event: Row) -> Taken:
        """For `record`: the event with its effect; an image is on disk by then."""
        image = None
        if event["type"] == "screenshot":
            image = await asyncio.to_thread(store_image, self.images, audit_id, event)
        return take(audit_id, event, datetime.now(UTC), image)

    async def write_event(self, audit_id: str, event: Row) -> None:
        """Record one event; durable, as far as the PRAGMAs say, when it returns."""
        raise Unsupported("no single writes")

    async def write_events(self, audit_id: str, events: Sequence[Row]) -> None:
        """Record events, all or none."""
        raise Unsupported("no bulk write that is atomic")

    async def write_audit(self, whole: WholeAudit) -> None:
        """Write a whole audit, all or nothing."""
        raise Unsupported("no transactions")

    async def read_audit(self, audit_id: str) -> int:
        """Load an audit with findings and screenshots; returns how many children it has."""
        raise Unsupported("no reads measured")

    async def history(self, query: HistoryQuery, after: Any = None) -> int:
        """Load a page of the history, newest first; returns how many audits it has."""
        raise Unsupported("no history measured")

    async def seek(self, query: HistoryQuery, created_at: datetime, audit_id: str) -> Any:
        """What `history` takes as `after` to continue behind this audit."""
        return created_at, audit_id

    async def count(self, status: str) -> int:
        """How many audits have this status."""
        raise Unsupported("no counting measured")

    async def series(self, url: str) -> int:
        """Load (created_at, trust_score) of a url's audits in order; returns how many."""
        raise Unsupported("no series measured")

    async def trend(self, host: str, limit: int) -> int:
        """Load a host's newest audits with their findings by severity; returns how many."""
        raise Unsupported("no series of a host measured")

    async def search(self, text: str, filters: dict[str, Any]) -> int:
        """Load a page of the audits that match a text, with snippets; returns how many."""
        raise Unsupported("no search measured")

    async def facets(self, filters: dict[str, Any]) -> int:
        """Count the audits by each column, and by pattern type; returns how many audits match."""
        raise Unsupported("no facets measured")

    async def query(self, sql: str) -> None:
        """Run any SELECT and fetch its rows."""
        raise Unsupported("no queries of any kind measured")

    async def load(self, limit: int) -> int:
        """Load many audits in one query; returns how many."""
        raise Unsupported("no large reads measured")


HISTORY_ORDER = f"ORDER BY created_at DESC, id DESC LIMIT {PAGE + 1}"


def history_sql(query: HistoryQuery, after: Any) -> tuple[str, list[object]]:
    """Hand-written SQL for the page, continued by keyset, and its values."""
    terms = [f"{column} {sign} ?" for column, sign, _ in query.conditions()]
    values = [value for _, _, value in query.conditions()]
    if after is not None:
        terms.append("(created_at, id) < (?, ?)")
        values += after
    where = f"WHERE {' AND '.join(terms)} " if terms else ""
    return f"SELECT * FROM audits {where}{HISTORY_ORDER}", values
