#!/usr/bin/env bash
# pysqlite3 0.6.1 and Peewee 4.5.3: errors carry `sqlite_errorcode`, as those of Python's sqlite3, but
# only ever a primary code: a foreign key that names nothing cannot be told from a second row of the
# same key. SQLite gives the extended codes to a connection that is opened with its flag
# SQLITE_OPEN_EXRESCODE (0x02000000), which pysqlite3 passes on (`flags=`). Then the codes are right,
# and the exceptions are not: a broken constraint is a DatabaseError, not an IntegrityError.
#
# pysqlite3 chooses the class by the code as it comes, and knows only primary ones. Peewee, which
# prefers pysqlite3 to sqlite3 wherever it is installed, chooses its own class by the name of that
# one. So `get_or_create` and every `except IntegrityError` let it pass.
#
# Seen: Python 3.11, SQLite 3.53.4:
#   no flags: 19, IntegrityError UNIQUE constraint failed: one.id
#   no flags: 19, IntegrityError FOREIGN KEY constraint failed
#   EXRESCODE: 1555, DatabaseError UNIQUE constraint failed: one.id
#   EXRESCODE: 787, DatabaseError FOREIGN KEY constraint failed
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    pysqlite3==0.6.1 peewee==4.5.3
cat > "$folder/seen.py" <<'PY'
import peewee

READ_WRITE_CREATE, EXRESCODE = 0x6, 0x02000000

for name, options in (("no flags", {}), ("EXRESCODE", {"flags": READ_WRITE_CREATE | EXRESCODE})):
    database = peewee.SqliteDatabase(":memory:", pragmas={"foreign_keys": 1}, **options)

    class One(peewee.Model):
        class Meta:
            database = database

    class Other(peewee.Model):
        one = peewee.ForeignKeyField(One)

        class Meta:
            database = database

    database.create_tables([One, Other])
    One.insert(id=1).execute()
    for query in (One.insert(id=1), Other.insert(one=7)):
        try:
            query.execute()
        except peewee.DatabaseError as error:
            code = error.__context__.sqlite_errorcode
            print(f"{name}: {code}, {type(error).__name__} {error}")
PY
"$folder/venv/bin/python" "$folder/seen.py" > "$folder/output"
cat "$folder/output"
diff "$folder/output" - <<'OUT'
no flags: 19, IntegrityError UNIQUE constraint failed: one.id
no flags: 19, IntegrityError FOREIGN KEY constraint failed
EXRESCODE: 1555, DatabaseError UNIQUE constraint failed: one.id
EXRESCODE: 787, DatabaseError FOREIGN KEY constraint failed
OUT
