"""The peers by name; a peer's module is imported only where it is measured."""

from __future__ import annotations

from importlib import import_module, metadata
from importlib.util import find_spec
from typing import NamedTuple

from benchmarks.peers.base import Peer

OURS = "ours"
EARLIER = "earlier"
"""The package at the commit that `--against` names."""


class Entry(NamedTuple):
    title: str
    module: str
    needs: tuple[str, ...] = ()
    """What has to be installed: module names."""
    versions: tuple[str, ...] = ()
    """Distributions whose versions the report states."""


PEERS: dict[str, Entry] = {
    OURS: Entry("veritas-peewee", "veritas", (), ("veritas-peewee", "peewee", "anyio")),
    "sqlalchemy": Entry(
        "SQLAlchemy async", "sqlalchemy_async", ("sqlalchemy", "aiosqlite", "greenlet"),
        ("SQLAlchemy",),
    ),
    "aiosqlite": Entry("aiosqlite", "aiosqlite_alone", ("aiosqlite",), ("aiosqlite",)),
    "tortoise": Entry("Tortoise", "tortoise_orm", ("tortoise", "aiosqlite"), ("tortoise-orm",)),
    "piccolo": Entry("Piccolo", "piccolo_orm", ("piccolo", "aiosqlite"), ("piccolo",)),
    "pwasyncio": Entry("playhouse.pwasyncio", "pwasyncio", ("greenlet", "aiosqlite")),
    "sqliteq": Entry("SqliteQueueDatabase", "sqliteq"),
    "sqlite3-row": Entry("sqlite3, transaction per row", "plain"),
    "sqlite3-group": Entry("sqlite3, transaction per group", "plain"),
    "executemany": Entry("sqlite3, executemany in one", "plain"),
    "parse+executemany": Entry("json.loads + sqlite3 executemany", "plain"),
    "aiosqlite-few": Entry("aiosqlite, the older store's indexes", "aiosqlite_alone",
                           ("aiosqlite",)),
    EARLIER: Entry("veritas-peewee, earlier", "veritas"),
}  # fmt: skip

LIBRARIES = tuple(PEERS)[:7]
LIMITS = tuple(PEERS)[7:10]


def missing(name: str) -> str | None:
    """Why a peer cannot be measured here, or None."""
    absent = [module for module in PEERS[name].needs if find_spec(module) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def versions() -> dict[str, str]:
    found = {}
    for entry in PEERS.values():
        for name in entry.versions:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = "not installed"
    return found


def make(name: str) -> Peer:
    """The peer of this name."""
    module = import_module(f"benchmarks.peers.{PEERS[name].module}")
    kinds: dict[str, type[Peer]] = {kind.name: kind for kind in module.KINDS}
    return kinds[name]()
