"""How the schema of a store on a server differs from the one that this version makes there.

What is read of the server's catalogs is the same on every version from 15 on, and a digest over it
shows at once whether all is as it should be. If it is not, the schema is made a second time, in a
transaction that is rolled back, and the two are compared part by part.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.errors import ReadOnlyStore, StoreError

DIGESTS = frozenset(
    (
        "076321c7be4e348d96fc54f2c6166a9e",  # PostgreSQL 16 to 18
        "7c2964d0cbd3d7d6fac53ea017516cdb",  # 15
    )
)
"""The digests of the schema as it was just made, one for each way in which servers word it. Whoever
changes the schema puts the new ones here; on any other server the slower comparison decides."""
_NEW = "veritas_as_new"
"""The name of the schema that is made to be compared, and rolled back."""
_SHOWN = 10
_logger = logging.getLogger("veritas_peewee")
_DERIVED = ("function", "trigger", "view", "index")
"""The kinds of parts that hold no rows, so that they can be made again."""

# Each part is its kind, its name, its table and its text. `main` stands for the schema's name.
_PARTS = """
WITH main AS (
    SELECT oid, nspname, quote_ident(nspname) || '.' AS prefix FROM pg_namespace WHERE nspname = ?
), tables AS (
    SELECT c.* FROM pg_class AS c JOIN main ON c.relnamespace = main.oid
    WHERE c.relname = ANY(?) AND c.relkind IN ('r', 'p', 'f')
), parts AS (
    SELECT 'table' AS kind, relname::text AS name, relname::text AS of_table, concat_ws(' ',
        relkind::text, relpersistence::text, CASE WHEN relrowsecurity THEN 'row security' END,
        CASE WHEN relforcerowsecurity THEN 'forced' END,
        CASE WHEN relhassubclass OR relispartition THEN 'inherited' END) AS text FROM tables
    UNION ALL
    SELECT 'column', a.attname, t.relname, concat_ws(' ',
        row_number() OVER (PARTITION BY t.oid ORDER BY a.attnum)::text,
        format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attcollation <> y.typcollation THEN 'COLLATE ' || l.collname END,
        CASE WHEN a.attnotnull THEN 'NOT NULL' END,
        CASE WHEN a.attstorage <> y.typstorage THEN 'STORAGE ' || a.attstorage::text END,
        'IDENTITY ' || nullif(a.attidentity::text, ''),
        'GENERATED ' || nullif(a.attgenerated::text, ''),
        'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid))
    FROM tables AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0
        AND NOT a.attisdropped JOIN pg_type AS y ON y.oid = a.atttypid
    LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    UNION ALL
    SELECT 'constraint', c.conname, t.relname, pg_get_constraintdef(c.oid) || CASE WHEN EXISTS
        (SELECT FROM pg_trigger AS g WHERE g.tgconstraint = c.oid AND g.tgenabled NOT IN ('O', 'A'))
        THEN ' (not enforced: its triggers are disabled)' ELSE '' END
    FROM tables AS t JOIN pg_constraint AS c ON c.conrelid = t.oid AND c.contype NOT IN ('n', 't')
    UNION ALL
    SELECT 'index', i.relname, t.relname, pg_get_indexdef(x.indexrelid) || CASE
        WHEN NOT (x.indisvalid AND x.indisready AND x.indislive) THEN ' (invalid)' ELSE '' END
    FROM tables AS t JOIN pg_index AS x ON x.indrelid = t.oid
        JOIN pg_class AS i ON i.oid = x.indexrelid
    UNION ALL
    SELECT 'trigger', g.tgname, t.relname, pg_get_triggerdef(g.oid) || CASE g.tgenabled
        WHEN 'O' THEN '' ELSE ' (enabled: ' || g.tgenabled::text || ')' END
    FROM tables AS t JOIN pg_trigger AS g ON g.tgrelid = t.oid AND NOT g.tgisinternal
    UNION ALL
    SELECT 'rule', r.rulename, t.relname, pg_get_ruledef(r.oid)
    FROM tables AS t JOIN pg_rewrite AS r ON r.ev_class = t.oid
    UNION ALL
    SELECT 'policy', p.polname, t.relname, p.polcmd::text
    FROM tables AS t JOIN pg_policy AS p ON p.polrelid = t.oid
    UNION ALL
    SELECT 'view', v.relname, v.relname, pg_get_viewdef(v.oid)
    FROM main JOIN pg_class AS v ON v.relnamespace = main.oid AND v.relkind = 'v'
        AND v.relname = ANY(?)
    UNION ALL
    SELECT 'function', p.proname, '', concat_ws(' ', pg_get_function_arguments(p.oid), '->',
        pg_get_function_result(p.oid), l.lanname, p.provolatile::text, p.proisstrict::text,
        p.prosecdef::text, split_part(p.proconfig[1], '=', 1), array_length(p.proconfig, 1)::text,
        p.prosrc)
    FROM main JOIN pg_proc AS p ON p.pronamespace = main.oid AND p.proname = ANY(?)
        JOIN pg_language AS l ON l.oid = p.prolang
)
SELECT kind, name, of_table, replace(text, main.prefix, '') FROM parts, main
"""
_REFERRING = """
SELECT t.oid::regclass::text, c.conname, r.relname, c.confdeltype::text FROM pg_constraint AS c
JOIN pg_class AS r ON r.oid = c.confrelid JOIN pg_class AS t ON t.oid = c.conrelid
WHERE c.contype = 'f' AND r.relnamespace = to_regnamespace(quote_ident(?)) AND r.relname = ANY(?)
AND NOT (t.relnamespace = r.relnamespace AND t.relname = ANY(?)) ORDER BY 1, 2
"""


class Part(NamedTuple):
    """A part of the schema, as the server's catalogs have it."""

    kind: str
    name: str
    table: str
    text: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.kind, self.table, self.name

    def __str__(self) -> str:
        if self.kind in ("table", "view", "function"):
            return f"the {self.kind} {self.name}"
        if self.kind == "column":
            return f"the column {self.table}.{self.name}"
        return f"the {self.kind} {self.name} on {self.table}"

    @property
    def removal(self) -> str:
        """The statement that removes it."""
        if self.kind == "index":
            return f"DROP INDEX {quoted(self.name)}"
        if self.kind == "constraint":
            return f"ALTER TABLE {self.table} DROP CONSTRAINT {quoted(self.name)}"
        return f"DROP {self.kind.upper()} {quoted(self.name)} ON {self.table}"


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


def quoted(name: str) -> str:
    """A name as a statement has it, whatever it contains."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


@functools.cache
def first() -> ModuleType:
    """The script that makes the schema, with the statements for each kind of part."""
    return import_module("veritas_peewee.migrations.on_postgres.0001_initial")


@functools.cache
def names() -> dict[str, frozenset[str]]:
    """The names of our parts by their kind, for the kinds of which others can add some."""

    def of(statements: Iterable[str], word: str) -> frozenset[str]:
        made = [one.split() for one in statements if one.startswith(f"CREATE {word} ")]
        return frozenset(words[2].partition("(")[0] for words in made)

    script = first()
    return {
        "table": of(script.TABLES, "TABLE"),
        "index": of(script.INDEXES, "INDEX"),
        "trigger": of(script.TRIGGERS, "TRIGGER"),
        "view": of(script.VIEWS, "VIEW"),
        "function": of(script.FUNCTIONS, "FUNCTION"),
    }


def _parts(execute: Any, schema: str) -> list[Part]:
    ours = names()
    lists = [sorted(ours[kind]) for kind in ("table", "view", "function")]
    return [Part._make(row) for row in execute(_PARTS, (schema, *lists)).fetchall()]


def schema_of(database: PostgresStore) -> str:
    """The name of the schema that the store is in, or would be."""
    text = (
        "SELECT COALESCE((SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n "
        "ON n.oid = c.relnamespace WHERE c.oid = to_regclass('audits')), current_schema())"
    )
    (name,) = database.raw.execute(text).fetchall()[0]
    return str(name)


def digest_of(parts: Iterable[Part]) -> str:
    """A digest over the parts of a schema, in any order."""
    texts = sorted("\0".join(part) for part in parts)
    return blake2b("\1".join(texts).encode(), digest_size=16).hexdigest()


def differences(database: PostgresStore) -> Differences:
    """How the schema of the current store differs from this version's."""
    schema = schema_of(database)
    present = _parts(database.raw.execute, schema)
    found, ours = Differences(), []
    backing = {part.key[1:] for part in present if part.kind == "constraint"}
    for part in present:
        if part.kind in ("rule", "policy") or (
            part.kind in ("trigger", "index")
            and part.name not in names()[part.kind]
            and part.key[1:] not in backing  # the index of a constraint
        ):
            (found.acting if _acts(part) else found.harmless).append(part)
        else:
            ours.append(part)
    if digest_of(ours) not in DIGESTS:
        _compare(database, found, {part.key: part for part in ours})
    return found


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
        first().up(None, Target)
        return _parts(made.execute, _NEW)
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
    named = ", ".join(map(str, found.acting[:_SHOWN]))
    if len(found.acting) > _SHOWN:
        named += f" and {len(found.acting) - _SHOWN} more"
    removals = "; ".join(part.removal for part in found.acting[:_SHOWN])
    raise ReadOnlyStore(
        f"{database.name}: not of this library, and acts on what it writes: {named}; nothing is "
        f"written until it is removed: {removals}"
    )


# ---- made again ----


def settle(database: PostgresStore) -> None:
    """Make again, before anything is written, what of our schema holds no rows; the log says so.

    Raises ReadOnlyStore if another program's parts act on what we write, or if a table is not as it
    should be.
    """
    if not differences(database):
        return
    with database.unit():
        found = differences(database)  # by now another process can have made it again
        refuse_acting(database, found)
        for text in make_derived(database, found):
            _logger.warning(
                "%s: %s; another program has changed the schema, and `veritas-peewee verify` shows "
                "whether it has changed rows too",
                database.name,
                text,
            )


def make_tables(database: PostgresStore, found: Differences) -> list[str]:
    """Make missing tables, without any row; returns what was done, in words."""
    missing = [part.name for part in found.missing if part.kind == "table"]
    with _typed(database, missing):
        for statement in first().TABLES:
            words = statement.split()
            table = words[2].partition("(")[0]
            if table in missing and words[0] != "UPDATE":
                database.execute_sql(statement)
    return [f"made the table {name}, which was missing, without any row" for name in missing]


def make_derived(database: PostgresStore, found: Differences) -> list[str]:
    """Make functions, triggers, views and indexes of ours again; returns what was done, in words.

    The caller must have begun a transaction. Raises ReadOnlyStore if something else is missing or
    altered, or if one cannot be made.
    """
    if found.uncompared:
        raise ReadOnlyStore(
            f"{database.name}: the schema is not that of this version, and which part of it cannot "
            f"be seen by this role: let the owner of its tables open it ({found.uncompared})"
        )
    if found.rest:
        raise ReadOnlyStore(
            f"{database.name}: {'; '.join(found.rest[:_SHOWN])}: nothing is written until that is "
            "mended by hand, or a backup is restored (`veritas-peewee verify --fix` makes missing "
            "tables)"
        )
    done = [
        *(f"{part} was missing, and is made again" for part in found.missing),
        *(f"{part} was altered, and is made again" for part, _ in found.altered),
    ]
    with _typed(database, [part.name for part, _ in found.altered]):
        for part, _ in found.altered:
            if part.kind in ("view", "index"):
                database.execute_sql(f"DROP {part.kind.upper()} {quoted(part.name)}")
            elif part.kind == "trigger":
                database.execute_sql(part.removal)
        _make_missing(database)
    return done


def _make_missing(database: PostgresStore) -> None:
    script, present = first(), _present(database)
    # A function is replaced, which its triggers do not notice.
    for statement in script.FUNCTIONS:
        database.execute_sql(statement.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1))
    for statement in (*script.INDEXES, *script.TRIGGERS, *script.VIEWS):
        if statement.split()[2] not in present:
            database.execute_sql(statement)
    database.execute_sql(script.DEFAULT)


def _present(database: PostgresStore) -> set[str]:
    found = _parts(database.raw.execute, schema_of(database))
    return {part.name for part in found if part.kind in ("index", "trigger", "view")}


@contextmanager
def _typed(database: PostgresStore, names: list[str]) -> Iterator[None]:
    try:
        yield
    except DRIVER_ERRORS as error:
        known = store_error(error, database.name)
        if known is not None and type(known) is not StoreError:
            raise known from error
        raise ReadOnlyStore(
            f"{database.name}: the schema cannot be made again ({', '.join(names)}): {error}"
        ) from error
