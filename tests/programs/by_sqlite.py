"""Use a store by Python's own SQLite, or by pysqlite3, and print what it answers as JSON.

usage: by_sqlite.py sqlite3|pysqlite3 DATABASE fill|ask|change

Peewee takes pysqlite3 wherever it is installed, so where the other is wanted that is hidden first.
"""

import json
import sys

driver, path, what = sys.argv[1:]
if driver == "sqlite3":
    sys.modules["pysqlite3"] = None  # type: ignore[assignment]

from tests.support.both_sqlites import answers, change, fill  # noqa: E402
from veritas_peewee import connect  # noqa: E402
from veritas_peewee.database.sqlite_driver import driver as taken  # noqa: E402

assert taken.__name__.partition(".")[0] == driver
if what == "fill":
    fill(path)
if what == "change":
    with connect(path):
        change()
with connect(path, read_only=True):
    print(json.dumps({"sqlite": taken.sqlite_version, **answers()}))
