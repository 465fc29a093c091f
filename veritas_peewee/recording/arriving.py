"""Images of an import get their names in the transaction that inserts the rows that name them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import bound, current_database
from veritas_peewee.files.arrivals import Arrival, left_behind
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.files.platform import OF_THE_PATH, Identity, os_error
from veritas_peewee.recording.removal import FAILURES, is_named, remove_unnamed

_logger = logging.getLogger("veritas_peewee")


def place(arrivals: Sequence[Arrival]) -> None:
    """In a transaction: give the images their names, on disk on return; undone with it.

    Raises InvalidAudit if another file has the name of an image, StoreError if one cannot be
    stored.
    """
    for one in arrivals:
        one.look()
    database = current_database()
    database.after_commit(partial(_forget, arrivals))
    database.after_rollback(partial(_undone, database, arrivals))
    for one in arrivals:
        one.has_begun = True
    folders: dict[str, ScreenshotFolder] = {}
    for one in arrivals:
        folders |= dict.fromkeys(one.place(), one.folder)
    for name, folder in folders.items():
        try:
            with folder.opened(name) as opened:
                opened.sync()
        except OSError as error:
            raise os_error(error, folder.root / name, "synced") from error


def _forget(arrivals: Sequence[Arrival]) -> None:
    for one in arrivals:
        one.forget()


def _undone(database: StoreDatabase, arrivals: Sequence[Arrival]) -> None:
    if not database.transaction_is_open:
        _take_back(database, arrivals)
        return
    # Only a part of a transaction was undone. What the rest has removed is on disk, or back, once
    # that has ended; and the part around this one can be undone by itself too.
    # Not by Peewee's `after_commit`, which refuses if the caller begins and ends transactions.
    database.state.commit_callbacks.append(partial(_take_back, database, arrivals))
    database.after_rollback(partial(_undone, database, arrivals))


def _take_back(database: StoreDatabase, arrivals: Sequence[Arrival]) -> None:
    """Remove the images that were given names and that no row names."""
    try:
        with bound(database):
            files = [pair for one in arrivals for pair in one.identities.items()]
            _, is_clear = _remove(arrivals[0].folder, files)
    except FAILURES:
        is_clear = False
        _log_remaining(database)
    for one in arrivals:
        if is_clear:
            one.forget()
        else:
            one.leave()


def clear_left_soon() -> None:
    """`clear_left` now, or after the transaction that is open."""
    database = current_database()
    if database.transaction_is_open:
        database.state.commit_callbacks.append(clear_left)
    else:
        clear_left()


def clear_left() -> int:
    """Remove what killed imports into the current database have left; returns how many images.

    To be called outside of a transaction; a failure is logged, and leaves them.
    """
    database, cleared = current_database(), 0
    if (root := database.location.screenshots) is not None:
        try:
            for left in left_behind(ScreenshotFolder(root), database.location.name):
                _, is_clear = _remove(ScreenshotFolder(root), left.images)
                if is_clear:
                    left.clear()
                    cleared += len(left.images)
        except FAILURES:
            _log_remaining(database)
    return cleared


def _remove(
    folder: ScreenshotFolder, files: Iterable[tuple[str, Identity]]
) -> tuple[list[str], bool]:
    """Remove files, each if it is the one of that identity and no row names it.

    Returns those removed, and whether none remains that should have been.
    """
    identities: dict[str, set[Identity]] = {}
    for file, identity in files:
        identities.setdefault(file, set()).add(identity)

    def is_it(file: str) -> bool:
        try:
            state = folder.state(file)
        except OSError as error:
            if error.errno in OF_THE_PATH:
                return False
            raise
        return state is not None and state.identity in identities[file]

    gone = remove_unnamed(folder, list(identities), is_it, are_new=True)
    return gone, all(f in gone or not is_it(f) or is_named(f) for f in identities)


def _log_remaining(database: StoreDatabase) -> None:
    _logger.warning(
        "%s: image files of audits that were not imported remain; the next import, or "
        "`verify --fix`, removes them",
        database.name,
        exc_info=True,
    )
