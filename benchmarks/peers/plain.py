"""Plain sqlite3 on the calling thread, with rows prepared beforehand: the limits, not a design.

A web backend cannot work like this, because every call blocks the event loop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.history import PAGE, HistoryQuery
from benchmarks.peers.base import Peer, PragmaConnection, history_sql
from benchmarks.peers.by_hand import Ready
from benchmarks.sample import Row, WholeAudit, event_row, insert_sql, stored, stored_row


def ready_events(audit_id: str, events: Sequence[Row]) -> Ready:
    rows = [event_row(audit_id, event) for event in events]
    return [(insert_sql("audit_events", rows[0]), [stored_row(row) for row in rows])]


def ready_audit(whole: WholeAudit) -> Ready:
    tables = {
        "audits": [whole.audit],
        "audit_findings": whole.findings,
        "audit_screenshots": whole.screenshots,
        "audit_events": whole.events,
    }
    return [
        (insert_sql(table, rows[0]), [stored_row(row) for row in rows])
        for table, rows in tables.items()
    ]


class _Plain(Peer):
    async def open(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, factory=PragmaConnection)

    async def close(self) -> None:
        self.connection.close()

    def insert(self, pieces: Sequence[Ready]) -> None:
        """Insert prepared rows in one transaction."""
        self.connection.execute("BEGIN IMMEDIATE")
        for piece in pieces:
            for sql, rows in piece:
                self.connection.executemany(sql, rows)
        self.connection.execute("COMMIT")

    async def read_audit(self, audit_id: str) -> int:
        key = (audit_id,)
        execute = self.connection.execute
        execute("SELECT * FROM audits WHERE id = ?", key).fetchall()
        findings = execute("SELECT * FROM audit_findings WHERE audit_id = ? ORDER BY id", key)
        children = len(findings.fetchall())
        sql = "SELECT * FROM audit_screenshots WHERE audit_id = ? ORDER BY index_num, id"
        return children + len(execute(sql, key).fetchall())

    async def history(self, query: HistoryQuery, after: Any = None) -> int:
        if after is not None:
            after = tuple(stored(value) for value in after)
        return min(len(self.connection.execute(*history_sql(query, after)).fetchall()), PAGE)

    async def count(self, status: str) -> int:
        sql = "SELECT count(*) FROM audits WHERE status = ?"
        return int(self.connection.execute(sql, (status,)).fetchone()[0])

    async def series(self, url: str) -> int:
        sql = "SELECT created_at, trust_score FROM audits WHERE url = ? ORDER BY created_at, id"
        return len(self.connection.execute(sql, (url,)).fetchall())

    async def search(self, text: str, filters: dict[str, Any]) -> int:
        text = text.replace(" -", " NOT ")
        where, values = _where(filters)
        sql = (
            "SELECT a.*, snippet(search_index, -1, '[', ']', '…', 24) FROM search_index "
            "JOIN audit_catalog AS c ON c.id = search_index.rowid JOIN audits AS a "
            f"ON a.id = c.audit_id WHERE search_index MATCH ? AND {where} ORDER BY rank LIMIT ?"
        )
        return len(self.connection.execute(sql, (text, *values, PAGE)).fetchall())

    async def facets(self, filters: dict[str, Any]) -> int:
        where, values = _where(filters)
        for kind in ("status", "risk_level", "site_type", "audit_tier"):
            sql = f"SELECT {kind}, count(*) FROM audits AS a WHERE {where} GROUP BY 1"
            found = self.connection.execute(sql, values).fetchall()
        sql = (
            "SELECT pattern_type, count(DISTINCT audit_id) FROM audit_findings JOIN audits AS a "
            f"ON a.id = audit_id WHERE {where} GROUP BY 1"
        )
        self.connection.execute(sql, values).fetchall()
        return sum(number for _, number in found)


_TERMS = {
    "since": "a.created_at >= ?",
    "min_score": "a.trust_score >= ?",
    "max_score": "a.trust_score <= ?",
    "pattern_type": "a.id IN (SELECT audit_id FROM audit_findings WHERE pattern_type = ?)",
    "min_severity": "a.id IN (SELECT audit_id FROM audit_findings "
    "WHERE severity IN (?, 'critical'))",
}


def _where(filters: dict[str, Any]) -> tuple[str, list[object]]:
    terms = [_TERMS.get(name, f"a.{name} = ?") for name in filters]
    return " AND ".join(terms) or "true", [stored(value) for value in filters.values()]


class TransactionPerRow(_Plain):
    name: ClassVar[str] = "sqlite3-row"
    group_of: ClassVar[int | None] = 1


class TransactionPerGroup(_Plain):
    name: ClassVar[str] = "sqlite3-group"
    group_of: ClassVar[int | None] = 0


class ExecuteMany(_Plain):
    name: ClassVar[str] = "executemany"
    group_of: ClassVar[int | None] = 50_000


class ParseAndExecuteMany(_Plain):
    """For W3's result files only: it also reads and parses them, as every store has to."""

    name: ClassVar[str] = "parse+executemany"


KINDS = (TransactionPerRow, TransactionPerGroup, ExecuteMany, ParseAndExecuteMany)
