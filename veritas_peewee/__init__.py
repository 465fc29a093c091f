"""The store of VERITAS's audits: Peewee models on SQLite, one writer thread, an async facade."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veritas_peewee import sync as sync
    from veritas_peewee.config import DATABASE_URL as DATABASE_URL
    from veritas_peewee.errors import AuditNotFound as AuditNotFound
    from veritas_peewee.errors import DatabaseCorrupt as DatabaseCorrupt
    from veritas_peewee.errors import InvalidAudit as InvalidAudit
    from veritas_peewee.errors import NoDatabase as NoDatabase
    from veritas_peewee.errors import NotProven as NotProven
    from veritas_peewee.errors import ReadOnlyStore as ReadOnlyStore
    from veritas_peewee.errors import SchemaTooNew as SchemaTooNew
    from veritas_peewee.errors import ScreenshotNotFound as ScreenshotNotFound
    from veritas_peewee.errors import StaleToken as StaleToken
    from veritas_peewee.errors import StoreBusy as StoreBusy
    from veritas_peewee.errors import StoreClosed as StoreClosed
    from veritas_peewee.errors import StoreError as StoreError
    from veritas_peewee.errors import StoreFull as StoreFull
    from veritas_peewee.errors import StoreMoved as StoreMoved
    from veritas_peewee.errors import WriteUndone as WriteUndone
    from veritas_peewee.evidence.bag_check import BagReport as BagReport
    from veritas_peewee.evidence.bag_check import check_bag as check_bag
    from veritas_peewee.evidence.checkpoints import Checkpoint as Checkpoint
    from veritas_peewee.following.follower import Follower as Follower
    from veritas_peewee.ledger.heads import Head as Head
    from veritas_peewee.models import Audit as Audit
    from veritas_peewee.models import AuditEvent as AuditEvent
    from veritas_peewee.models import AuditFinding as AuditFinding
    from veritas_peewee.models import AuditScreenshot as AuditScreenshot
    from veritas_peewee.presentation.report import report_html as report_html
    from veritas_peewee.queries.comparison import Comparison as Comparison
    from veritas_peewee.queries.counting import NO_VALUE as NO_VALUE
    from veritas_peewee.queries.counting import Facets as Facets
    from veritas_peewee.queries.filters import Filters as Filters
    from veritas_peewee.queries.paging import Page as Page
    from veritas_peewee.queries.search import Hit as Hit
    from veritas_peewee.queries.snippets import Snippet as Snippet
    from veritas_peewee.queries.trends import Trend as Trend
    from veritas_peewee.queries.trends import TrendPoint as TrendPoint
    from veritas_peewee.startup import connect as connect
    from veritas_peewee.startup import init_database as init_database
    from veritas_peewee.store import AuditStore as AuditStore
    from veritas_peewee.store import WriterStats as WriterStats
    from veritas_peewee.transfer.exporting import export_jsonl as export_jsonl
    from veritas_peewee.transfer.importing import import_jsonl as import_jsonl
    from veritas_peewee.transfer.stores import CopyReport as CopyReport
    from veritas_peewee.transfer.stores import copy_store as copy_store
    from veritas_peewee.transfer.tables import export_csv as export_csv
    from veritas_peewee.values.columns import AuditChanges as AuditChanges
    from veritas_peewee.values.named import as_dict as as_dict
    from veritas_peewee.values.states import AuditStatus as AuditStatus
    from veritas_peewee.values.states import Ended as Ended
    from veritas_peewee.values.states import Severity as Severity
    from veritas_peewee.web import get_store as get_store
    from veritas_peewee.web import store_lifespan as store_lifespan

__version__ = "0.2.0"

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
    "BagReport",
    "Checkpoint",
    "Comparison",
    "CopyReport",
    "DatabaseCorrupt",
    "Ended",
    "Facets",
    "Filters",
    "Follower",
    "Head",
    "Hit",
    "InvalidAudit",
    "NoDatabase",
    "NotProven",
    "Page",
    "ReadOnlyStore",
    "SchemaTooNew",
    "ScreenshotNotFound",
    "Severity",
    "Snippet",
    "StaleToken",
    "StoreBusy",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "StoreMoved",
    "Trend",
    "TrendPoint",
    "WriteUndone",
    "WriterStats",
    "as_dict",
    "check_bag",
    "connect",
    "copy_store",
    "export_csv",
    "init_database",
    "sync",
]

# Each module is loaded when the first of its names is asked for; the block above says the same to
# type checkers.
_MODULES = {
    "config": ("DATABASE_URL",),
    "errors": (
        "AuditNotFound",
        "DatabaseCorrupt",
        "InvalidAudit",
        "NoDatabase",
        "NotProven",
        "ReadOnlyStore",
        "SchemaTooNew",
        "ScreenshotNotFound",
        "StaleToken",
        "StoreBusy",
        "StoreClosed",
        "StoreError",
        "StoreFull",
        "StoreMoved",
        "WriteUndone",
    ),
    "evidence.bag_check": ("BagReport", "check_bag"),
    "evidence.checkpoints": ("Checkpoint",),
    "following.follower": ("Follower",),
    "ledger.heads": ("Head",),
    "models": ("Audit", "AuditEvent", "AuditFinding", "AuditScreenshot"),
    "presentation.report": ("report_html",),
    "queries.comparison": ("Comparison",),
    "queries.counting": ("NO_VALUE", "Facets"),
    "queries.filters": ("Filters",),
    "queries.paging": ("Page",),
    "queries.search": ("Hit",),
    "queries.snippets": ("Snippet",),
    "queries.trends": ("Trend", "TrendPoint"),
    "startup": ("connect", "init_database"),
    "store": ("AuditStore", "WriterStats"),
    "transfer.exporting": ("export_jsonl",),
    "transfer.importing": ("import_jsonl",),
    "transfer.stores": ("CopyReport", "copy_store"),
    "transfer.tables": ("export_csv",),
    "values.columns": ("AuditChanges",),
    "values.named": ("as_dict",),
    "values.states": ("AuditStatus", "Ended", "Severity"),
    "web": ("get_store", "store_lifespan"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
_PUBLIC = ("config", "errors", "models", "sync", "testing", "web")
"""Modules that are attributes of the package without an import of their own."""


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, *_PUBLIC})


if not TYPE_CHECKING:  # so that a type checker reports any other name

    def __getattr__(name: str) -> Any:
        if name in _PUBLIC:
            return import_module(f"veritas_peewee.{name}")
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # Called once for a name: from then on it is found without this function.
        found = globals()[name] = getattr(import_module(f"veritas_peewee.{_MODULE_OF[name]}"), name)
        return found
