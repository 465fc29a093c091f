"""Copy a store, and be killed. usage: copy_until_killed.py SOURCE TARGET WHEN NUMBER

`insert`: in the transaction of the NUMBERth audits, before its commit; `inserted`: after that;
`compare`: when NUMBER audits were compared; `rest`: in the last transaction, before its commit.
"""

import os
import sys
from typing import Any

from veritas_peewee.transfer import stores, taking_over

source, target, when, number = sys.argv[1:]
insert, accept, rest = stores.insert, taking_over.seals.accept, stores.replace_with
calls = 0


def die() -> None:
    os.kill(os.getpid(), 9)


def count() -> bool:
    global calls
    calls += 1
    return calls == int(number)


def accept_and_die(*given: Any) -> None:
    accept(*given)
    if count():
        die()


def insert_and_die(unit: Any) -> None:
    insert(unit)
    if count():
        die()


def rest_and_die(given: Any) -> None:
    rest(given)
    die()


def progress(what: str, done: int, total: int | None) -> None:
    os.write(1, f"{what} {done}\n".encode())
    if when == "compare" and what == "compared" and done >= int(number):
        die()


if when == "insert":
    taking_over.seals.accept = accept_and_die
if when == "inserted":
    stores.insert = insert_and_die
if when == "rest":
    stores.replace_with = rest_and_die
stores.copy_store(source, target, progress=progress)
