"""The parts of a store's schema as the catalogs of a server have them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.migrations import on_postgres

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


def quoted(name: str) -> str:
    """A name as a statement has it, whatever it contains."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


@functools.cache
def scripts() -> tuple[ModuleType, ...]:
    """The scripts that make the schema one after the other, with statements for kinds of parts."""
    found = on_postgres.__path__[0]
    names = sorted(path.stem for path in Path(found).glob("[0-9]*.py"))
    return tuple(import_module(f"{on_postgres.__name__}.{name}") for name in names)


def statements(kind: str) -> list[str]:
    """All statements of the scripts for a kind of parts, such as `TABLES`."""
    return [one for script in scripts() for one in getattr(script, kind, ())]


@functools.cache
def names() -> dict[str, frozenset[str]]:
    """The names of our parts by their kind, for the kinds of which others can add some."""

    def of(statements: Iterable[str], word: str) -> frozenset[str]:
        made = [one.split() for one in statements if one.startswith(f"CREATE {word} ")]
        return frozenset(words[2].partition("(")[0] for words in made)

    return {
        "table": of(statements("TABLES"), "TABLE"),
        "index": of(statements("INDEXES"), "INDEX"),
        "trigger": of(statements("TRIGGERS"), "TRIGGER"),
        "view": of(statements("VIEWS"), "VIEW"),
        "function": of(statements("FUNCTIONS"), "FUNCTION"),
    }


def parts_in(execute: Any, schema: str) -> list[Part]:
    """The parts of a schema, by a driver's `execute`: all of our tables, else those named so."""
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
