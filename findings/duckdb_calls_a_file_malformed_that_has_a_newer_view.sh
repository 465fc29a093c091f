#!/usr/bin/env bash
# DuckDB 1.5.5 brings SQLite 3.38.1 (of 2022) to read SQLite files: one view with IS NOT DISTINCT FROM,
# which SQLite has had since 3.39 and DuckDB itself understands, and no table of the file can be read:
# "malformed database schema".
#
# SQLite reads all of a file's schema when it opens it, with its own parser. So whoever adds a view, an
# index or a trigger in today's grammar to a file locks DuckDB out of all its tables, and is told that
# the file is damaged, which it is not.
#
# Seen: duckdb and duckdb-extension-sqlite-scanner 1.5.5, Python 3.11, SQLite 3.40 and newer:
#   the SQLite in DuckDB: 3.38.1
#   before: [(1,)]
#   with the view: malformed database schema (plain) - near "DISTINCT": syntax error
#   SQLite's own integrity check: ok
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    duckdb==1.5.5 duckdb-extensions==1.5.5 duckdb-extension-sqlite-scanner==1.5.5
cat > "$folder/seen.py" <<'PY'
import sqlite3
import sys

import duckdb
from duckdb_extensions import import_extension

folder = sys.argv[1]
path = f"{folder}/visits.db"
assert sqlite3.sqlite_version_info >= (3, 39), "this SQLite cannot make such a view"


def first():
    other = duckdb.connect()
    other.sql(f"SET home_directory = '{folder}'")
    other.sql("SET enable_progress_bar = false")
    import_extension("sqlite_scanner", con=other)
    other.sql(f"ATTACH '{path}' AS visits (TYPE sqlite, READ_ONLY)")
    if not told:
        told.append(other.sql("FROM sqlite_query('visits', 'SELECT sqlite_version()')").fetchone()[0])
        print("the SQLite in DuckDB:", told[0])
    return other.sql("SELECT id FROM visits.visit").fetchall()


told = []
file = sqlite3.connect(path, isolation_level=None)
file.execute("CREATE TABLE visit (id INTEGER PRIMARY KEY, host TEXT)")
file.execute("INSERT INTO visit (host) VALUES ('a.example')")
print("before:", first())
file.execute("CREATE VIEW plain AS SELECT id FROM visit WHERE host IS NOT DISTINCT FROM NULL")
try:
    first()
except Exception as error:
    _, word, rest = str(error).splitlines()[0].partition("malformed")
    print("with the view:", word + rest)
print("SQLite's own integrity check:", file.execute("PRAGMA integrity_check").fetchone()[0])
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
the SQLite in DuckDB: 3.38.1
before: [(1,)]
with the view: malformed database schema (plain) - near "DISTINCT": syntax error
SQLite's own integrity check: ok
SEEN
echo "as described"
