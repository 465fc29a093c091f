"""The SQL by hand for an event and its effect, which aiosqlite and sqlite3 run alike."""

from __future__ import annotations

from benchmarks.effects import Effect, Taken
from benchmarks.sample import Row, insert_sql, stored, stored_row

Ready = list[tuple[str, list[tuple[object, ...]]]]
"""(SQL, rows) of one or more statements."""


def statements(owner: str, taken: Taken) -> Ready:
    """The event's INSERT, and the statements of its effect; together they are one transaction."""
    row = taken.row(owner)
    ready: Ready = [(insert_sql("audit_events", row), [stored_row(row)])]
    if (effect := taken.effect) is not None:
        if effect.findings:
            ready.append(_findings(effect.findings))
        if effect.screenshots:
            sql = insert_sql("audit_screenshots", effect.screenshots[0])
            ready.append((sql, [stored_row(one) for one in effect.screenshots]))
        if (update := _update(owner, effect, stored(taken.when))) is not None:
            ready.append(update)
    return ready


def _findings(findings: list[Row]) -> tuple[str, list[tuple[object, ...]]]:
    columns = findings[0]
    sql = (
        f"INSERT INTO audit_findings ({', '.join(columns)}) SELECT {', '.join('?' * len(columns))} "
        "WHERE NOT EXISTS (SELECT 1 FROM audit_findings "
        "WHERE audit_id = ? AND pattern_type = ? AND description = ?)"
    )
    same = "audit_id", "pattern_type", "description"
    return sql, [(*stored_row(one), *(one[name] for name in same)) for one in findings]


def _update(owner: str, effect: Effect, now: object) -> tuple[str, list[tuple[object, ...]]] | None:
    """The UPDATE of the audit's row; screenshots are counted by the file's own trigger."""
    if effect.starts:
        sql = (
            "UPDATE audits SET status = 'running', started_at = ?, updated_at = ? "
            "WHERE id = ? AND status = 'queued'"
        )
        return sql, [(now, now, owner)]
    terms = [f"{name} = ?" for name in effect.columns]
    values = [stored(value) for value in effect.columns.values()]
    if effect.columns.get("status") == "completed":
        terms.append("completed_at = coalesce(completed_at, ?)")
        values.append(now)
    if effect.results:
        terms.append("security_results = json_patch(security_results, ?)")
        values.append(stored(effect.results))
    if not (terms or effect.screenshots):
        return None
    sql = f"UPDATE audits SET {', '.join([*terms, 'updated_at = ?'])} WHERE id = ?"
    return sql, [(*values, now, owner)]
