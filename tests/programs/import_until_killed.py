"""Import a file, and be killed. usage: import_until_killed.py DATABASE FILE before|after

`before`: when the images have their names and the rows are not committed; `after`: just after.
"""

import os
import sys

from veritas_peewee import connect
from veritas_peewee.recording import arriving
from veritas_peewee.transfer import importing

database, source, when = sys.argv[1:]
place = arriving.place


def die(*_: object) -> None:
    os.kill(os.getpid(), 9)


def place_and_die(arrivals: list[arriving.Arrival]) -> None:
    place(arrivals)
    die()


if when == "before":
    importing.place = place_and_die
else:
    arriving._forget = die
with connect(database):
    importing.import_jsonl(source)
