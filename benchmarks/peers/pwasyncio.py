"""Peewee's own asyncio bridge: a connection of the pool per operation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from playhouse.pwasyncio import AsyncSqliteDatabase

from benchmarks.history import HistoryQuery
from benchmarks.peers import peewee_models
from benchmarks.peers.base import PRAGMAS, Peer
from benchmarks.sample import Row, WholeAudit


class PeeweeAsyncio(Peer):
    name: ClassVar[str] = "pwasyncio"

    async def open(self, path: Path) -> None:
        self.database = AsyncSqliteDatabase(str(path), pragmas=PRAGMAS, acquire_timeout=60)
        self.models = peewee_models.make_models(self.database)

    async def close(self) -> None:
        await self.database.close_pool()

    async def _run(self, fn: Any, *args: Any) -> Any:
        async with self.database:
            return await self.database.run(fn, self.models, *args)

    async def _write(self, fn: Any, *args: Any) -> None:
        async with self.database, self.database.atomic("IMMEDIATE"):
            await self.database.run(fn, self.models, *args)

    async def create(self, audit_id: str, url: str) -> None:
        await self._run(peewee_models.create_audit, audit_id, url)

    async def record(self, audit_id: str, event: Row) -> None:
        taken = await self.taken(audit_id, event)
        if taken.effect is None:
            await self._run(peewee_models.record, audit_id, taken)
        else:
            await self._write(peewee_models.record, audit_id, taken)

    async def write_event(self, audit_id: str, event: Row) -> None:
        await self._run(peewee_models.create_event, audit_id, event)

    async def write_events(self, audit_id: str, events: Sequence[Row]) -> None:
        await self._write(peewee_models.insert_events, audit_id, list(events))

    async def write_audit(self, whole: WholeAudit) -> None:
        await self._write(peewee_models.insert_whole, whole)

    async def read_audit(self, audit_id: str) -> int:
        return int(await self._run(peewee_models.load_audit, audit_id))

    async def history(self, query: HistoryQuery, after: Any = None) -> int:
        return int(await self._run(peewee_models.load_page, query, after))


KINDS = (PeeweeAsyncio,)
