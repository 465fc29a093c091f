#!/usr/bin/env bash
# Peewee 4.5.3: a block of atomic() whose transaction SQLite has ended goes on, each statement by
# itself, and what it writes then stays although the block fails.
#
# Some errors end the whole transaction inside SQLite, such as a trigger's RAISE(ROLLBACK). Peewee
# does not notice: the next roll-back to a savepoint fails with "no such savepoint" in place of the
# trigger's own message, further statements of the block run in autocommit, and at its end the block
# raises "cannot rollback - no transaction is active". Who expects all or nothing finds the rows
# before the trigger gone, and those after it stored.
#
# Seen: peewee 4.5.3, Python 3.11, SQLite 3.40 and newer:
#   inner: OperationalError: no such savepoint
#   outer: OperationalError: cannot rollback - no transaction is active
#   rows: [2, 3]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check peewee==4.5.3
cat > "$folder/seen.py" <<'PY'
import peewee

database = peewee.SqliteDatabase(":memory:")
database.connect()
database.execute_sql("CREATE TABLE item (number INTEGER)")
database.execute_sql(
    "CREATE TRIGGER no_negative BEFORE INSERT ON item WHEN NEW.number < 0 "
    "BEGIN SELECT RAISE(ROLLBACK, 'a number must not be negative'); END"
)


def add(number):
    database.execute_sql("INSERT INTO item VALUES (?)", (number,))


errors = []
try:
    with database.atomic():
        add(1)
        try:
            with database.atomic():
                add(-1)
        except peewee.OperationalError as error:
            errors.append(str(error).partition(":")[0])
        add(2)
        add(3)
except peewee.OperationalError as error:
    errors.append(str(error))
rows = [number for (number,) in database.execute_sql("SELECT number FROM item")]
print("inner:", errors[0])
print("outer:", errors[1])
print("rows:", rows)
assert errors == ["no such savepoint", "cannot rollback - no transaction is active"], errors
assert rows == [2, 3], rows
PY
"$folder/venv/bin/python" "$folder/seen.py"
