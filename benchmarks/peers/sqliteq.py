"""Peewee's SqliteQueueDatabase: one writer thread; the callers are threads that wait.

An async backend reaches it through a thread pool. It refuses transactions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import anyio
from anyio import to_thread
from playhouse.sqliteq import SqliteQueueDatabase

from benchmarks.history import HistoryQuery
from benchmarks.model import Unsupported
from benchmarks.peers import peewee_models
from benchmarks.peers.base import PRAGMAS, Peer
from benchmarks.sample import Row


class QueueDatabase(Peer):
    name: ClassVar[str] = "sqliteq"

    async def open(self, path: Path) -> None:
        self.database = SqliteQueueDatabase(str(path), pragmas=dict(PRAGMAS))
        self.models = peewee_models.make_models(self.database)
        self.limiter = anyio.CapacityLimiter(40)

    async def close(self) -> None:
        await to_thread.run_sync(self.database.stop)

    async def _run(self, fn: Any, *args: Any) -> Any:
        return await to_thread.run_sync(fn, self.models, *args, limiter=self.limiter)

    async def record(self, audit_id: str, event: Row) -> None:
        raise Unsupported("no transactions: an event and its effect cannot be one")

    async def write_event(self, audit_id: str, event: Row) -> None:
        await self._run(peewee_models.create_event, audit_id, event)

    async def read_audit(self, audit_id: str) -> int:
        return int(await self._run(peewee_models.load_audit, audit_id))

    async def history(self, query: HistoryQuery, after: Any = None) -> int:
        return int(await self._run(peewee_models.load_page, query, after))


KINDS = (QueueDatabase,)
