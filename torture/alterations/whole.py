"""Changes that hide a loss: an audit is removed with every trace, and the rest is set to fit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torture.alterations.change import Act, Change, Connection
from torture.alterations.tables import tables_of

ZEROS = "0" * 64
_NEWEST = (
    "SELECT MAX(id) FROM (SELECT id FROM audit_events "
    "UNION ALL SELECT event_id FROM removed_events)"
)


def changes(connection: Connection) -> Iterator[Change]:
    audits = [
        row[0]
        for row in connection.execute(
            "SELECT audit_id FROM audit_events GROUP BY audit_id ORDER BY MAX(id)"
        )
    ]
    everyone = frozenset(row[0] for row in connection.execute("SELECT id FROM audits"))
    for which, audit in (("newest", audits[-1]), ("oldest", audits[0])):
        what, touched = f"the {which} audit", frozenset((audit,))
        yield Change(what, "removed as the library does", "", _removed(audit), touched)
        yield Change(what, "removed without a trace", "", _untraced(audit), touched)
        fitting = _all_of(_untraced(audit), _counter, _fitting_heads)
        yield Change(what, "removed without a trace, counters fitting", "", fitting, touched)
        zeros = _all_of(_untraced(audit), _counter, _zeros)
        yield Change(what, "removed without a trace, under a head of zeros", "", zeros, touched)
    for how, act in (
        ("of zeros for the newest event", _zeros),
        ("of zeros for the first event", _first_zeros),
        ("of zeros besides the others", _more_zeros),
        ("for an event to come", _to_come),
    ):
        yield Change("a head", how, "", act, everyone)


def _all_of(*acts: Act) -> Act:
    def act(connection: Connection, folder: Path) -> None:
        for one in acts:
            one(connection, folder)

    return act


def _removed(audit: str) -> Act:
    def act(connection: Connection, _: Path) -> None:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM audits WHERE id = ?", (audit,))
        connection.execute("PRAGMA foreign_keys = OFF")

    return act


def _untraced(audit: str) -> Act:
    def act(connection: Connection, folder: Path) -> None:
        _removed(audit)(connection, folder)
        for table in tables_of(connection):
            if table.owner == "audit_id" and not table.virtual and not table.shadow:
                sql = f'DELETE FROM "{table.name}" WHERE audit_id = ?'
                connection.execute(sql, (audit,))

    return act


def _counter(connection: Connection, _: Path) -> None:
    """SQLite's counter of events is that of the newest one that is left."""
    connection.execute(f"UPDATE sqlite_sequence SET seq = ({_NEWEST}) WHERE name = 'audit_events'")


def _fitting_heads(connection: Connection, _: Path) -> None:
    connection.execute(f"DELETE FROM store_heads WHERE event_id > ({_NEWEST})")


def _zeros(connection: Connection, _: Path) -> None:
    connection.execute("DELETE FROM store_heads")
    connection.execute(f"INSERT INTO store_heads VALUES (({_NEWEST}), '{ZEROS}')")


def _first_zeros(connection: Connection, _: Path) -> None:
    connection.execute("DELETE FROM store_heads")
    connection.execute(f"INSERT INTO store_heads VALUES (1, '{ZEROS}')")


def _more_zeros(connection: Connection, _: Path) -> None:
    connection.execute(f"INSERT INTO store_heads VALUES (({_NEWEST}), '{ZEROS}')")


def _to_come(connection: Connection, _: Path) -> None:
    connection.execute(f"INSERT INTO store_heads VALUES (({_NEWEST}) + 500, '{ZEROS}')")
