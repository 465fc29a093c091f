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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from veritas_peewee.errors import InvalidAudit, StoreError
from veritas_peewee.files.durable import claimed, leftovers, locked_folder, make_folders, write_new
from veritas_peewee.files.images import ScreenshotFolder, check_image
from veritas_peewee.files.platform import (
    OF_THE_PATH,
    FileState,
    Folder,
    Held,
    Identity,
    let_go,
    os_error,
)
from veritas_peewee.values.image_files import check_path, joined, split_path


class Arrivals:
    """The folder for a unit of an import; it is made for the first image, and locked from then on.

    `database` is the name of the database whose rows will name the images: another one may have the
    same screenshot folder.
    """

    def __init__(self, folder: ScreenshotFolder, database: str | Path | None) -> None:
        self.folder = folder
        self._database = database
        self._path: Path | None = None
        self._held: Held | None = None
        self._audits = 0

    def audit(self) -> Arrival:
        """The images of the next audit."""
        self._audits += 1
        return Arrival(self, str(self._audits))

    def make(self, part: str) -> ScreenshotFolder:
        """A folder in it; OSError if it cannot be made."""
        if self._path is None:
            make_folders(self.folder.root, mode=0o700)
            self._path, self._held = locked_folder(self.folder.root / _name(self._database))
        return ScreenshotFolder(self._path / part)

    def make_ready(self, arriving: Iterable[Arrival]) -> None:
        """Make the folders in which images will get their names, before the write lock is taken.

        Raises StoreError if that cannot be done.
        """
        folders = [folder for one in arriving for folder in one.folders]
        try:
            if folders:
                self.folder.make(folders)
        except OSError as error:
            raise os_error(error, self.folder.root, "given a folder") from error

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
        if self._held is not None:
            let_go(self._held)
            self._held = None

    def __del__(self) -> None:
        # If the outcome of a transaction is not known, what may go is asked of the rows, later.
        self.leave()


class Arrival:
    """The images of one audit on their way."""

    def __init__(self, arrivals: Arrivals, part: str) -> None:
        self._arrivals = arrivals
        self._part = part
        self.folder = arrivals.folder
        self._images: dict[str, dict[str, bytes]] = {}
        """By the folder and the name that they are to have."""
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
        folder, name = split_path(file)
        images = self._images.setdefault(folder, {})
        if images.setdefault(name, data) != data:
            raise InvalidAudit(f"screenshot {file!r}: two images have that name")
        with self._typed(file):
            if file in self.identities or self._is_there(file, data, self.folder.state(file)):
                return
            with self._made(folder).opened(folder) as waiting:
                self._write(file, name, data, waiting)

    @property
    def folders(self) -> list[str]:
        """The folders in which its images will get their names."""
        return list(self._images)

    def _made(self, folder: str) -> ScreenshotFolder:
        """Where images wait, with this folder in it."""
        self._waiting = self._waiting or self._arrivals.make(self._part)
        (self._waiting.root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._waiting

    def _write(self, file: str, name: str, data: bytes, waiting: Folder) -> None:
        write_new(waiting, name, data)
        self.identities[file] = waiting.state(name).identity

    def _is_there(self, file: str, data: bytes, state: FileState | None) -> bool:
        """Whether the file of this state, which has the name here, is this very image, on disk.

        Raises InvalidAudit if it is another one, and OSError.
        """
        known = self._there.pop(file, None)
        if state is None:
            return False
        if state != known:
            try:
                there = self.folder.read(file)
                self.folder.sync(file)  # whoever wrote it may not have waited for the disk
            except FileNotFoundError:
                return False  # removed just now
            except StoreError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    return False
                raise InvalidAudit(str(error)) from error
            if there != data:
                # Also if no row names it: a row of another database may.
                raise InvalidAudit(
                    f"screenshot {file!r}: another image has that name here; if no audit shows it, "
                    "move it away and import again"
                )
        self._there[file] = state
        return True

    def look(self) -> None:
        """Under the write lock: raise InvalidAudit if another file has the name of an image."""
        for folder, images in self._images.items():
            with self._typed(folder):
                states = self.folder.states(folder, images)
                for name, data in images.items():
                    self._is_there(joined(folder, name), data, states.get(name))

    def place(self) -> set[str]:
        """Under the write lock: give the images their names; returns the folders to be synced."""
        folders = set()
        for folder, images in self._images.items():
            missing = {name: image for name, image in images.items()
                       if joined(folder, name) not in self._there}  # fmt: skip
            if missing:
                with self._typed(folder):
                    self._place(folder, missing)
                folders.add(folder)
        return folders

    def _place(self, folder: str, images: dict[str, bytes]) -> None:
        with (
            self._made(folder).opened(folder) as waiting,
            self.folder.opened(folder, create=True) as final,
        ):
            for name, data in images.items():
                file = joined(folder, name)
                if file not in self.identities:  # it was there, and has been removed since
                    self._write(file, name, data, waiting)
                try:
                    waiting.link(name, final)
                except FileExistsError:  # of an audit before it in the same unit
                    self._is_there(file, data, final.state(name))
                except FileNotFoundError:
                    raise
                except OSError:  # a file system without links, or two
                    self.folder.keep(file, data)
                    self.identities[file] = final.state(name).identity

    def forget(self) -> None:
        """Remove the images' names of their own."""
        self.identities.clear()
        if not self.has_begun:
            self.folder.remove_empty(self.folders)
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


def left_behind(folder: ScreenshotFolder, database: str | Path | None) -> Iterator[LeftBehind]:
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


def _name(database: str | Path | None) -> str:
    """How the folders for images of this database begin."""
    return f"import.{hashlib.sha256(os.fsencode(database or b'')).hexdigest()[:16]}"
