#!/usr/bin/env bash
# SQLite 3.40.1 with `PRAGMA trusted_schema=OFF`, which its documentation advises for every
# connection: a table whose own schema uses a built-in JSON function, in an expression index, a
# CHECK, a generated column, a trigger or a view, can no longer be written or read: "unsafe use of
# json_extract()". The same file, statements and setting work from 3.41 on.
#
# Built-in functions are taken for harmless, and nearly all of them are marked so; the JSON ones
# were not. The file is made without a complaint, because the setting is asked only when the schema
# is used, so a program that was developed with a newer SQLite fails at its first INSERT on a
# system that ships 3.40, such as Debian 12.
#
# Seen: apsw 3.40.1.0 and 3.41.2.0, each with the SQLite of its number, Python 3.11:
#   3.40.1 index: unsafe use of json_extract()
#   3.40.1 check: unsafe use of json_valid()
#   3.40.1 generated column: unsafe use of json_extract()
#   3.40.1 trigger: unsafe use of json_extract()
#   3.40.1 view: unsafe use of json_extract()
#   3.41.2 index: works (and so do the other four)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
cat > "$folder/seen.py" <<'PY'
import apsw

TABLE = "CREATE TABLE events (id INTEGER PRIMARY KEY, body TEXT)"
SCHEMAS = {
    "index": [TABLE, "CREATE INDEX by_kind ON events (json_extract(body, '$.kind'))"],
    "check": ["CREATE TABLE events (id INTEGER PRIMARY KEY, body TEXT CHECK (json_valid(body)))"],
    "generated column": [
        "CREATE TABLE events (id INTEGER PRIMARY KEY, body TEXT,"
        " kind AS (json_extract(body, '$.kind')))"
    ],
    "trigger": [
        TABLE,
        "CREATE TRIGGER added AFTER INSERT ON events"
        " BEGIN SELECT json_extract(new.body, '$.kind'); END",
    ],
    "view": [TABLE, "CREATE VIEW kinds AS SELECT json_extract(body, '$.kind') AS kind FROM events"],
}

for what, schema in SCHEMAS.items():
    database = apsw.Connection(":memory:")
    for statement in schema:
        database.execute(statement)
    database.execute("PRAGMA trusted_schema = OFF")
    said = "works"
    try:
        database.execute("""INSERT INTO events (body) VALUES ('{"kind": "log"}')""")
        if what == "generated column":
            assert list(database.execute("SELECT kind FROM events")) == [("log",)]
        if what == "view":
            assert list(database.execute("SELECT kind FROM kinds")) == [("log",)]
    except apsw.SQLError as error:
        said = str(error).removeprefix("SQLError: ")
    print(f"{apsw.sqlitelibversion()} {what}: {said}")
PY
for version in 3.40.1.0 3.41.2.0; do
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "apsw==$version"
    "$folder/venv/bin/python" "$folder/seen.py"
done > "$folder/output"
cat "$folder/output"
diff "$folder/output" - <<'OUT'
3.40.1 index: unsafe use of json_extract()
3.40.1 check: unsafe use of json_valid()
3.40.1 generated column: unsafe use of json_extract()
3.40.1 trigger: unsafe use of json_extract()
3.40.1 view: unsafe use of json_extract()
3.41.2 index: works
3.41.2 check: works
3.41.2 generated column: works
3.41.2 trigger: works
3.41.2 view: works
OUT
