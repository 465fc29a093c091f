"""What a file's schema has that is not ours, what it lacks of ours, and what of ours is altered.

Another program's trigger or index on our tables changes what we write, or stops it, and we would
seal what it made of it: nothing is written while there is one. Our own triggers, indexes and views
are derived, so they are made again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.errors import ReadOnlyStore, StoreError
from veritas_peewee.migrations.fresh import (
    DIGEST,
    FORMER,
    SEARCH_CONTENT,
    Part,
    are_alike,
    digest_of,
    fresh_parts,
    our_columns,
    our_names,
    parts_of,
)

_LITESTREAM = frozenset(("_litestream_seq", "_litestream_lock"))
_SHOWN = 10
"""The most parts that one message names."""


@dataclass(slots=True)
class Differences:
    """How a file's schema differs from this version's."""

    acting: list[Part] = field(default_factory=list)
    """What is not ours and acts on what we write."""
    harmless: list[Part] = field(default_factory=list)
    """What else is not ours."""
    missing: list[Part] = field(default_factory=list)
    """What the file lacks of ours, as a new file has it."""
    altered: list[Part] = field(default_factory=list)
    """What differs from ours, as the file has it."""

    def __bool__(self) -> bool:
        """Whether there is anything to do before the file is written."""
        return bool(self.acting or self.missing or self.altered)

    @property
    def tables(self) -> list[Part]:
        """Our tables that are missing or altered."""
        return [part for part in (*self.missing, *self.altered) if part.kind == "table"]


def schema_version(database: SqliteStore) -> int:
    """SQLite's own count of the changes of the schema."""
    return int(database.raw.execute("PRAGMA schema_version").fetchone()[0])


def differences(database: SqliteStore) -> Differences:
    """How the database's schema differs from this version's."""
    ours: dict[tuple[str, str], Part] = {}
    found = Differences()
    names = our_names()
    for part in parts_of(database):
        if (key := part.key) in names:
            ours[key] = part
        elif _acts(database, part):
            found.acting.append(part)
        else:
            found.harmless.append(part)
    if len(ours) == len(names) and digest_of(ours.values()) == DIGEST:
        return found
    # A user's own table that has the name of one of our views is left alone, if we do not read it.
    taken = {("view", part.name.lower()) for part in found.harmless} - {("view", SEARCH_CONTENT)}
    for key, wanted in sorted(fresh_parts().items()):
        if (present := ours.get(key)) is not None:
            if not are_alike(present, wanted):
                found.altered.append(present)
        elif key not in taken:
            found.missing.append(wanted)
    return found


def _acts(database: SqliteStore, part: Part) -> bool:
    """Whether another program's part acts on what we write."""
    if part.kind not in ("trigger", "index") or FORMER.get(part.key) == part.text:
        return False
    table = part.table.lower()
    if our_names() & {("table", table), ("view", table)}:
        return True
    # A change of our rows reaches the rows that depend on them by a foreign key.
    return part.kind == "trigger" and bool(_foreign_keys(database, part.table))


def _foreign_keys(database: SqliteStore, table: str) -> list[tuple[str, str]]:
    """The tables that a table depends on, each with what happens when a row there is removed."""
    found = database.execute_sql(f"PRAGMA main.foreign_key_list({quoted(table)})").fetchall()
    return [(row[2], row[6]) for row in found]


def quoted(name: str) -> str:
    """A name as a statement has it, whatever it contains."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _removal(part: Part) -> str:
    return f"DROP {part.kind.upper()} {quoted(part.name)}"


def refuse_acting(database: SqliteStore, found: Differences) -> None:
    """Raise ReadOnlyStore if another program's parts act on what we write; it names them."""
    if not found.acting:
        return
    named = ", ".join(map(str, found.acting[:_SHOWN]))
    if len(found.acting) > _SHOWN:
        named += f" and {len(found.acting) - _SHOWN} more"
    raise ReadOnlyStore(
        f"{database.name}: not of this library, and acts on what it writes: {named}; nothing is "
        f"written until it is removed: {'; '.join(map(_removal, found.acting[:_SHOWN]))}"
    )


def refuse_tables(database: SqliteStore, found: Differences) -> None:
    """Raise ReadOnlyStore if tables of ours are missing or altered; it names them."""
    if found.tables:
        names = ", ".join(_with_lost(database, part.name) for part in found.tables[:_SHOWN])
        raise ReadOnlyStore(
            f"{database.name}: not as this version makes it, or missing: the table {names}; "
            "nothing is written until `veritas-peewee verify --fix` has made it again"
        )


def _with_lost(database: SqliteStore, table: str) -> str:
    """A table's name, with the columns of ours that it has not any more."""
    lost = lost_columns(database, table)
    return f"{table} (without its column {', '.join(lost)})" if lost else table


def lost_columns(database: SqliteStore, table: str) -> list[str]:
    """The columns of ours that a table of ours which is there lacks."""
    rows = database.execute_sql(f"PRAGMA main.table_info({quoted(table)})").fetchall()
    present = {row[1].lower() for row in rows}
    return [
        name for name in our_columns().get(table.lower(), ()) if present and name not in present
    ]


def refuse_columns(database: SqliteStore, table: str, ours: Iterable[str]) -> None:
    """Raise ReadOnlyStore if a table has other columns than `ours` and there are values in them."""
    rows = database.execute_sql(f"PRAGMA main.table_info({quoted(table)})").fetchall()
    known = set(ours)
    for name in [row[1] for row in rows if row[1].lower() not in known]:
        sql = f"SELECT 1 FROM main.{quoted(table)} WHERE {quoted(name)} IS NOT NULL LIMIT 1"
        if database.execute_sql(sql).fetchall():
            lost, renamed = lost_columns(database, table), ""
            if len(lost) == 1:
                change = f"RENAME COLUMN {quoted(name)} TO {quoted(lost[0])}"
                renamed = f"; or if it is our {lost[0]}, ALTER TABLE {quoted(table)} {change}"
            raise ReadOnlyStore(
                f"{database.name}: the table {table} has a column {name} that is not of this "
                "library, and there are values in it: copy them to a table of your own, then "
                f"ALTER TABLE {quoted(table)} DROP COLUMN {quoted(name)}{renamed}"
            )


def mend(database: SqliteStore, found: Differences) -> list[str]:
    """Make indexes, triggers and views of ours again; returns what was done, in words.

    The caller must have begun a transaction. Raises the store's error if one cannot be made.
    """
    done = []
    try:
        for part in found.altered:
            if part.kind != "table":
                database.execute_sql(_removal(part))
                database.execute_sql(fresh_parts()[part.key].text)
                done.append(f"the {part.kind} {part.name} was altered, and is made again")
        for part in found.missing:
            if part.kind != "table":
                database.execute_sql(part.text)
                done.append(f"the {part.kind} {part.name} was missing, and is made again")
    except DRIVER_ERRORS as error:
        known = store_error(error, database.name)
        if known is not None and type(known) is not StoreError:
            raise known from error
        raise ReadOnlyStore(f"{database.name}: {part} cannot be made again: {error}") from error
    return done


# ---- in words ----


def disagreements(database: SqliteStore, found: Differences) -> list[str]:
    """A message for each part that is missing, altered, or acts without being ours."""
    return [
        *(f"{part} is not of this library and acts on what it writes: {_removal(part)}"
          for part in found.acting),
        *(f"the {part.kind} {part.name} is missing" for part in found.missing),
        *(f"the schema of {part.name} is not that of this version{_lost(database, part)}"
          for part in found.altered),
    ]  # fmt: skip


def _lost(database: SqliteStore, part: Part) -> str:
    lost = lost_columns(database, part.name) if part.kind == "table" else []
    return f": it has no column {', '.join(lost)}" if lost else ""


def notes(database: SqliteStore, parts: Iterable[Part]) -> list[str]:
    """A message for each part that is not ours and does not act on what we write."""
    return [f"{part} is {_whose(database, part)}" for part in parts]


def _whose(database: SqliteStore, part: Part) -> str:
    if part.name in _LITESTREAM:
        return "Litestream's, which replicates this file"
    text = "not of this library, and does not act on what it writes"
    if part.kind == "table":
        for table, action in _foreign_keys(database, part.name):
            if ("table", table.lower()) in our_names():
                if action in ("NO ACTION", "RESTRICT"):
                    return f"{text}, but its rows keep those of {table} from being removed"
                text += f"; a removal from {table} changes it"
    return text
