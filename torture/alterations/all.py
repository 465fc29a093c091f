"""All changes of a specimen, in an order that depends on nothing but the specimen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torture.alterations import cells, images, parts, rows, whole
from torture.alterations.change import Change
from torture.alterations.specimens import Specimen
from torture.alterations.tables import Table, tables_of

FIRST = "recorded"


class Breadth(NamedTuple):
    """How many rows of a table are changed: column by column, and as a whole."""

    cells: int
    rows: int
    of_each: int


def changes_of(specimen: Specimen) -> list[Change]:
    return list(_changes(specimen))


def _changes(specimen: Specimen) -> Iterator[Change]:
    with specimen.opened() as connection:
        tables = tables_of(connection)
        for table in tables:
            if (breadth := _breadth(specimen, table)) is not None:
                yield from cells.changes(connection, table, breadth.cells, 1)
                yield from rows.changes(connection, table, breadth.rows, breadth.of_each)
        yield from images.changes(connection, specimen.folder / "screenshots", 4)
        yield from whole.changes(connection)
        if specimen.name == FIRST:
            yield from parts.changes(connection, tables)


def _breadth(specimen: Specimen, table: Table) -> Breadth | None:
    """In the first specimen all tables; in the others what another way of coming in can change."""
    if specimen.name == FIRST:
        of_audits = table.owner is not None
        return Breadth(4, 8, 2) if of_audits else Breadth(2, 2, 1)
    if specimen.name == "without-images":
        is_about = table.name in ("audit_screenshots", "absent_images")
        return Breadth(2, 4, 2) if is_about else None
    is_about = table.owner is not None or (specimen.name, table.name) == (
        "imported",
        "import_heads",
    )
    return Breadth(1, 4, 2) if is_about else None
