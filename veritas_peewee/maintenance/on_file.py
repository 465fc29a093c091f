"""An operator's work on a file of SQLite's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite import current_sqlite
from veritas_peewee.database.statements import execute
from veritas_peewee.errors import DatabaseCorrupt
from veritas_peewee.ledger import seals
from veritas_peewee.ledger.problems import Problems
from veritas_peewee.maintenance import freeing, own_tables
from veritas_peewee.maintenance.freeing import give_back_some as give_back_some
from veritas_peewee.maintenance.freeing import size_here as size
from veritas_peewee.maintenance.remaking import settle as settle
from veritas_peewee.maintenance.verified import Report
from veritas_peewee.migrations import history, parts

__all__ = ["give_back_some", "settle", "size"]

_OF_AN_INDEX = re.compile(r"(?<!inverted )\bindex\b")
"""In a message about an index of SQLite's own, not about the words of FTS5."""


# ---- verify ----


def check_storage(report: Report) -> None:
    """Check what the backend itself promises: pages, indexes, foreign keys."""
    database = current_database()
    with report.part(database.storage):
        for text in _troubles():
            report.problems.add(f"SQLite: {text}")
    for table, row, parent, _ in database.execute_sql("PRAGMA foreign_key_check").fetchall():
        report.problems.add(f"row {row} of {table} belongs to a row of {parent} that is missing")


def check_schema(report: Report) -> None:
    """Compare the schema with this version's."""
    database = current_sqlite("verify")
    found = parts.differences(database)
    report.problems += parts.disagreements(database, found)
    report.notes += parts.notes(database, found.harmless)


def check_counter(problems: Problems, newest: int, start: int) -> None:
    """Check what counts the ids of events; `newest` is the newest id, and up to `start` events have
    come in any order."""
    counter = execute(
        "SELECT CASE typeof(seq) WHEN 'integer' THEN seq END FROM sqlite_sequence "
        "WHERE name = ?", ("audit_events",)
    )  # fmt: skip
    sound = counter == [(newest,)]
    if newest <= start:  # older files, and imports, can have counted further
        sound = not newest or (len(counter) == 1 and (counter[0][0] or 0) >= newest)
    if not sound:
        problems.add(f"the newest event is {newest}, and SQLite's counter of them is not")


def check_own_tables(problems: Problems) -> None:
    """Check the store's own notes, value by value, and its record of migrations."""
    own_tables.check(problems, own_tables.IN_A_FILE)
    if trouble := history.read(current_sqlite("verify")).trouble:
        problems.add(trouble)


def _troubles() -> Iterator[str]:
    """What SQLite finds in the pages, the indexes, and from 3.44 on in the full-text index.

    If it cannot open that one, this ends with its error, after all that is about others.
    """
    for (text,) in current_database().each_row("PRAGMA integrity_check(100)", ()):
        if text != "ok":
            yield text


# ---- repair ----


def mend_storage() -> list[str]:
    """Make indexes again that disagree with their tables; returns what was done, in words."""
    found: list[str] = []
    try:
        found += _troubles()
    except DRIVER_ERRORS as error:
        if not isinstance(store_error(error), DatabaseCorrupt):
            raise
        # The full-text index, which is made again with the catalog.
    if not any(_OF_AN_INDEX.search(text) for text in found):
        return []
    current_database().execute_sql("REINDEX")
    return ["built all indexes again"]


def fill_hosts() -> int:
    """Give each audit the host of its url; returns how many had another one."""
    return seals.fill_hosts(current_database())


def unnamed_images() -> list[str]:
    """The images in the database itself that no row names: here they are in a folder."""
    return []


def remove_unnamed() -> list[str]:
    """Remove those; returns their names."""
    return []


# ---- prune ----


def refuse_vacuum() -> None:
    """Raise StoreError if the whole database cannot be rewritten here; it names another way."""


def give_back(*, vacuum: bool) -> None:
    """Give free space back to the file system; with `vacuum` all of it, at once."""
    freeing.give_back(current_sqlite("freeing space"), vacuum)
