#!/usr/bin/env bash
# SQLite 3.54.1 (as 3.53) reports indexes as damaged that 3.40.1 has made, in a file that nothing is
# wrong with: "row 1 missing from index". They are indexes on an expression, and the two versions do
# not compute the same value for it:
#   - a fraction as text: 15 significant digits before 3.53, up to 17 since. So an index on
#     `price || ''`, CAST(price AS TEXT) or hex(price).
#   - json_extract() of a text with \u0000: before, the text ended there.
# Nobody is told when the file is opened. A query that uses the index finds the row by the old value,
# the same query without the index does not. REINDEX mends it, and makes it damaged for the older one.
#
# Seen: apsw 3.40.1.0 and 3.54.1.0, each with the SQLite of its number, Python 3.11:
#   3.40.1 integrity_check: ok
#   3.54.1 integrity_check: row 1 missing from index by_name; row 1 missing from index by_price
#   3.54.1 found by the index: 1, without it: 0
#   3.54.1 integrity_check after REINDEX: ok
#   3.40.1 integrity_check: row 1 missing from index by_name; row 1 missing from index by_price
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
cat > "$folder/seen.py" <<'PY'
import sys

import apsw

database = apsw.Connection(sys.argv[1])
version, task = apsw.sqlitelibversion(), sys.argv[2]


def check(when: str = "") -> None:
    found = sorted(text for (text,) in database.execute("PRAGMA integrity_check"))
    print(f"{version} integrity_check{when}: {'; '.join(found)}")


if task == "make":
    database.execute("CREATE TABLE goods (id INTEGER PRIMARY KEY, price REAL, data TEXT)")
    database.execute("CREATE INDEX by_price ON goods (price || '')")
    database.execute("CREATE INDEX by_name ON goods (json_extract(data, '$.name'))")
    row = (0.1 + 0.2, '{"name": "a\\u0000b"}')
    database.execute("INSERT INTO goods (price, data) VALUES (?, ?)", row)
check()
if task == "mend":
    counts = [
        database.execute(f"SELECT COUNT(*) FROM goods {index} WHERE price || '' = '0.3'").get
        for index in ("INDEXED BY by_price", "NOT INDEXED")
    ]
    print("{} found by the index: {}, without it: {}".format(version, *counts))
    database.execute("REINDEX")
    check(" after REINDEX")
PY
for step in 3.40.1.0:make 3.54.1.0:mend 3.40.1.0:look; do
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "apsw==${step%:*}"
    "$folder/venv/bin/python" "$folder/seen.py" "$folder/goods.db" "${step#*:}"
done > "$folder/output"
cat "$folder/output"
diff "$folder/output" - <<'OUT'
3.40.1 integrity_check: ok
3.54.1 integrity_check: row 1 missing from index by_name; row 1 missing from index by_price
3.54.1 found by the index: 1, without it: 0
3.54.1 integrity_check after REINDEX: ok
3.40.1 integrity_check: row 1 missing from index by_name; row 1 missing from index by_price
OUT
