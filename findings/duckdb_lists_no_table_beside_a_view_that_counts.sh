#!/usr/bin/env bash
# DuckDB 1.5.5 on a SQLite file: a view with COUNT(*) and a column that is not in its GROUP BY, which
# SQLite takes, is not only an error itself: SHOW TABLES and information_schema.tables fail too, for
# all tables of all databases that are attached.
#
# DuckDB cannot run such a view, so it gives it to SQLite, but not as it was written: as its own parser
# has read it, with COUNT(*) as `count_star()`, which SQLite does not know (and LIKE as `~~`). It looks
# at each view when it lists what is there. With COUNT(id) in its place everything works.
#
# Seen: duckdb and duckdb-extension-sqlite-scanner 1.5.5, Python 3.11, SQLite 3.40:
#   COUNT(*): the table itself: 2 rows
#   COUNT(*): the view: no such function: count_star
#   COUNT(*): SHOW TABLES: no such function: count_star
#   COUNT(*): information_schema.tables: no such function: count_star
#   COUNT(id): the table itself: 2 rows
#   COUNT(id): the view: 1 rows
#   COUNT(id): SHOW TABLES: 2 rows
#   COUNT(id): information_schema.tables: 2 rows
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
ASKED = {
    "the table itself": "FROM visits.visit",
    "the view": "FROM visits.latest",
    "SHOW TABLES": "SHOW TABLES FROM visits",
    "information_schema.tables": "SELECT table_name FROM information_schema.tables",
}
for number, counted in enumerate(("COUNT(*)", "COUNT(id)")):
    path = f"{folder}/visits{number}.db"
    file = sqlite3.connect(path)
    file.execute("CREATE TABLE visit (id INTEGER PRIMARY KEY, host TEXT, page TEXT)")
    file.execute("INSERT INTO visit (host, page) VALUES ('a.example', '/1'), ('a.example', '/2')")
    file.execute(
        f"CREATE VIEW latest AS SELECT host, {counted} AS visits, page, MAX(id) AS id "
        "FROM visit GROUP BY host"
    )
    assert file.execute("SELECT * FROM latest").fetchall() == [("a.example", 2, "/2", 2)]
    file.commit()
    other = duckdb.connect()
    other.sql(f"SET home_directory = '{folder}'")
    other.sql("SET enable_progress_bar = false")
    import_extension("sqlite_scanner", con=other)
    other.sql(f"ATTACH '{path}' AS visits (TYPE sqlite, READ_ONLY)")
    for name, query in ASKED.items():
        try:
            told = f"{len(other.sql(query).fetchall())} rows"
        except duckdb.Error as error:
            told = str(error).splitlines()[0].rpartition('": ')[2]
        print(f"{counted}: {name}: {told}")
PY
"$folder/venv/bin/python" "$folder/seen.py" "$folder" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
COUNT(*): the table itself: 2 rows
COUNT(*): the view: no such function: count_star
COUNT(*): SHOW TABLES: no such function: count_star
COUNT(*): information_schema.tables: no such function: count_star
COUNT(id): the table itself: 2 rows
COUNT(id): the view: 1 rows
COUNT(id): SHOW TABLES: 2 rows
COUNT(id): information_schema.tables: 2 rows
SEEN
echo "as described"
