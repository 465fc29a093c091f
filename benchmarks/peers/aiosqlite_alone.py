"""aiosqlite by itself: SQL by hand, one connection, autocommit; rows as the driver gives them.

An event with an effect is one transaction, which sqlite3 begins at the first statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import aiosqlite

from benchmarks.history import PAGE, HistoryQuery
from benchmarks.peers.base import Peer, PragmaConnection, history_sql
from benchmarks.peers.by_hand import statements
from benchmarks.sample import Row, WholeAudit, audit_row, event_row, insert_sql, stored, stored_row


class Aiosqlite(Peer):
    name: ClassVar[str] = "aiosqlite"

    async def open(self, path: Path) -> None:
        self.connection = await aiosqlite.connect(
            path, isolation_level=None, factory=PragmaConnection
        )
        self.connection.row_factory = aiosqlite.Row
        # One connection has one transaction: tasks take turns with it.
        self.turn = asyncio.Lock()

    async def close(self) -> None:
        await self.connection.close()

    async def create(self, audit_id: str, url: str) -> None:
        async with self._implicit():
            row = audit_row(audit_id, url)
            await self.connection.execute(insert_sql("audits", row), stored_row(row))

    async def record(self, audit_id: str, event: Row) -> None:
        ready = statements(audit_id, await self.taken(audit_id, event))
        async with self._implicit():
            for sql, rows in ready:
                if len(rows) == 1:
                    await self.connection.execute(sql, rows[0])
                else:
                    await self.connection.executemany(sql, rows)

    @asynccontextmanager
    async def _implicit(self) -> AsyncIterator[None]:
        """A transaction without a BEGIN of its own, which would be one more round trip."""
        if self.connection.isolation_level is None:
            self.connection.isolation_level = "IMMEDIATE"
        async with self.turn:
            try:
                yield
            except BaseException:
                await self.connection.rollback()
                raise
            await self.connection.commit()

    async def write_event(self, audit_id: str, event: Row) -> None:
        row = event_row(audit_id, event)
        await self.connection.execute(insert_sql("audit_events", row), stored_row(row))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self.turn:
            await self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                await self.connection.execute("ROLLBACK")
                raise
            await self.connection.execute("COMMIT")

    async def _insert(self, table: str, rows: Sequence[Row]) -> None:
        sql = insert_sql(table, rows[0])
        await self.connection.executemany(sql, [stored_row(row) for row in rows])

    async def write_events(self, audit_id: str, events: Sequence[Row]) -> None:
        async with self.transaction():
            await self._insert("audit_events", [event_row(audit_id, one) for one in events])

    async def write_audit(self, whole: WholeAudit) -> None:
        async with self.transaction():
            await self._insert("audits", [whole.audit])
            await self._insert("audit_findings", whole.findings)
            await self._insert("audit_screenshots", whole.screenshots)
            await self._insert("audit_events", whole.events)

    async def _all(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        return list(await self.connection.execute_fetchall(sql, values))

    async def read_audit(self, audit_id: str) -> int:
        key = (audit_id,)
        await self._all("SELECT * FROM audits WHERE id = ?", key)
        findings = await self._all(
            "SELECT * FROM audit_findings WHERE audit_id = ? ORDER BY id", key
        )
        screenshots = await self._all(
            "SELECT * FROM audit_screenshots WHERE audit_id = ? ORDER BY index_num, id", key
        )
        return len(findings) + len(screenshots)

    async def history(self, query: HistoryQuery, after: Any = None) -> int:
        if after is not None:
            after = tuple(stored(value) for value in after)
        return min(len(await self._all(*history_sql(query, after))), PAGE)

    async def count(self, status: str) -> int:
        found = await self._all("SELECT count(*) FROM audits WHERE status = ?", (status,))
        return int(found[0][0])

    async def series(self, url: str) -> int:
        sql = "SELECT created_at, trust_score FROM audits WHERE url = ? ORDER BY created_at, id"
        return len(await self._all(sql, (url,)))

    async def query(self, sql: str) -> None:
        await self._all(sql)

    async def load(self, limit: int) -> int:
        return len(await self._all("SELECT * FROM audits LIMIT ?", (limit,)))


_DOCUMENTED = {
    "idx_audits_status", "idx_audits_created_at", "idx_audits_trust_score", "idx_audits_url",
    "idx_findings_audit_id", "idx_findings_pattern_type", "idx_screenshots_audit_id",
    "idx_events_audit_id",
}  # fmt: skip


class AiosqliteFewIndexes(Aiosqlite):
    """The same without the indexes that a fast history needs: only those of the older store."""

    name: ClassVar[str] = "aiosqlite-few"

    async def open(self, path: Path) -> None:
        await super().open(path)
        found = await self._all("SELECT name FROM sqlite_master WHERE type = 'index' AND sql > ''")
        for (name,) in found:
            if name not in _DOCUMENTED:
                await self.connection.execute(f'DROP INDEX "{name}"')


KINDS = (Aiosqlite, AiosqliteFewIndexes)
