#!/usr/bin/env bash
# SQLite 3.54.1: `PRAGMA integrity_check` does not report a full-text index whose configuration is
# damaged, it fails at it: "invalid fts5 file format". SQLite 3.40.1 says "ok".
#
# Since 3.44 the check asks virtual tables too, and to ask FTS5 it has to open the index. That fails
# when the statement is prepared, so nothing is said of any other table: here one whose index lacks a
# row, which 3.40.1 still names. A check of one table by its name works in both.
#
# Seen: apsw 3.40.1.0 and 3.54.1.0, each with the SQLite of its number, Python 3.11:
#   3.40.1 integrity_check: row 1 missing from index by_name; wrong # of entries in index by_name
#   3.54.1 integrity_check: invalid fts5 file format (found 0, expected 4 or 5) - run 'rebuild'
#   3.54.1 integrity_check(goods): row 1 missing from index by_name; wrong # of entries in index
#     by_name
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
cat > "$folder/seen.py" <<'PY'
import apsw

path = "damaged-" + apsw.sqlitelibversion()
database = apsw.Connection(path)
database.execute("CREATE TABLE goods (name TEXT)")
database.execute("INSERT INTO goods VALUES ('a name')")
database.execute("CREATE INDEX by_name ON goods (name)")
database.execute("CREATE VIRTUAL TABLE words USING fts5 (text)")
database.execute("DELETE FROM words_config")
# An index without its row: its first page is emptied by an index of the same page on no rows.
database.execute("PRAGMA writable_schema = ON")
database.execute("CREATE TABLE empty (name TEXT)")
database.execute("CREATE INDEX by_nothing ON empty (name)")
database.execute(
    "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = "
    "'by_nothing') WHERE name = 'by_name'"
)
database.execute("DELETE FROM sqlite_master WHERE name IN ('by_nothing', 'empty')")
database.close()
for pragma in ("integrity_check", "integrity_check(goods)"):
    database = apsw.Connection(path)
    try:
        rows = sorted(text for (text,) in database.execute(f"PRAGMA {pragma}"))
        said = "; ".join(text for text in rows if "by_name" in text)  # not the pages of the others
    except apsw.Error as error:
        said = str(error).removeprefix("SQLError: ")
    print(f"{apsw.sqlitelibversion()} {pragma}: {said}")
PY
cd "$folder"
for version in 3.40.1.0 3.54.1.0; do
    venv/bin/python -m pip install --quiet --disable-pip-version-check "apsw==$version"
    venv/bin/python seen.py
done > output
cat output
diff output - <<'OUT'
3.40.1 integrity_check: row 1 missing from index by_name; wrong # of entries in index by_name
3.40.1 integrity_check(goods): row 1 missing from index by_name; wrong # of entries in index by_name
3.54.1 integrity_check: invalid fts5 file format (found 0, expected 4 or 5) - run 'rebuild'
3.54.1 integrity_check(goods): row 1 missing from index by_name; wrong # of entries in index by_name
OUT
