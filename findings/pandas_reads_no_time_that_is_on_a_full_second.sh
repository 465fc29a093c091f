#!/usr/bin/env bash
# pandas 3.1.1 and Python's sqlite3: of times as `datetime.isoformat(" ")` writes them, which is how
# sqlite3's own adapter stores a datetime, `read_sql_query(…, parse_dates=…)` gives NaT, a time that is
# missing, for those on a full second; or, if such a one comes first, for all others. No error, no
# warning, and which of the two it is depends on the first row.
#
# Python leaves the fraction out where it is zero. pandas takes the format from the first value, and
# `parse_dates` has what does not fit become NaT ("coerce"); `pandas.to_datetime` on the same column is
# an error that says so. With parse_dates={"moment": {"format": "ISO8601"}} all are read.
#
# Seen: pandas 3.1.1, numpy 2.4.6, Python 3.11, SQLite 3.40:
#   stored: 2026-01-01 10:00:00.250000, 2026-01-01 10:00:01, 2026-01-01 10:00:01.750000
#   read: 2026-01-01 10:00:00.250000, NaT, 2026-01-01 10:00:01.750000
#   from the second on: 2026-01-01 10:00:01, NaT
#   to_datetime: ValueError
#   ISO8601: 2026-01-01 10:00:00.250000, 2026-01-01 10:00:01, 2026-01-01 10:00:01.750000
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pandas==3.1.1 numpy==2.4.6
cat > "$folder/seen.py" <<'PY'
import sqlite3
from datetime import datetime, timedelta

import pandas

file = sqlite3.connect(":memory:")
file.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, moment DATETIME)")
first = datetime(2026, 1, 1, 10, 0, 0, 250_000)
moments = [first + number * timedelta(milliseconds=750) for number in range(3)]
file.executemany(
    "INSERT INTO event (moment) VALUES (?)", [(one.isoformat(" "),) for one in moments]
)
ALL = "SELECT * FROM event ORDER BY id"


def told(column):
    return ", ".join(map(str, column))


print("stored:", told(row[1] for row in file.execute(ALL)))
print("read:", told(pandas.read_sql_query(ALL, file, parse_dates=["moment"]).moment))
later = "SELECT * FROM event WHERE id > 1 ORDER BY id"
print("from the second on:", told(pandas.read_sql_query(later, file, parse_dates=["moment"]).moment))
try:
    pandas.to_datetime(pandas.read_sql_query(ALL, file).moment)
except ValueError as error:
    print("to_datetime:", type(error).__name__)
iso = {"moment": {"format": "ISO8601"}}
print("ISO8601:", told(pandas.read_sql_query(ALL, file, parse_dates=iso).moment))
PY
"$folder/venv/bin/python" -W error "$folder/seen.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
stored: 2026-01-01 10:00:00.250000, 2026-01-01 10:00:01, 2026-01-01 10:00:01.750000
read: 2026-01-01 10:00:00.250000, NaT, 2026-01-01 10:00:01.750000
from the second on: 2026-01-01 10:00:01, NaT
to_datetime: ValueError
ISO8601: 2026-01-01 10:00:00.250000, 2026-01-01 10:00:01, 2026-01-01 10:00:01.750000
SEEN
echo "as described"
