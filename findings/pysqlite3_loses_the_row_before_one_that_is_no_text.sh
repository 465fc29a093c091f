#!/usr/bin/env bash
# pysqlite3 0.6.1, whose SQLite is newer than Python's own and which is said to be used like it: where
# a row has a text that is not valid UTF-8, both drivers raise the same OperationalError. But with
# Python's sqlite3 it comes for that row, and the cursor stays there: with another `text_factory` the
# next fetch gives it, and those after it. With pysqlite3 it comes in place of the row before, which
# nobody is ever given, and then the cursor is at its end, without an error.
#
# pysqlite3 reads each row while the one before it is fetched, as Python's did up to 3.9, and resets
# the statement when that fails. Whoever catches the error and reads on has some rows less, and no
# sign of it; and an error about the first row comes from `execute`, not from a fetch.
#
# Seen: Python 3.11, rows 1, 2, 3 and 4, of which the third has such a text:
#   sqlite3: 1, 2, OperationalError, 3, 4
#   pysqlite3: 1, OperationalError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pysqlite3==0.6.1
cat > "$folder/seen.py" <<'PY'
import sqlite3

from pysqlite3 import dbapi2 as pysqlite3

for name, driver in (("sqlite3", sqlite3), ("pysqlite3", pysqlite3)):
    connection = driver.connect(":memory:")
    rows = connection.execute(
        "SELECT column1, CASE column1 WHEN 3 THEN CAST(x'ff' AS TEXT) ELSE 'a text' END "
        "FROM (VALUES (1), (2), (3), (4))"
    )
    given = []
    while True:
        try:
            row = rows.fetchone()
        except driver.OperationalError:
            given.append("OperationalError")
            connection.text_factory = lambda raw: raw.decode(errors="replace")
            continue
        if row is None:
            break
        given.append(str(row[0]))
    print(f"{name}: {', '.join(given)}")
PY
"$folder/venv/bin/python" "$folder/seen.py" > "$folder/output"
cat "$folder/output"
diff "$folder/output" - <<'OUT'
sqlite3: 1, 2, OperationalError, 3, 4
pysqlite3: 1, OperationalError
OUT
