#!/usr/bin/env bash
# Peewee 4.5.3 with pysqlite3 0.6.1 and with Python's own sqlite3: a Ctrl-C that arrives while SQLite asks
# an authorizer (`set_authorizer`) about a statement never reaches the program. Python runs the
# signal's handler inside that callback; the driver takes whatever the callback raises for "no", and
# the KeyboardInterrupt is gone: neither raised nor in the error's chain.
#
# What the program sees is an OperationalError that names a function or a column it may use. An
# `except Exception` around the query, which lets Ctrl-C through everywhere else, catches it, and the
# program goes on. A function of SQL's (`create_function`) does the same with other words.
#
# Seen: Python 3.11:
#   sqlite3, authorizer: OperationalError, not authorized to use function: upper; interrupt in its chain: no
#   sqlite3, function: OperationalError, user-defined function raised exception; interrupt in its chain: no
#   the same with pysqlite3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    peewee==4.5.3 pysqlite3==0.6.1
cat > "$folder/seen.py" <<'PY'
import signal
import sqlite3

import peewee
from pysqlite3 import dbapi2 as pysqlite3


def chain(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def interrupted(*_):
    signal.raise_signal(signal.SIGINT)
    return 0


signal.signal(signal.SIGINT, signal.default_int_handler)
for name, driver in (("sqlite3", sqlite3), ("pysqlite3", pysqlite3)):
    peewee.sqlite3 = driver
    for where in ("authorizer", "function"):
        database = peewee.SqliteDatabase(":memory:")
        connection = database.connection()
        if where == "authorizer":
            asked = iter([False])
            connection.set_authorizer(
                lambda action, *_: interrupted() if action == 31 and not next(asked, True) else 0
            )
            query = "SELECT upper('a')"
        else:
            connection.create_function("ours", 0, interrupted)
            query = "SELECT ours()"
        try:
            database.execute_sql(query).fetchall()
        except Exception as error:
            found = any(isinstance(one, KeyboardInterrupt) for one in chain(error))
            told = f"{type(error).__name__}, {error}"
            print(f"{name}, {where}: {told}; interrupt in its chain: {'yes' if found else 'no'}")
PY
"$folder/venv/bin/python" "$folder/seen.py" > "$folder/output"
cat "$folder/output"
diff "$folder/output" - <<'OUT'
sqlite3, authorizer: OperationalError, not authorized to use function: upper; interrupt in its chain: no
sqlite3, function: OperationalError, user-defined function raised exception; interrupt in its chain: no
pysqlite3, authorizer: OperationalError, not authorized to use function: upper; interrupt in its chain: no
pysqlite3, function: OperationalError, user-defined function raised exception; interrupt in its chain: no
OUT
