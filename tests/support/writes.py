"""Writes that wait for one another, and the outcome of each."""

from __future__ import annotations

import threading
from typing import Any

import anyio

from veritas_peewee import Audit
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.sqlite_errors import driver


def add(url="https://example.com"):
    return Audit.create(url=url).id


def count():
    return Audit.select().count()


class Gate:
    """Holds the writer inside a write until it is let go."""

    def __init__(self):
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self):
        self.entered.set()
        assert self.release.wait(60)

    async def wait(self):
        await anyio.to_thread.run_sync(self.entered.wait, 60)


async def outcome(results, key, call, *args, **kwargs):
    try:
        results[key] = await call(*args, **kwargs)
    except Exception as error:
        results[key] = error


class Unreliable:
    """The driver's connection, on which some statements fail in turn, after some transactions."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.fails: list[str] = []
        """How these statements begin; with ` but done` after it, one fails once it has run, with
        ` but undone` it ends its transaction like a COMMIT that the disk has refused."""
        self.code = 10
        """The code of SQLite that their errors carry."""
        self.sound = 0
        """The number of transactions before any statement fails."""

    @classmethod
    def put(cls, database: StoreDatabase) -> Unreliable:
        """Have all that `database` executes from now on go through one of these."""
        state = database.state
        state.conn = cls(state.conn)
        return state.conn

    def execute(self, sql: str, *values: Any) -> Any:
        return self._run(self.connection, sql, *values)

    def cursor(self, *factory: Any) -> Any:
        return _Cursor(self, self.connection.cursor(*factory))

    def _run(self, on: Any, sql: str, *values: Any) -> Any:
        self.sound -= sql.startswith("BEGIN")
        fails, _, how = self.fails[0].partition(" but ") if self.fails else ("?", "", "")
        if self.sound >= 0 or not sql.startswith(fails):
            return on.execute(sql, *values)
        del self.fails[0]
        if how == "undone":
            self.connection.execute("ROLLBACK")
        elif how:
            on.execute(sql, *values)
        error = driver.OperationalError("disk I/O error")
        if how != "done, without a code":
            error.sqlite_errorcode = self.code
        raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


class _Cursor:
    def __init__(self, unreliable: Unreliable, cursor: Any) -> None:
        self.unreliable = unreliable
        self.cursor = cursor

    def execute(self, sql: str, *values: Any) -> _Cursor:
        self.unreliable._run(self.cursor, sql, *values)
        return self

    def __iter__(self) -> Any:
        return iter(self.cursor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cursor, name)
