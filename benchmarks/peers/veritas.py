"""The package itself, through its public facade; also as an earlier commit has it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.history import PAGE, HistoryQuery
from benchmarks.peers.base import Peer
from benchmarks.sample import Row, WholeAudit, screenshot_values
from veritas_peewee import Audit, AuditScreenshot, AuditStore


class Veritas(Peer):
    name: ClassVar[str] = "ours"

    async def open(self, path: Path) -> None:
        self.store = await AuditStore.open(path)

    async def close(self) -> None:
        await self.store.close()

    async def create(self, audit_id: str, url: str) -> None:
        await self.store.create(url, id=audit_id)

    async def record(self, audit_id: str, event: Row) -> None:
        await self.store.record(audit_id, event)

    async def write_event(self, audit_id: str, event: Row) -> None:
        await self.store.record(audit_id, event)

    async def write_events(self, audit_id: str, events: Sequence[Row]) -> None:
        await self.store.record_many(audit_id, events)

    async def write_audit(self, whole: WholeAudit) -> None:
        await self.store.write(_write_whole, whole)

    async def read_audit(self, audit_id: str) -> int:
        audit = await self.store.get(audit_id)
        return len(audit.findings) + len(audit.screenshots)

    async def history(self, query: HistoryQuery, after: Any = None) -> int:
        page = await self.store.history(**query.filters, limit=PAGE, cursor=after)
        return len(page.items)

    async def seek(self, query: HistoryQuery, created_at: datetime, audit_id: str) -> Any:
        until = created_at + timedelta(microseconds=1)
        page = await self.store.history(**{**query.filters, "until": until}, limit=1)
        return page.next_cursor

    async def count(self, status: str) -> int:
        return await self.store.read(lambda: Audit.select().where(Audit.status == status).count())

    async def series(self, url: str) -> int:
        return len(await self.store.read(_series, url))

    async def trend(self, host: str, limit: int) -> int:
        return len((await self.store.trend(host=host, limit=limit)).points)

    async def search(self, text: str, filters: dict[str, Any]) -> int:
        return len((await self.store.search(text, limit=PAGE, **filters)).items)

    async def facets(self, filters: dict[str, Any]) -> int:
        return (await self.store.facets(**filters)).total

    async def query(self, sql: str) -> None:
        await self.store.read(lambda: list(Audit.raw(sql).tuples()))

    async def load(self, limit: int) -> int:
        return len(await self.store.read(lambda: list(Audit.select().limit(limit))))


def _write_whole(whole: WholeAudit) -> None:
    """The same 56 rows that the peers insert: the findings come from their own events."""
    from veritas_peewee import sync  # here, for an earlier commit may lack it

    owner = whole.audit["id"]
    sync.create(whole.audit["url"], id=owner)
    sync.record_many(owner, [row["data"] for row in whole.events])
    AuditScreenshot.insert_many(
        [
            {"audit": owner, **screenshot_values(index, owner), "created_at": row["created_at"]}
            for index, row in enumerate(whole.screenshots)
        ]
    ).execute()


def _series(url: str) -> list[Any]:
    query = Audit.select(Audit.created_at, Audit.trust_score).where(Audit.url == url)
    return list(query.order_by(Audit.created_at, Audit.id).tuples())


class Earlier(Veritas):
    """The checkout that `--against` names, from which the worker imports the package."""

    name: ClassVar[str] = "earlier"


KINDS = (Veritas, Earlier)
