#!/usr/bin/env bash
# DuckDB 1.5.5 on a SQLite file: what a view's expressions mean depends on whether DuckDB can run the
# view's text itself. If it can, `/`, LIKE and MAX are DuckDB's; if it cannot, because of a function
# that only SQLite has, it gives the view to SQLite. Nothing says which of the two it was.
#
# So `clicks / 2` of one row is 3.5 in a view and 3 in the next one, which has julianday() beside it; a
# view with LIKE has fewer rows than in SQLite; and SQLite's MAX of two columns is the list of the
# greatest values of all rows. A DuckDB that knows one function more changes the numbers of a view.
#
# Seen: duckdb and duckdb-extension-sqlite-scanner 1.5.5, Python 3.11, SQLite 3.40:
#   half SQLite [3, 2, 0] DuckDB [3.5, 2.0, 0.5]
#   half_and_day SQLite [3, 2, 0] DuckDB ['3', '2', '0']
#   www SQLite ['WWW.a.example', 'www.b.example'] DuckDB ['www.b.example']
#   greater SQLite [7, 4, 3] DuckDB [[3, 2, 1]]
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
duckdb.sql(f"SET home_directory = '{folder}'")
duckdb.sql("SET enable_progress_bar = false")
import_extension("sqlite_scanner")
VIEWS = {
    "half": "SELECT clicks / 2 FROM visit",
    "half_and_day": "SELECT clicks / 2, julianday('2026-01-01') FROM visit",
    "www": "SELECT host FROM visit WHERE host LIKE 'www.%'",
    "greater": "SELECT MAX(id, clicks) FROM visit",
}
ROWS = [(1, "WWW.a.example", 7), (2, "www.b.example", 4), (3, "c.example", 1)]
file = sqlite3.connect(f"{folder}/visits.db")
file.execute("CREATE TABLE visit (id INTEGER PRIMARY KEY, host TEXT, clicks INTEGER)")
file.executemany("INSERT INTO visit VALUES (?, ?, ?)", ROWS)
for name, text in VIEWS.items():
    file.execute(f"CREATE VIEW {name} AS {text}")
file.commit()
duckdb.sql(f"ATTACH '{folder}/visits.db' AS visits (TYPE sqlite, READ_ONLY)")
for name in VIEWS:
    here = [row[0] for row in file.execute(f"SELECT * FROM {name}")]
    there = [row[0] for row in duckdb.sql(f"FROM visits.{name}").fetchall()]
    print(name, "SQLite", here, "DuckDB", there)
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
half SQLite [3, 2, 0] DuckDB [3.5, 2.0, 0.5]
half_and_day SQLite [3, 2, 0] DuckDB ['3', '2', '0']
www SQLite ['WWW.a.example', 'www.b.example'] DuckDB ['www.b.example']
greater SQLite [7, 4, 3] DuckDB [[3, 2, 1]]
SEEN
echo "as described"
