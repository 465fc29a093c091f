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
from veritas_peewee.following.follower import Follower
from veritas_peewee.models import (
    Audit,
    AuditEvent,
    AuditFinding,
    AuditScreenshot,
    AuditStatus,
    Severity,
)
from veritas_peewee.presentation.data import as_dict
from veritas_peewee.queries.comparison import Comparison
from veritas_peewee.queries.counting import NO_VALUE, Facets
from veritas_peewee.queries.filters import Filters
from veritas_peewee.queries.paging import Page
from veritas_peewee.queries.search import Hit
from veritas_peewee.queries.snippets import Snippet
from veritas_peewee.queries.trends import Trend, TrendPoint
from veritas_peewee.startup import connect, init_database
from veritas_peewee.store import AuditStore, WriterStats

if TYPE_CHECKING:
    from veritas_peewee.presentation.report import report_html as report_html
    from veritas_peewee.transfer.exporting import export_jsonl as export_jsonl
    from veritas_peewee.transfer.importing import import_jsonl as import_jsonl
    from veritas_peewee.transfer.tables import export_csv as export_csv
    from veritas_peewee.values.columns import AuditChanges as AuditChanges
    from veritas_peewee.web import get_store as get_store
    from veritas_peewee.web import store_lifespan as store_lifespan

__version__ = "0.1.0"

__all__ = [
    "DATABASE_URL",
    "NO_VALUE",
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
    "as_dict",
    "connect",
    "init_database",
]


# Loaded only by those who ask for it (and not by `import *`).
_LATER = {
    "get_store": "web",
    "store_lifespan": "web",
    "export_jsonl": "transfer.exporting",
    "export_csv": "transfer.tables",
    "import_jsonl": "transfer.importing",
    "report_html": "presentation.report",
    "AuditChanges": "values.columns",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f"veritas_peewee.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
