"""Open a database, and be killed at one point of that; print how many points there are.

usage: open_and_die.py PATH statement|step|backup NUMBER    (0: live)
"""

import itertools
import os
import sys
from typing import Any

from veritas_peewee import connect
from veritas_peewee.database import sqlite
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.files import durable

path, unit, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
points = itertools.count(1)
passed = 0


def point(*_: object) -> int:
    global passed
    passed = next(points)
    if passed == number:
        os.kill(os.getpid(), 9)
    return 0


class WatchedDatabase(SqliteStore):
    def connect(self, reuse_if_open: bool = False) -> bool:
        opened = super().connect(reuse_if_open)
        if unit == "statement":
            self.raw.set_trace_callback(point)
        elif unit == "step":
            self.raw.set_progress_handler(point, 20)
        return opened


def watched_sync(target: Any) -> None:
    point()
    plain_sync(target)
    point()


plain_sync = durable.sync
if unit == "backup":
    durable.sync = watched_sync
vars(sqlite)["SqliteStore"] = WatchedDatabase
with connect(path):
    pass
print(passed)
