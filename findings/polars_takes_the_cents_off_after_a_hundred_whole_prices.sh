#!/usr/bin/env bash
# polars 2.1.0: of a DECIMAL column in SQLite whose first hundred values are whole, `read_database` has
# every later value without what is behind its point: 9.99 becomes 9, with no error and no warning.
#
# A column declared DECIMAL or NUMERIC stores a whole number as an integer, so Python's sqlite3 gives
# ints and floats in turns. polars takes the column's type from the first hundred rows, Int64, and puts
# the others into it. (A text in such a place is an error that names the row; a float is not.) With
# `infer_schema_length=None` it is Float64, and right. pandas is right as it is.
#
# Seen: polars 2.1.0, Python 3.11, SQLite 3.40:
#   SQLite: the last two [9.99, 0.5], sum 5060.49
#   polars: Int64, the last two [9, 0], sum 5059
#   polars, all rows looked at: Float64, the last two [9.99, 0.5], sum 5060.49
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check polars==2.1.0
cat > "$folder/seen.py" <<'PY'
import sqlite3

import polars

file = sqlite3.connect(":memory:")
file.execute("CREATE TABLE price (id INTEGER PRIMARY KEY, amount DECIMAL(10, 2))")
amounts = [*map(float, range(1, 101)), 9.99, 0.5]
file.executemany("INSERT INTO price (amount) VALUES (?)", [(one,) for one in amounts])
query = "SELECT amount FROM price ORDER BY id"
stored = [row[0] for row in file.execute(query)]
print(f"SQLite: the last two {stored[-2:]}, sum {round(sum(stored), 2)}")
for name, options in (("polars", {}), ("polars, all rows looked at", {"infer_schema_length": None})):
    column = polars.read_database(query, file, **options)["amount"]
    print(f"{name}: {column.dtype}, the last two {column[-2:].to_list()}, sum {round(column.sum(), 2)}")
PY
"$folder/venv/bin/python" -W error "$folder/seen.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
SQLite: the last two [9.99, 0.5], sum 5060.49
polars: Int64, the last two [9, 0], sum 5059
polars, all rows looked at: Float64, the last two [9.99, 0.5], sum 5060.49
SEEN
echo "as described"
