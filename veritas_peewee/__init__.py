"""The store of VERITAS's audits: Peewee models on SQLite, one writer thread, an async facade."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from veritas_peewee.config import DATABASE_URL
from veritas_peewee.errors import (
    AuditNotFound,
    DatabaseCorrupt,
    InvalidAudit,
    NoDatabase,
    ReadOnlyStore,
    SchemaTooNew,
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreFull,
    WriteUndone,
)
from veritas_peewee.following import Follower
from veritas_peewee.models import (
    Audit,
    AuditEvent,
    AuditFinding,
    AuditScreenshot,
    AuditStatus,
    Severity,
)
from veritas_peewee.queries import Page
from veritas_peewee.startup import connect, init_database
from veritas_peewee.store import AuditStore
from veritas_peewee.writer import WriterStats

if TYPE_CHECKING:
    from veritas_peewee.fastapi import get_store as get_store
    from veritas_peewee.fastapi import store_lifespan as store_lifespan

__version__ = "0.1.0"

__all__ = [
    "DATABASE_URL",
    "Audit",
    "AuditEvent",
    "AuditFinding",
    "AuditNotFound",
    "AuditScreenshot",
    "AuditStatus",
    "AuditStore",
    "DatabaseCorrupt",
    "Follower",
    "InvalidAudit",
    "NoDatabase",
    "Page",
    "ReadOnlyStore",
    "SchemaTooNew",
    "Severity",
    "StoreBusy",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "WriteUndone",
    "WriterStats",
    "connect",
    "init_database",
]


def __getattr__(name: str) -> Any:
    # FastAPI is imported only by those who ask for its dependency (and not by `import *`).
    if name in ("get_store", "store_lifespan"):
        return getattr(import_module("veritas_peewee.fastapi"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
