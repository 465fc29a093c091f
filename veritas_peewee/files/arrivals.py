"""Images of an import under names of their own, until the rows that name them are in.

They are written and synced in a folder of the import's own inside the screenshot folder, before the
write lock is taken. Under it each gets a second name, the one that its row gives it. The first name
remains until the rows are committed: so what a killed import has left shows which files it gave
names, and these can be removed if no row names them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from veritas_peewee.errors import InvalidAudit, StoreError
from veritas_peewee.files.durable import claimed, leftovers, locked_folder, make_folders, write_new
from veritas_peewee.files.images import ScreenshotFolder, check_image
from veritas_peewee.files.platform import OF_THE_PATH, FileState, Identity, os_error
from veritas_peewee.values.image_files import check_path, split_path


class Arrivals:
    """The folder for a unit of an import; it is made for the first image, and locked from then on.

    `database` is the path of the database whose rows will name the images: another one may have the
    same screenshot folder.
    """

    def __init__(self, folder: ScreenshotFolder, database: Path | None) -> None:
        self.folder = folder
        self._database = database
        self._path: Path | None = None
        self._handle = -1
        self._audits = 0

    def audit(self) -> Arrival:
        """The images of the next audit."""
        self._audits += 1
        return Arrival(self, str(self._audits))

    def make(self, part: str) -> ScreenshotFolder:
        """A folder in it; OSError if it cannot be made."""
        if self._path is None:
            make_folders(self.folder.root, mode=0o700)
            self._path, self._handle = locked_folder(self.folder.root / _name(self._database))
        return ScreenshotFolder(self._path / part)

    def discard(self, part: str) -> None:
        """Remove a folder in it, and then the whole if nothing else is in it."""
        if self._path is not None:
            shutil.rmtree(self._path / part, ignore_errors=True)
            with suppress(OSError):
                self._path.rmdir()
                self._path = None
                self.leave()

    def leave(self) -> None:
        """Leave the folder, if it exists, to the next import or to `verify --fix`."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __del__(self) -> None:
        # If the outcome of a transaction is not known, what may go is asked of the rows, later.
        self.leave()


class Arrival:
    """The images of one audit on their way."""

    def __init__(self, arrivals: Arrivals, part: str) -> None:
        self._arrivals = arrivals
        self._part = part
        self.folder = arrivals.folder
        self._images: dict[str, bytes] = {}
        self._there: dict[str, FileState] = {}
        """The images that had their names here already, each with its state when it was read."""
        self._waiting: ScreenshotFolder | None = None
        self.identities: dict[str, Identity] = {}
        """The files that were written: by its identity each is known from another of that name."""
        self.has_begun = False
        """Whether a transaction has taken it over: what becomes of it follows that one's end."""

    def add(self, file: str, data: bytes) -> None:
        """Put an image of another store on disk, under a name of its own.

        Raises InvalidAudit if its path is not suitable, StoreError if it cannot be written.
        """
        check_image(data, f"screenshot {file!r}")
        check_path(file)
        if self._images.setdefault(file, data) != data:
            raise InvalidAudit(f"screenshot {file!r}: two images have that name")
        with self._typed(file):
            if file in self.identities or self._is_there(file, data):
                return
            self._write(file, data)
            with self.folder.opened(split_path(file)[0], create=True):
                pass  # already here, because it is synced, and the write lock is not yet taken

    def _is_there(self, file: str, data: bytes) -> bool:
        """Whether this very image has its name here, on disk.

        Raises InvalidAudit if another file has that name, and OSError.
        """
        state = self.folder.state(file)
        known = self._there.pop(file, None)
        if state is None:
            return False
        if state != known:
            try:
                there = self.folder.read(file)
            except StoreError as error:
                raise InvalidAudit(str(error)) from error
            if there != data:
                # Also if no row names it: a row of another database may.
                raise InvalidAudit(
                    f"screenshot {file!r}: another image has that name here; if no audit shows it, "
                    "move it away and import again"
                )
            self.folder.sync(file)  # whoever wrote it may not have waited for the disk
        self._there[file] = state
        return True

    def _write(self, file: str, data: bytes) -> None:
        self._waiting = waiting = self._waiting or self._arrivals.make(self._part)
        folder, name = split_path(file)
        (waiting.root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        with waiting.opened(folder) as handle:
            write_new(handle, name, data)
            self.identities[file] = handle.state(name).identity

    def look(self) -> None:
        """Under the write lock: raise InvalidAudit if another file has the name of an image."""
        for file, data in self._images.items():
            with self._typed(file):
                self._is_there(file, data)

    def place(self) -> set[str]:
        """Under the write lock: give the images their names; returns the folders to be synced."""
        folders = set()
        for file, data in self._images.items():
            if file not in self._there:
                with self._typed(file):
                    if file not in self.identities:  # it was there, and has been removed since
                        self._write(file, data)
                    self._place(file, data)
                folders.add(split_path(file)[0])
        return folders

    def _place(self, file: str, data: bytes) -> None:
        assert self._waiting is not None
        folder, name = split_path(file)
        with (
            self._waiting.opened(folder) as first,
            self.folder.opened(folder, create=True) as final,
        ):
            first.state(name)
            try:
                first.link(name, final)
            except FileExistsError:
                if not self._is_there(file, data):  # of an audit before it in the same unit
                    raise
            except OSError:  # a file system without links, or two
                self.folder.keep(file, data)
                self.identities[file] = final.state(name).identity

    def forget(self) -> None:
        """Remove the images' names of their own."""
        self.identities.clear()
        if self._waiting is not None:
            self._waiting = None
            self._arrivals.discard(self._part)

    def leave(self) -> None:
        """Leave the images as they are, to the next import or to `verify --fix`."""
        self._arrivals.leave()

    @contextmanager
    def _typed(self, file: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in OF_THE_PATH:
                reason = error.strerror
                raise InvalidAudit(f"screenshot path {file[:80]!r}: {reason}") from error
            raise os_error(error, self.folder.root / file, "stored") from error


# ---- what a killed import has left ----


class LeftBehind(NamedTuple):
    """The folder of an import whose process is dead."""

    path: Path
    images: list[tuple[str, Identity]]
    """The images in it, by the names that they were to have."""

    def clear(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def left_behind(folder: ScreenshotFolder, database: Path | None) -> Iterator[LeftBehind]:
    """What killed imports into this database have left; each is locked until the next is taken."""
    for path in leftovers(folder.root, f".{_name(database)}."):
        with claimed(path) as dead:
            if dead:
                yield LeftBehind(path, list(_images_in(path)))


def _images_in(path: Path) -> Iterator[tuple[str, Identity]]:
    with suppress(OSError):
        for part in path.iterdir():
            waiting = ScreenshotFolder(part)
            for at, _, names in os.walk(part):
                for name in names:
                    file = Path(at, name).relative_to(part).as_posix()
                    if (state := waiting.state(file)) is not None:
                        yield file, state.identity


def _name(database: Path | None) -> str:
    """How the folders for images of this database begin."""
    return f"import.{hashlib.sha256(os.fsencode(database or b'')).hexdigest()[:16]}"
