"""Image files on disk, one folder per audit.

Every step goes through descriptors of folders that are opened without following links, so that
no name, id or link leads outside the screenshot folder, not even one that is put there meanwhile.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EINVAL
from pathlib import Path
from typing import ClassVar, NamedTuple

from veritas_peewee.errors import InvalidAudit, ScreenshotNotFound, StoreError
from veritas_peewee.files.durable import make_folders, write_once, write_whole
from veritas_peewee.files.platform import (
    FileState,
    Folder,
    is_regular,
    os_error,
    path_parts,
    reason_of,
)
from veritas_peewee.values.image_files import EXTENSIONS, joined, split_path
from veritas_peewee.values.plain import check_text, shown

MAX_BYTES = 50 * 1024 * 1024
"""The largest image that is stored, in bytes."""

_HEADER = 16
"""The number of bytes at the beginning of a file that show its type."""
_logger = logging.getLogger("veritas_peewee")
_SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class StoredImage(NamedTuple):
    """A stored image, as a screenshot's row describes it."""

    file: str
    """The path relative to the screenshot folder."""
    size: int
    """In bytes."""
    media_type: str
    sha256: str
    """In hexadecimal."""


def media_type(data: bytes) -> str | None:
    """The media type of an image, by its first bytes; None if it is not a PNG, JPEG or WebP."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
        return "image/png"
    if data[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def check_image(data: bytes, name: str) -> str:
    """The media type of `data`; raises InvalidAudit if it cannot be stored as a screenshot."""
    if len(data) > MAX_BYTES:
        raise InvalidAudit(f"{name}: the image has {len(data)} bytes, the limit is {MAX_BYTES}")
    if kind := media_type(data):
        return kind
    raise InvalidAudit(f"{name}: is not a PNG, JPEG or WebP image")


def read_image(path: str, base: str = "") -> bytes:
    """The bytes of the image at a path that an engine's result names; a relative one begins at
    `base`, and this in the working directory.

    Only a regular file is read, and of a file that is not an image only the beginning: a result
    that names a device or a secret must not bring it into the store. Links on the way are not
    followed, except in the root folder, where only the system can have made them (macOS's /tmp and
    /var). Raises InvalidAudit for anything else, OSError if the file cannot be read.
    """
    begins, parts = path_parts(check_text("url", path), base)
    if not parts:
        raise InvalidAudit("not a regular file")
    folder = Folder.open(begins, to_read=True)
    try:
        for number, part in enumerate(parts[:-1]):
            at_root = not number and begins != "."
            below = folder.folder(part, follow_links=at_root, to_read=True)
            folder.close()
            folder = below
        data = _read(parts[-1], folder, images_only=True)
    finally:
        folder.close()
    check_image(data, "the file")
    return data


def _read(name: str, folder: Folder, *, images_only: bool = False) -> bytes:
    # Tested before the file is opened, because opening can already set off a device, and again
    # after that, because the name may have been given to another file meanwhile.
    if not folder.is_file(name):
        raise InvalidAudit("not a regular file")
    handle = folder.open_to_read(name)
    try:
        if not is_regular(handle):
            raise InvalidAudit("not a regular file")
        found = os.fstat(handle)
        if found.st_size > MAX_BYTES:
            raise InvalidAudit(f"the file has {found.st_size} bytes, the limit is {MAX_BYTES}")
        if images_only and not found.st_size:
            # Files in /proc and /sys have no size either, and reading some of them blocks or has
            # effects.
            raise InvalidAudit("the file is empty")
        with open(handle, "rb", closefd=False) as file:
            if images_only:
                check_image(file.read(_HEADER), "the file")
                file.seek(0)
            data = file.read(MAX_BYTES + 1)
    finally:
        os.close(handle)
    if len(data) > MAX_BYTES:
        raise InvalidAudit(f"the file has grown beyond the limit of {MAX_BYTES} bytes")
    return data


def new_image(audit_id: str, index: int, label: str, data: bytes) -> StoredImage:
    """How an image is to be stored, under a new name.

    Raises InvalidAudit if `data` is not an image or the id cannot name a folder.
    """
    kind = check_image(data, "screenshot")
    if not _SAFE_ID.fullmatch(audit_id):
        raise InvalidAudit(f"audit id {shown(audit_id)} cannot name a folder")
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:40] or "screenshot"
    token = os.urandom(4).hex()
    name = f"{max(index, 0):03d}-{slug}-{token}.{EXTENSIONS[kind]}"
    return StoredImage(f"{audit_id}/{name}", len(data), kind, hashlib.sha256(data).hexdigest())


class ScreenshotFolder:
    """The screenshot folder `root`, which is created when the first image is stored."""

    with_rows: ClassVar[bool] = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, audit_id: str, index: int, label: str, data: bytes) -> StoredImage:
        """Store an image durably under a new name; returns where it is.

        Raises InvalidAudit if `data` is not an image or the id cannot name a folder, StoreFull,
        ReadOnlyStore or another StoreError if the file cannot be written.
        """
        stored = new_image(audit_id, index, label, data)
        try:
            for attempt in range(10):
                try:
                    with self.opened(audit_id, create=True) as folder:
                        write_once(folder, split_path(stored.file)[1], data)
                    break
                except FileNotFoundError:
                    # The folder may just have been removed with its last file: make it again.
                    if attempt == 9:
                        raise
                except FileExistsError:  # of one in four thousand million names: take another one
                    if attempt == 9:
                        raise
                    stored = new_image(audit_id, index, label, data)
        except OSError as error:
            if error.errno == EINVAL:  # Windows has no folder of that name
                raise InvalidAudit(f"audit id {shown(audit_id)} cannot name a folder") from error
            raise os_error(error, self.root / audit_id, "given a screenshot") from error
        return stored

    def read(self, file: str) -> bytes:
        """The bytes of a stored image; raises ScreenshotNotFound if there is no such file, or
        StoreError if it cannot be read."""
        folder, name = split_path(file)
        try:
            with self.opened(folder, to_read=True) as handle:
                return _read(name, handle)
        except OSError as error:
            kind = ScreenshotNotFound if isinstance(error, FileNotFoundError) else StoreError
            raise kind(f"screenshot {shown(file)} cannot be read: {reason_of(error)}") from error
        except InvalidAudit as error:
            raise StoreError(f"screenshot {shown(file)} cannot be read: {error}") from error

    def keep(self, file: str, data: bytes) -> None:
        """Store an image durably under the name that it has elsewhere, replacing any other there.

        Raises InvalidAudit if the name leads outside the folder, and OSError.
        """
        folder, name = split_path(file)
        with self.opened(folder, create=True) as handle:
            write_whole(handle, name, data)

    def state(self, file: str) -> FileState | None:
        """The state of a stored file; None if there is no such file. InvalidAudit and OSError."""
        folder, name = split_path(file)
        return self.states(folder, [name]).get(name)

    def states(self, folder: str, names: Iterable[str]) -> dict[str, FileState]:
        """The states of those of these files that are in a folder; OSError."""
        found = {}
        with suppress(FileNotFoundError), self.opened(folder, to_read=True) as handle:
            for name in names:
                with suppress(FileNotFoundError):
                    found[name] = handle.state(name)
        return found

    def make(self, folders: Iterable[str]) -> None:
        """Make folders, with what is missing above them; on disk on return. OSError."""
        make_folders(self.root, mode=0o700)
        changed: dict[str, None] = {}
        for folder in folders:
            parent = "."
            for part in folder.split("/"):
                with self.opened(parent) as handle, suppress(FileExistsError):
                    handle.make_folder(part)
                    changed[parent] = None
                parent = joined(parent, part)
        for folder in changed:
            with self.opened(folder) as handle:
                handle.sync()

    def sync(self, file: str) -> None:
        """Wait until a stored image and its name are on disk; InvalidAudit or OSError."""
        folder, name = split_path(file)
        with self.opened(folder) as handle:
            handle.sync_file(name)
            handle.sync()

    def link(self, file: str, other: ScreenshotFolder) -> None:
        """Give a stored image the same name in another folder of this file system, by a hard link.

        A file that already has that name there stays. Raises InvalidAudit or OSError.
        """
        folder, name = split_path(file)
        with (
            self.opened(folder) as mine,
            other.opened(folder, create=True) as its,
            suppress(FileExistsError),
        ):
            mine.link(name, its)

    def remove(self, files: Iterable[str]) -> list[str]:
        """Remove stored images, and each folder that is then empty; returns those that are gone.

        Nobody else knows whether a row names them: `recording.removal` asks. A failure raises no
        error.
        """
        gone = []
        for file in files:
            with suppress(OSError, InvalidAudit):
                folder, name = split_path(file)
                with self.opened(folder) as handle:
                    try:
                        handle.remove(name)
                    except PermissionError as error:
                        why = f"{reason_of(error)}; `verify --fix` removes it later"
                        _logger.warning("%s: cannot be removed: %s", self.root / file, why)
                        continue
                gone.append(file)
                self.remove_empty([folder])
        return gone

    def remove_empty(self, folders: Iterable[str]) -> None:
        """Remove those of these folders that are empty; a failure raises no error."""
        for folder in folders:
            parent, _, last = folder.rpartition("/")
            with suppress(OSError):
                if last != ".":
                    with self.opened(parent or ".") as handle:
                        handle.remove_folder(last)

    @contextmanager
    def opened(self, name: str, *, create: bool = False, to_read: bool = False) -> Iterator[Folder]:
        """A folder in it, open; with `create` it is made, on disk, if it is missing.

        `to_read` as of `Folder.open`. Raises OSError, above all where a link or a file is on the
        way.
        """
        if create:
            make_folders(self.root, mode=0o700)
        folder = Folder.open(self.root, follow_links=True, to_read=to_read)
        try:
            for part in name.split("/"):
                if create:
                    with suppress(FileExistsError):
                        folder.make_folder(part)
                        folder.sync()
                below = folder.folder(part, to_read=to_read)
                folder.close()
                folder = below
            yield folder
        finally:
            folder.close()
