"""What the store does, for scripts: the functions of `AuditStore` under their names.

    from veritas_peewee import connect, sync

    with connect("audits.db"):
        audit = sync.ingest("result.json")
        print(audit.trust_score, [finding.description for finding in audit.findings])

They work on the database that is open here: inside `with connect(path):`, and inside the functions
that are given to `store.write(fn)` and `store.read(fn)`; elsewhere they raise NoDatabase.
Arguments, results and errors are those of the store's methods; each one that writes is all or
nothing, also within a transaction, in which only a checkpoint is not signed. Results are loaded:
using them runs no query. `follow` and `follow_all` are iterated with `for`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veritas_peewee.evidence.checkpoints import head as head
    from veritas_peewee.following.polling import follow as follow
    from veritas_peewee.following.polling import follow_all as follow_all
    from veritas_peewee.maintenance.verify import verify_audit as verify
    from veritas_peewee.presentation.report import report_html as report
    from veritas_peewee.queries.comparison import compare as compare
    from veritas_peewee.queries.counting import count as count
    from veritas_peewee.queries.counting import facets as facets
    from veritas_peewee.queries.history import history as history
    from veritas_peewee.queries.lookups import details as details
    from veritas_peewee.queries.lookups import events as events
    from veritas_peewee.queries.lookups import get as get
    from veritas_peewee.queries.lookups import screenshot as screenshot
    from veritas_peewee.queries.search import search as search
    from veritas_peewee.queries.trends import trend as trend
    from veritas_peewee.recording.ingest import ingest as ingest
    from veritas_peewee.recording.operations import claim as claim
    from veritas_peewee.recording.operations import create as create
    from veritas_peewee.recording.operations import update as update
    from veritas_peewee.recording.operations import update_status as update_status
    from veritas_peewee.recording.recorder import record as record
    from veritas_peewee.recording.recorder import record_many as record_many
    from veritas_peewee.recording.removal import delete as delete
    from veritas_peewee.transfer.bags import export_bag as export_bag
    from veritas_peewee.transfer.exporting import export_jsonl as export
    from veritas_peewee.transfer.importing import import_jsonl as import_

__all__ = [
    "claim",
    "compare",
    "count",
    "create",
    "delete",
    "details",
    "events",
    "export",
    "export_bag",
    "facets",
    "follow",
    "follow_all",
    "get",
    "head",
    "history",
    "import_",
    "ingest",
    "record",
    "record_many",
    "report",
    "screenshot",
    "search",
    "trend",
    "update",
    "update_status",
    "verify",
]


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # so that a type checker reports any other name

    def __getattr__(name: str) -> Any:
        # Called once for a name: from then on it is found without this function.
        from veritas_peewee.database.current import with_own_errors

        found = globals()[name] = with_own_errors(_load(name))
        return found


def _load(name: str) -> Any:
    """The function of this name, by import statements, because import-linter sees only those."""
    match name:
        case "claim" | "create" | "update" | "update_status":
            from veritas_peewee.recording import operations

            return getattr(operations, name)
        case "delete":
            from veritas_peewee.recording.removal import delete

            return delete
        case "record" | "record_many":
            from veritas_peewee.recording import recorder

            return getattr(recorder, name)
        case "ingest":
            from veritas_peewee.recording.ingest import ingest

            return ingest
        case "details" | "events" | "get" | "screenshot":
            from veritas_peewee.queries import lookups

            return getattr(lookups, name)
        case "verify":
            from veritas_peewee.maintenance.verify import verify_audit

            return verify_audit
        case "history":
            from veritas_peewee.queries.history import history

            return history
        case "search":
            from veritas_peewee.queries.search import search

            return search
        case "count" | "facets":
            from veritas_peewee.queries import counting

            return getattr(counting, name)
        case "compare":
            from veritas_peewee.queries.comparison import compare

            return compare
        case "trend":
            from veritas_peewee.queries.trends import trend

            return trend
        case "follow" | "follow_all":
            from veritas_peewee.following import polling

            return getattr(polling, name)
        case "head":
            from veritas_peewee.evidence.checkpoints import head

            return head
        case "export":
            from veritas_peewee.transfer.exporting import export_jsonl

            return export_jsonl
        case "export_bag":
            from veritas_peewee.transfer.bags import export_bag

            return export_bag
        case "import_":
            from veritas_peewee.transfer.importing import import_jsonl

            return import_jsonl
        case "report":
            from veritas_peewee.presentation.report import report_html

            return report_html
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
