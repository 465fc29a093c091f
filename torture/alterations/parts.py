"""Changes of the schema: parts that are not ours, and parts of ours that are gone or altered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torture.alterations.change import Act, Change, Connection, quoted, run, script
from torture.alterations.tables import Table

_OURS = (
    "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL "
    "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name"
)


def changes(connection: Connection, tables: list[Table]) -> Iterator[Change]:
    """Each part that can be added, removed or altered."""
    plain = [one for one in tables if not one.virtual]
    yield from _foreign_triggers(connection, plain)
    yield from _foreign_indexes(plain)
    yield from _foreign_others()
    shadows = {one.name for one in tables if one.shadow}
    for kind, name, table, sql in connection.execute(_OURS).fetchall():
        if name in shadows:
            continue
        yield _part(f"{kind} {name}", "dropped", run(f"DROP {kind} {quoted(name)}"))
        for how, text in _altered(kind, name, table, sql):
            act = script(f"DROP {kind} {quoted(name)}", text)
            yield _part(f"{kind} {name}", how, act)
    for table in plain:
        if not table.shadow and not table.name.startswith("sqlite_"):
            yield from _altered_table(table)


def _part(what: str, how: str, act: Act) -> Change:
    return Change(what, how, "", act, refusable=True)


# ---- what is not ours ----


def _foreign_triggers(connection: Connection, tables: list[Table]) -> Iterator[Change]:
    for table in tables:
        if table.name.startswith("sqlite_"):
            continue  # SQLite allows none on its own
        for time in ("BEFORE", "AFTER"):
            for event in ("INSERT", "UPDATE", "DELETE"):
                sql = (
                    f"CREATE TRIGGER alien {time} {event} ON {quoted(table.name)} "
                    "BEGIN SELECT 1; END"
                )
                yield _part(f"trigger on {table.name}", f"foreign, {time} {event}", run(sql))
    views = connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall()
    for (view,) in views:
        sql = f"CREATE TRIGGER alien INSTEAD OF INSERT ON {quoted(view)} BEGIN SELECT 1; END"
        yield _part(f"trigger on {view}", "foreign, INSTEAD OF INSERT", run(sql))
    for how, sql in _HOSTILE_TRIGGERS.items():
        yield _part("trigger", f"foreign, {how}", run(sql))


_AFTER = "CREATE TRIGGER alien AFTER INSERT ON audit_events BEGIN"
_HOSTILE_TRIGGERS = {
    "which alters a finding": "CREATE TRIGGER alien AFTER INSERT ON audit_findings BEGIN "
    "UPDATE audit_findings SET severity = 'low' WHERE id = NEW.id; END",
    "which alters an event": f"{_AFTER} UPDATE audit_events SET data = '{{}}' "
    "WHERE id = NEW.id; END",
    "which removes events": f"{_AFTER} DELETE FROM audit_events WHERE id = NEW.id; END",
    "which refuses": f"{_AFTER} SELECT RAISE(ABORT, 'no'); END",
    "which ends the transaction": f"{_AFTER} SELECT RAISE(ROLLBACK, 'no'); END",
    "which ignores rows": "CREATE TRIGGER alien BEFORE INSERT ON audit_events "
    "BEGIN SELECT RAISE(IGNORE); END",
    "which has us renew seals": f"{_AFTER} SELECT veritas_touch(id) FROM audits; END",
    "which has us renew digests": f"{_AFTER} SELECT veritas_touch_row('audit_findings', id, "
    "audit_id) FROM audit_findings; END",
    "which calls what does not exist": f"{_AFTER} SELECT no_such_function(1); END",
    "which writes to a table that is missing": f"{_AFTER} INSERT INTO nowhere VALUES (1); END",
    "of the name of a temporary one of ours": "CREATE TRIGGER veritas_audit_new "
    "AFTER INSERT ON audits BEGIN SELECT 1; END",
}


def _foreign_indexes(tables: list[Table]) -> Iterator[Change]:
    for table in tables:
        if table.name.startswith("sqlite_"):
            continue
        name, first = quoted(table.name), quoted(table.columns[0].name)
        key = ", ".join(quoted(one.name) for one in table.columns if one.key) or first
        what = f"index on {table.name}"
        for how, sql in {
            "foreign": f"CREATE INDEX alien ON {name} ({first})",
            "foreign, unique": f"CREATE UNIQUE INDEX alien ON {name} ({key})",
            "foreign, of an expression": f"CREATE INDEX alien ON {name} (abs({first}))",
            "foreign, partial": f"CREATE INDEX alien ON {name} ({first}) WHERE {first} IS NULL",
        }.items():
            yield _part(what, how, run(sql))
    unique = "CREATE UNIQUE INDEX alien ON"
    for how, sql in {
        "which allows one audit a url": f"{unique} audits (url)",
        "which allows one running audit": f"{unique} audits (status) WHERE status = 'running'",
        "which allows one event of a type": f"{unique} audit_events (audit_id, event_type) "
        "WHERE id > 5000",
    }.items():
        yield _part("index", f"foreign, {how}", run(sql))


def _foreign_others() -> Iterator[Change]:
    for what, how, sql in (
        ("table", "foreign", "CREATE TABLE alien (id INTEGER PRIMARY KEY, note TEXT)"),
        ("table", "foreign, with a name of quotes", "CREATE TABLE \"a'b\"\"c\" (x)"),
        ("table", "foreign, strict", "CREATE TABLE alien (x INT) STRICT"),
        ("table", "foreign, virtual", "CREATE VIRTUAL TABLE alien USING fts5(x)"),
        ("table", "foreign, with a reference to ours",
         "CREATE TABLE alien (audit TEXT REFERENCES audits (id) ON DELETE RESTRICT)"),
        ("view", "foreign", "CREATE VIEW alien AS SELECT * FROM audits"),
        ("view", "foreign, of what is missing", "CREATE VIEW alien AS SELECT * FROM nowhere"),
        ("table", "of Litestream",
         "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)"),
        ("table", "of Litestream's lock", "CREATE TABLE _litestream_lock (id INTEGER)"),
        ("table", "of SQLite's statistics", "ANALYZE"),
        ("file", "another user_version", "PRAGMA user_version = 7"),
        ("file", "another application_id", "PRAGMA application_id = 7"),
        ("file", "no WAL", "PRAGMA journal_mode = DELETE"),
    ):  # fmt: skip
        yield _part(what, how, run(sql))


# ---- what is ours ----


def _altered(kind: str, name: str, table: str, sql: str) -> Iterator[tuple[str, str]]:
    """Other statements that make a part of the same name."""
    if kind == "trigger":
        head, _, body = sql.partition("BEGIN")
        yield "does nothing", f"{head} BEGIN SELECT 1; END"
        never = head.replace(" WHEN ", " WHEN 0 AND ") if " WHEN " in head else f"{head} WHEN 0 "
        yield "never runs", f"{never} BEGIN{body}"
        yield "does something more", f"{head} BEGIN SELECT 1; {body}"
    elif kind == "index":
        yield "of something else", f"CREATE INDEX {quoted(name)} ON {quoted(table)} (NULL)"
        yield "partial", f"{sql} {'AND' if ' WHERE ' in sql else 'WHERE'} 1 IS 0"
        yield "descending", sql.replace(")", " DESC)", 1) if ") " not in sql else sql + " AND 1"
    elif kind == "view":
        yield "shows something else", f"CREATE VIEW {quoted(name)} AS SELECT 1 AS id"
        yield "is a table", f"CREATE TABLE {quoted(name)} (id)"


def _altered_table(table: Table) -> Iterator[Change]:
    name, what = quoted(table.name), f"table {table.name}"
    last = quoted(table.columns[-1].name)
    for how, sql in {
        "a column more": f"ALTER TABLE {name} ADD COLUMN note TEXT",
        "a computed column more": f"ALTER TABLE {name} ADD COLUMN note AS (1)",
        "a column less": f"ALTER TABLE {name} DROP COLUMN {last}",
        "a column renamed": f"ALTER TABLE {name} RENAME COLUMN {last} TO renamed",
        "renamed": f"ALTER TABLE {name} RENAME TO renamed",
    }.items():
        yield _part(what, how, run(sql))
    yield _part(what, "made anew with its triggers", _transformed(table, parts="all"))
    yield _part(what, "made anew without its triggers", _transformed(table, parts="indexes"))
    yield _part(what, "made anew by its columns alone", _transformed(table, parts="none"))


def _transformed(table: Table, *, parts: str) -> Act:
    """What tools that alter tables do: a new table, all rows, the old one dropped, renamed."""

    def act(connection: Connection, _: Path) -> None:
        made = connection.execute(
            "SELECT type, sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL "
            "AND type <> 'table'",
            (table.name,),
        ).fetchall()
        (text,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = ? AND type = 'table'", (table.name,)
        ).fetchone()
        if parts == "none":
            columns = ", ".join(f"{quoted(one.name)} {one.type}" for one in table.columns)
            connection.execute(f"CREATE TABLE made_anew ({columns})")
        else:
            connection.execute(text.replace(f'"{table.name}"', '"made_anew"', 1))
        connection.execute(f"INSERT INTO made_anew SELECT * FROM {quoted(table.name)}")
        connection.execute("PRAGMA legacy_alter_table = ON")
        connection.execute(f"DROP TABLE {quoted(table.name)}")
        connection.execute(f"ALTER TABLE made_anew RENAME TO {quoted(table.name)}")
        for kind, sql in made:
            if parts == "all" or (parts == "indexes" and kind == "index"):
                connection.execute(sql)

    return act
