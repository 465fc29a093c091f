"""What the store knows of each type of event: `KINDS`, the one table of them.

A new type of event is an entry in this table, and a function above it if the event changes rows;
no other module has to name the type. The table imports everything that an effect uses, and is
imported by everything that asks about types: `preparing` and `recorder` (what an event costs and
does, and whether it closes the audit) and `ingest` (which events name the audit and its url). The
command line and the reports show any type, whether it is in the table or not.

An event of a type that is not in the table is recorded and has no effect, so that a newer engine
does not break an older store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from veritas_peewee.models import Audit, AuditStatus
from veritas_peewee.recording import finding_rows, result_effects
from veritas_peewee.recording.output import IMAGE_EVENT, RESULT_EVENT, Event
from veritas_peewee.recording.projection import Projection
from veritas_peewee.recording.result import TIMES
from veritas_peewee.values.details import SEALED
from veritas_peewee.values.plain import named, shown


@dataclass(frozen=True, slots=True)
class Kind:
    """What the store knows of a type of event; by default, what it assumes of an unknown type.

    An effect depends on the stored event, its time and the rows before it, and on nothing else:
    otherwise replaying a log would not give the same rows.
    """

    effect: Callable[[Projection, Event], None] | None = None
    """What an event of this type does to the rows; None if it does nothing."""
    unless: Callable[[Projection], bool] | None = None
    """Whether the effect would change nothing, whatever the event says: then it is not decoded."""
    closes: bool = False
    """Whether the audit has ended when this event sets a final status. After any other event that
    sets one, its runner has more to tell (`audit_result` comes before `audit_complete`)."""
    heavy: bool = False
    """Whether preparing such an event may take long, however short its texts are."""
    has_image: bool = False
    """Whether it brings an image, which becomes a file; the stored event has a reference to it."""
    has_url: bool = False
    """Whether the event's `result.url` is the address of the audit."""
    names_audit: bool = False
    """Whether the event's `audit_id` is the id that the engine gave the audit."""
    is_ours: bool = False
    """Whether the store alone makes such an event: from anybody else it is refused, because it
    would be taken for the store's own word."""


def _is_begun(rows: Projection) -> bool:
    return bool(rows.state["status"] != AuditStatus.QUEUED)


def _phase_start(rows: Projection, event: Event) -> None:
    if not _is_begun(rows):
        rows.changes["status"] = AuditStatus.RUNNING


def _phase_error(rows: Projection, event: Event) -> None:
    text = rows.text(event, "error", "") or rows.text(event, "message", "")
    rows.errors.append(text or f"phase {event.get('phase')!s:.50} failed")


def _site_type(rows: Projection, event: Event) -> None:
    rows.take("site_type", event.get("site_type"), "site_type.site_type")
    if (confidence := event.get("confidence")) is not None:
        rows.take("site_type_confidence", confidence, "site_type.confidence")


def _security_result(rows: Projection, event: Event) -> None:
    module, result = event.get("module"), event.get("result")
    if not isinstance(module, str) or not module:
        rows.errors.append(f"security_result.module: must be text, got {shown(module)}")
    elif not isinstance(result, dict):
        rows.errors.append(
            f"security_result.result ({named(module[:50])}): must be an object, got {shown(result)}"
        )
    else:
        rows.added_results[module] = result


def _stats_update(rows: Projection, event: Event) -> None:
    stats = event.get("stats")
    if not isinstance(stats, dict):
        rows.errors.append(f"stats_update.stats: must be an object, got {shown(stats)}")
        return
    for name in ("pages_scanned", "elapsed_seconds"):
        if stats.get(name) is not None:
            rows.take(name, stats[name], "stats_update.stats")


def _screenshot(rows: Projection, event: Event) -> None:
    reference = event.get("data")
    if not isinstance(reference, dict):
        return
    if isinstance(error := reference.get("error"), str):
        rows.errors.append(error)
        return
    if not all(isinstance(reference.get(name), str) for name in ("file", "media_type", "sha256")):
        rows.errors.append(f"screenshot.data: refers to no stored image: {shown(reference)}")
        return
    label, index, when = event.get("label"), event.get("index"), rows.when
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < 2**63:
        rows.errors.append(f"screenshot.index: must be a whole number, got {shown(index)}")
        index = 0
    if isinstance(taken := reference.get("taken_at"), str):
        when = datetime.fromisoformat(taken)
    elif (given := event.get("taken_at")) is not None:
        rows.errors.append(
            f"screenshot {shown(label)}.taken_at: must be {TIMES}, got {shown(given)}; "
            "the time at which it was stored stands for it"
        )
    rows.add_screenshot(
        {
            "file_path": reference["file"],
            "label": label if isinstance(label, str) and label else f"screenshot {index}",
            "index_num": index,
            "file_size_bytes": reference.get("size"),
            "media_type": reference["media_type"],
            "sha256": reference["sha256"],
        },
        when,
    )
    rows.changes["updated_at"] = rows.when


def _audit_complete(rows: Projection, event: Event) -> None:
    aborted = rows.state["status"] == AuditStatus.ERROR and result_effects.was_aborted(rows)
    rows.changes["status"] = AuditStatus.ERROR if aborted else AuditStatus.COMPLETED
    if (elapsed := event.get("elapsed")) is not None:
        rows.take("elapsed_seconds", elapsed, "audit_complete.elapsed")


def _audit_error(rows: Projection, event: Event) -> None:
    text = rows.text(event, "error", "unknown error")
    rows.changes |= {"status": AuditStatus.ERROR, "error_message": text}
    rows.errors.append(text)


def _audit_disconnected(rows: Projection, event: Event) -> None:
    text = rows.text(event, "error", "the engine went away")
    rows.changes["status"] = AuditStatus.DISCONNECTED
    rows.errors.append(text)


def _audit_update(rows: Projection, event: Event) -> None:
    changes = event.get("changes")
    for name, value in changes.items() if isinstance(changes, dict) else ():
        if name in ("started_at", "completed_at") and isinstance(value, str):
            # A text that is not a time stays text, which `take` refuses.
            value = Audit._meta.fields[name].python_value(value)
        rows.take(name, value, "audit_update")


KINDS: dict[str, Kind] = {
    "phase_start": Kind(_phase_start, unless=_is_begun),
    "phase_error": Kind(_phase_error),
    IMAGE_EVENT: Kind(_screenshot, heavy=True, has_image=True),
    "site_type": Kind(_site_type),
    "security_result": Kind(_security_result),
    "finding": Kind(finding_rows.add_reported),
    "stats_update": Kind(_stats_update),
    "audit_result": Kind(result_effects.audit_result, heavy=True, has_url=True),
    "audit_complete": Kind(_audit_complete, closes=True, names_audit=True),
    "audit_error": Kind(_audit_error, closes=True, names_audit=True),
    # The engine still has to end: whoever reads its output says when (`recorder.end_of_output`).
    RESULT_EVENT: Kind(result_effects.engine_result, heavy=True, has_url=True),
    "audit_disconnected": Kind(_audit_disconnected, closes=True),
    "audit_update": Kind(_audit_update, closes=True),
    SEALED: Kind(is_ours=True),  # it states the rows as they are
}

UNKNOWN = Kind()


def kind_named(event_type: str | None) -> Kind:
    """What the store knows of a type of event; `UNKNOWN` for a type that is not in the table."""
    return KINDS.get(event_type, UNKNOWN) if event_type is not None else UNKNOWN
