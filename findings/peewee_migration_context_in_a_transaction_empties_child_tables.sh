#!/usr/bin/env bash
# Peewee 4.5.3: `with migrator.migration_context(): migrate(…)` on SQLite alters a column's type and
# keeps the rows of other tables that refer to it; the same inside `with database.atomic():` deletes
# them, without an error. Triggers of the altered table are gone in either case.
#
# SQLite cannot alter a column, so playhouse.migrate copies the table, drops it and renames the copy.
# Before a DROP TABLE, SQLite deletes the rows, and ON DELETE CASCADE follows where foreign keys are on.
# The context turns them off for that; but within a transaction SQLite ignores that PRAGMA, and who wants
# all or nothing around several steps has one. All rows of the altered table itself are there afterwards,
# so it looks right.
#
# Seen: peewee 4.5.3, Python 3.11, SQLite 3.40:
#   the context alone: parents 2 of 2, children 3 of 3, triggers 0 of 1
#   within atomic(): parents 2 of 2, children 0 of 3, triggers 0 of 1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check peewee==4.5.3
cat > "$folder/seen.py" <<'PY'
from contextlib import nullcontext

import peewee
from playhouse.migrate import SqliteMigrator, migrate

for name in ("the context alone", "within atomic()"):
    database = peewee.SqliteDatabase(":memory:", pragmas={"foreign_keys": 1})

    class Parent(peewee.Model):
        number = peewee.IntegerField()

        class Meta:
            database = database

    class Child(peewee.Model):
        parent = peewee.ForeignKeyField(Parent, on_delete="CASCADE")

        class Meta:
            database = database

    database.connect()
    database.create_tables([Parent, Child])
    database.execute_sql(
        "CREATE TRIGGER positive BEFORE INSERT ON parent WHEN NEW.number < 0 "
        "BEGIN SELECT RAISE(ABORT, 'a number must not be negative'); END"
    )
    for parent, children in ((Parent.create(number=1), 2), (Parent.create(number=2), 1)):
        for _ in range(children):
            Child.create(parent=parent)
    migrator = SqliteMigrator(database)
    around = database.atomic() if name == "within atomic()" else nullcontext()
    with around, migrator.migration_context():
        migrate(migrator.alter_column_type("parent", "number", peewee.TextField()))
    triggers = database.execute_sql("SELECT COUNT(*) FROM sqlite_master WHERE type = 'trigger'")
    print(
        f"{name}: parents {Parent.select().count()} of 2, children {Child.select().count()} of 3, "
        f"triggers {triggers.fetchone()[0]} of 1"
    )
PY
"$folder/venv/bin/python" -W error "$folder/seen.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
the context alone: parents 2 of 2, children 3 of 3, triggers 0 of 1
within atomic(): parents 2 of 2, children 0 of 3, triggers 0 of 1
SEEN
echo "as described"
