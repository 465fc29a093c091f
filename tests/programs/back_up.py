"""Back a store up or restore it, and wait for a line on standard input at each step.

usage: back_up.py backup|restore DATABASE FOLDER [--force]

Steps are those of the progress, and `sync` once a restore has swapped the files.
"""

import sys
from pathlib import Path

from veritas_peewee.files import platform
from veritas_peewee.maintenance import swapping
from veritas_peewee.maintenance.backup import backup, restore

what, database, folder = sys.argv[1:4]


def told(part: str, done: int, total: int) -> None:
    print(part, done, total, flush=True)
    sys.stdin.readline()


def sync(path: Path) -> None:
    if path.name.count(".replaced-"):
        told("sync", 1, 1)
    platform.sync(path)


if what == "backup":
    backup(folder, database=database, progress=told)
else:
    swapping.sync = sync
    restore(folder, database, force="--force" in sys.argv, progress=told)
