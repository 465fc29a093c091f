"""The store of VERITAS's audits: Peewee models on SQLite, one writer thread, an async facade."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from veritas_peewee.comparison import Comparison
from veritas_peewee.config import DATABASE_URL
from veritas_peewee.counting import Facets
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
from veritas_peewee.filters import Filters
from veritas_peewee.following import Follower
from veritas_peewee.models import (
    Audit,
    AuditEvent,
    AuditFinding,
    AuditScreenshot,
    AuditStatus,
    Severity,
)
from veritas_peewee.paging import Page
from veritas_peewee.search import Hit, Snippet
from veritas_peewee.startup import connect, init_database
from veritas_peewee.store import AuditStore
from veritas_peewee.trends import Trend, TrendPoint
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
    "Comparison",
    "DatabaseCorrupt",
    "Facets",
    "Filters",
    "Follower",
    "Hit",
    "InvalidAudit",
    "NoDatabase",
    "Page",
    "ReadOnlyStore",
    "SchemaTooNew",
    "Severity",
    "Snippet",
    "StoreBusy",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "Trend",
    "TrendPoint",
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
