"""How the schema of a store on a server differs from the one that this version makes there.

What is read of the server's catalogs is the same on every version from 15 on, and a digest over it
shows at once whether all is as it should be. If it is not, the schema is made a second time, in a
transaction that is rolled back, and the two are compared part by part.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.errors import ReadOnlyStore, StoreError
from veritas_peewee.migrations.fresh import our_columns
from veritas_peewee.migrations.server_catalog import Part, names, parts_in, schema_of, scripts

DIGEST = "53bdcf13c7bd61b20aaa08469d8bb3c3"
"""The digest of the schema as it was just made, but for its views."""
VIEWS = frozenset(("1a2ff278edd4d93e67350769710ae29c", "d7b87ed86eb06433ef028d35958c8c63"))
"""The digests of its views, which servers word in different ways: from 16 on, and 15. Whoever
changes the schema puts the new ones here; with any other the slower comparison decides."""
_NEW = "veritas_as_new"
"""The name of the schema that is made to be compared, and rolled back."""
NOT_IN_MODELS = ("words",)
"""Columns of ours that no model has."""
SHOWN = 10
"""The most parts that one message names."""
_DERIVED = ("function", "trigger", "view", "index")
"""The kinds of parts that hold no rows, so that they can be made again."""

_REFERRING = """
SELECT t.oid::regclass::text, c.conname, r.relname, c.confdeltype::text FROM pg_constraint AS c
JOIN pg_class AS r ON r.oid = c.confrelid JOIN pg_class AS t ON t.oid = c.conrelid
WHERE c.contype = 'f' AND r.relnamespace = to_regnamespace(quote_ident(?)) AND r.relname = ANY(?)
AND NOT (t.relnamespace = r.relnamespace AND t.relname = ANY(?)) ORDER BY 1, 2
"""


@dataclass(slots=True)
class Differences:
    """How the schema of a store differs from this version's."""

    acting: list[Part] = field(default_factory=list)
    """What is not ours and acts on what we write, or hides rows."""
    harmless: list[Part] = field(default_factory=list)
    """What else is not ours on our tables."""
    missing: list[Part] = field(default_factory=list)
    """What there is not of ours, as it should be."""
    altered: list[tuple[Part, Part]] = field(default_factory=list)
    """What differs of ours: as it is, and as it should be."""
    uncompared: str | None = None
    """Why missing and altered parts cannot be named, if there are any."""

    def __bool__(self) -> bool:
        return bool(self.acting or self.missing or self.altered or self.uncompared)

    @property
    def rest(self) -> list[str]:
        """What is missing or altered and cannot be made again, in words."""
        return [
            *(f"{part} is missing" for part in self.missing if part.kind not in _DERIVED),
            *(_altered(*pair) for pair in self.altered if pair[0].kind not in _DERIVED),
        ]


def digest_of(parts: Iterable[Part]) -> str:
    """A digest over the parts of a schema, in any order."""
    texts = sorted("\0".join(part) for part in parts)
    return blake2b("\1".join(texts).encode(), digest_size=16).hexdigest()


def differences(database: PostgresStore) -> Differences:
    """How the schema of the current store differs from this version's."""
    schema = schema_of(database)
    present = parts_in(database.raw.execute, schema)
    found, ours = Differences(), []
    backing = {part.key[1:] for part in present if part.kind == "constraint"}
    for part in present:
        if part.kind in ("rule", "policy") or (
            part.kind in ("trigger", "index")
            and part.name not in names()[part.kind]
            and part.key[1:] not in backing  # the index of a constraint
        ):
            (found.acting if _acts(part) else found.harmless).append(part)
        elif part.kind == "column" and _is_added(part):
            found.harmless.append(part)
        else:
            ours.append(part)
    views, others = digests_of(ours)
    if others != DIGEST or views not in VIEWS:
        _compare(database, found, {part.key: part for part in ours})
    if others == DIGEST and names()["view"] <= {part.name for part in ours}:
        found.uncompared = None  # only views can be others, in the words of a later server
    return found


def digests_of(parts: Iterable[Part]) -> tuple[str, str]:
    """The digest of the views among the parts of a schema, and that of all else."""
    by_kind: tuple[list[Part], list[Part]] = [], []
    for part in parts:
        by_kind[part.kind != "view"].append(part)
    return digest_of(by_kind[0]), digest_of(by_kind[1])


def _is_added(column: Part) -> bool:
    """Whether a column of another program's stops no row: none needs a value for it."""
    ours = our_columns().get(column.table)
    if ours is None or column.name in (*ours, *NOT_IN_MODELS):
        return False
    return "NOT NULL" not in column.text or "DEFAULT" in column.text


def _acts(part: Part) -> bool:
    """Whether another program's part acts on what we write; an index does if it can refuse rows."""
    if part.kind != "index":
        return True
    _, _, columns = part.text.partition(" USING ")
    return part.text.startswith("CREATE UNIQUE") or columns.count("(") > 1


def _compare(
    database: PostgresStore, found: Differences, ours: dict[tuple[str, str, str], Part]
) -> None:
    try:
        wanted = {part.key: part for part in fresh_parts(database)}
    except (StoreError, *DRIVER_ERRORS) as error:
        text = str(store_error(error, database.name) or error).removeprefix(f"{database.name}: ")
        found.uncompared = text
        return
    for key, part in sorted(wanted.items()):
        if (present := ours.pop(key, None)) is None:
            found.missing.append(part)
        elif present.text != part.text:
            found.altered.append((present, part))
    for part in ours.values():
        # What is left is not ours: a column that must have a value, or a constraint, stops rows.
        is_free = part.kind == "column" and "NOT NULL" not in part.text
        (found.harmless if is_free or part.kind != "constraint" else found.acting).append(part)


def fresh_parts(database: PostgresStore) -> list[Part]:
    """The parts of a schema that is made now, and rolled back; raises the errors of the server."""
    from veritas_peewee.database.postgres_driver import connect

    class Target:
        """What a migration is given."""

        execute_sql = staticmethod(lambda sql: made.execute(sql))

    assert database.location.server is not None
    made = connect(database.location.server, application_name="veritas-peewee verify")
    try:
        made.execute("BEGIN")
        made.execute(f"CREATE SCHEMA {_NEW}")
        made.execute(f"SET LOCAL search_path = {_NEW}")
        for script in scripts():
            script.up(None, Target)
        return parts_in(made.execute, _NEW)
    finally:
        made.close()  # which rolls it back


# ---- in words ----


def _altered(present: Part, wanted: Part) -> str:
    if len(present.text) + len(wanted.text) > 300:
        return f"{present} is not that of this version"
    return f"{present} is not that of this version: it is {present.text!r}, not {wanted.text!r}"


def disagreements(found: Differences) -> list[str]:
    """A message for each part that is missing, altered, or acts without being ours."""
    uncompared = f"the schema is not that of this version; which part: {found.uncompared}"
    return [
        *(f"{part} is not of this library and acts on what it writes: {part.removal}"
          for part in found.acting),
        *(f"{part} is missing" for part in found.missing),
        *(_altered(*pair) for pair in found.altered),
        *([uncompared] if found.uncompared else []),
    ]  # fmt: skip


def notes(database: PostgresStore, found: Differences) -> list[str]:
    """A message for each part that is not ours and does not act on what we write."""
    texts = [f"{part} is not of this library, and does not act on it" for part in found.harmless]
    tables = sorted(names()["table"])
    values = (schema_of(database), tables, tables)
    for table, name, ours, action in database.raw.execute(_REFERRING, values).fetchall():
        keeps = "keep those of" if action in ("a", "r") else "follow the removal of rows of"
        texts.append(f"the table {table} is not of this library; its rows {keeps} {ours} ({name})")
    return texts


def refuse_acting(database: PostgresStore, found: Differences) -> None:
    """Raise ReadOnlyStore if another program's parts act on what we write; it names them."""
    if not found.acting:
        return
    named = ", ".join(map(str, found.acting[:SHOWN]))
    if len(found.acting) > SHOWN:
        named += f" and {len(found.acting) - SHOWN} more"
    removals = "; ".join(part.removal for part in found.acting[:SHOWN])
    raise ReadOnlyStore(
        f"{database.name}: not of this library, and acts on what it writes: {named}; nothing is "
        f"written until it is removed: {removals}"
    )
