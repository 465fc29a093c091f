"""A digest of everything in a store, as SQL reads it and as the package's functions read it."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from torture.followed import ROOT, TIMEOUT, command
from veritas_peewee import connect, sync
from veritas_peewee.database.sqlite_errors import driver

FILES = ("audits.db", "audits.db-wal")


class Sample(NamedTuple):
    """A store whose process was killed, so that part of it is in its WAL."""

    folder: Path
    head: str
    dump: str
    """The digest of what SQL reads in it."""
    sealed: str
    """The same without the columns that no digest of the store covers (see GUARANTEES.md)."""
    read: str
    """The digest of what the package's functions read in it as it is."""
    current: str
    """The same once it was opened for writing, which marks the dead process's audits."""

    def copy(self, folder: Path) -> Path:
        """A copy of the files in a folder that is made anew; the database's path."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in FILES:
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, folder / name)
        return folder / FILES[0]


def make_sample(folder: Path, audits: int = 24) -> Sample:
    """Make a store with `audits` audits and more, and kill its process."""
    path = folder / FILES[0]
    made = subprocess.run(
        command("sample", path, audits), cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT
    )
    head = made.stdout.strip()
    if not head or not (folder / FILES[1]).is_file():
        raise RuntimeError(f"no sample could be made: {made.stderr[-1000:]}")
    sample = Sample(folder, head, "", "", "", "")
    other, screenshots = folder / "looked-at", folder / "screenshots"
    with connect(sample.copy(other), screenshots=screenshots):
        current = read_current()
    return sample._replace(
        dump=dump(sample.copy(other)),
        sealed=dump(sample.copy(other), sealed=True),
        read=read_all(sample.copy(other), screenshots),
        current=current,
    )


_UNSEALED = ("audit_runners", "veritas_migrations")
_SEALED_COLUMNS = {"removed_audits": "id, audit_id"}


def dump(path: Path, *, sealed: bool = False) -> str:
    """A digest over the schema and all rows of all tables, or only what digests cover; raises
    sqlite3's errors."""
    found = hashlib.sha256()
    with closing(driver.connect(path)) as connection:
        connection.text_factory = bytes
        schema = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
        for entry in connection.execute(schema).fetchall():
            kind, name, _, text = entry
            if sealed and (kind == b"view" or name.startswith(b"search_index_")):
                continue  # a view can be the user's, and the index is checked word by word
            found.update(repr(entry).encode())
            # What a virtual table holds is in the tables behind it.
            if sealed and name.decode() in _UNSEALED:
                continue
            if kind == b"table" and not text.startswith(b"CREATE VIRTUAL"):
                columns = _SEALED_COLUMNS.get(name.decode(), "*") if sealed else "*"
                sql = f'SELECT {columns} FROM "{name.decode()}" NOT INDEXED'
                # In a table whose key is a text, the rowid is not a column and means nothing.
                if b"WITHOUT ROWID" not in text and not (sealed and b'"id" VARCHAR' in text):
                    sql = sql.replace("SELECT", "SELECT rowid,") + " ORDER BY rowid"
                for row in connection.execute(sql):
                    found.update(repr(row).encode())
    return found.hexdigest()


def read_all(path: Path, screenshots: Path) -> str:
    """`read_current` of a database that is only looked at."""
    with connect(path, read_only=True, screenshots=screenshots):
        return read_current()


def read_current() -> str:
    """A digest over all that `history`, `get` and `events` answer of the current database.

    The time and the note that opening a store adds to audits of dead processes are left out.
    """
    found = hashlib.sha256()
    cursor = None
    while True:
        page = sync.history(limit=50, cursor=cursor)
        for listed in page.items:
            audit = sync.get(listed.id)
            events = sync.events(audit.id)
            for one in (listed, audit, *audit.findings, *audit.screenshots, *events):
                if getattr(one, "event_type", "") != "audit_disconnected":
                    found.update(_told(one).encode())
        if (cursor := page.next_cursor) is None:
            return found.hexdigest()


_AT_OPENING = frozenset(("updated_at", "seal", "sealed_events"))


def _told(row: Any) -> str:
    return repr([pair for pair in sorted(row.__data__.items()) if pair[0] not in _AT_OPENING])
