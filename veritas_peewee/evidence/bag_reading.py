"""The files of a bag that somebody else has made: in a folder, or in a zip file.

Nothing is unpacked, no link is followed, and what is larger than any bag is not read: a bag comes
from those whom it is to convince nobody of.
"""

from __future__ import annotations

import os
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from veritas_peewee.database.failures import lacking
from veritas_peewee.errors import NotProven, StoreError
from veritas_peewee.files.platform import Folder, is_regular
from veritas_peewee.values.plain import shown

MOST_FILES = 100_000
MOST_BYTES = 1 << 34
"""The most files of a bag, and the most bytes of all of them, that are read."""
_DEEPEST = 12
_PIECE = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_NO_ZIP = (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error)
"""What Python's reader raises where the numbers or the names in a zip file are none. To be caught
around its own calls alone: from ours a ValueError would be a fault."""


class Bag(Protocol):
    """The files of a bag, by their paths in it."""

    sizes: dict[str, int]
    """How many bytes each of them has."""

    def open(self, name: str) -> BinaryIO:
        """A file of it, open for reading; OSError or NotProven."""


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Bag]:
    """The bag in a folder or a zip file.

    Raises StoreError if there is none to read, NotProven if what is there is no bag: a link, a
    device, too many files or too large ones, a packed entry.
    """
    place = Path(path)
    with ExitStack() as stack:
        try:
            if place.is_dir():
                folder = stack.enter_context(Folder.open(place, follow_links=True))
                bag: Bag = _InFolder(folder)
            elif place.exists() and not place.is_file():  # to open a pipe can take for ever
                raise StoreError(f"{place}: is neither a folder nor a file")
            else:
                archive = stack.enter_context(_zip_file(place))
                with place.open("rb") as file:
                    _check_whole(archive, file, place.stat().st_size)
                bag = _InZip(archive, place.stat().st_size)
        except OSError as error:
            raise StoreError(f"{place}: cannot be read: {error.strerror or error}") from error
        _check_amount(bag.sizes)
        yield bag


def _zip_file(place: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(place)
    except _NO_ZIP as error:
        raise StoreError(f"{place}: is neither a folder nor a whole zip file") from error
    size = place.stat().st_size
    if not all(0 <= entry.header_offset < size for entry in archive.infolist()):
        archive.close()
        raise StoreError(f"{place}: is neither a folder nor a whole zip file")
    return archive


def pieces(bag: Bag, name: str) -> Iterator[bytes]:
    """A file of a bag piece by piece; NotProven if it cannot be read to its end, StoreError where
    that says nothing about the file."""
    size = bag.sizes[name]
    try:
        with bag.open(name) as file:
            while size and (piece := file.read(min(_PIECE, size))):
                size -= len(piece)
                yield piece
    except (OSError, EOFError, RuntimeError, *_NO_ZIP) as error:
        kind = StoreError if lacking(error) else NotProven
        raise kind(f"{name}: cannot be read: {error}") from error
    if size:
        raise NotProven(f"{name}: is cut off")


def content(bag: Bag, name: str, most: int) -> bytes:
    """A file of a bag; NotProven if it has more than `most` bytes."""
    if bag.sizes[name] > most:
        raise NotProven(f"{name}: is larger than that of any bag")
    return b"".join(pieces(bag, name))


def _check_amount(sizes: dict[str, int]) -> None:
    if len(sizes) > MOST_FILES:
        raise NotProven(f"it has more than {MOST_FILES} files: that is no bag")
    if sum(sizes.values()) > MOST_BYTES:
        raise NotProven(f"its files have more than {MOST_BYTES} bytes: that is no bag")


class _InFolder:
    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.sizes: dict[str, int] = {}
        self._add(folder, "", 0)

    def _add(self, folder: Folder, before: str, depth: int) -> None:
        for name in folder.names():
            path = f"{before}{name}"
            if folder.is_file(name):
                self.sizes[path] = folder.state(name).size
                if len(self.sizes) > MOST_FILES:
                    return
                continue
            try:
                below = folder.folder(name)
            except OSError as error:
                if lacking(error):
                    raise
                raise NotProven(
                    f"it holds what is neither a file nor a folder: {path!a}"
                ) from error
            with below:
                if _NAME.fullmatch(name) is None:
                    raise NotProven(f"it holds a folder that is in no bag: {path!a}")
                if depth == _DEEPEST:
                    raise NotProven(f"its folders are nested too deeply: {path!a}")
                self._add(below, f"{path}/", depth + 1)

    def open(self, name: str) -> BinaryIO:
        *folders, last = name.split("/")
        with ExitStack() as stack:
            at = self._folder
            for one in folders:
                at = stack.enter_context(at.folder(one))
            handle = at.open_to_read(last)
        if not is_regular(handle):  # it has been replaced since
            with suppress(OSError):
                os.close(handle)
            raise NotProven(f"{name}: is no file any more")
        return open(handle, "rb")


_LOCAL, _ENTRY, _END, _END_64 = 30, 46, 22, 76
"""How many bytes of a zip file are before a file's name, before an entry's, and at its end, where
large ones have more."""
_DESCRIBED = (12, 16, 20, 24)
"""How many bytes can follow a file whose size was not known when it was begun."""


def _check_whole(archive: zipfile.ZipFile, file: BinaryIO, size: int) -> None:
    """Refuse bytes that are in none of the entries: a zip file can have a program before them, or
    another zip file, which others would see in it."""
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    end = 0
    listed = 0
    gaps: tuple[int, ...] = (0,)
    for entry in entries:
        if entry.header_offset - end not in gaps:
            raise NotProven("it has bytes that are in none of its entries")
        file.seek(entry.header_offset)
        head = file.read(_LOCAL)
        names = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        end = entry.header_offset + _LOCAL + names + entry.compress_size
        gaps = _DESCRIBED if entry.flag_bits & 8 else (0,)
        name = entry.orig_filename.encode("utf-8" if entry.flag_bits & 0x800 else "cp437")
        listed += _ENTRY + len(name) + len(entry.extra) + len(entry.comment)
    last = size - archive.start_dir - listed
    if archive.start_dir - end not in gaps or archive.comment or last not in (_END, _END_64 + _END):
        raise NotProven("it has bytes that are in none of its entries")


class _InZip:
    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for entry in archive.infolist():
            if entry.filename and entry.is_dir():
                continue
            top, _, name = entry.filename.partition("/")
            kind = entry.external_attr >> 28
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise NotProven(
                    f"{shown(entry.filename)} is packed or encrypted in it: unpack it, and check "
                    "the folder"
                )
            if not top or not name or kind not in (0, 8) or name in self._entries:
                raise NotProven(f"{shown(entry.filename)} is in no bag, or is in it twice")
            self._entries[name] = entry
            if len({one.filename.partition("/")[0] for one in (entry, self._first)}) > 1:
                raise NotProven("it holds more than one folder: a bag is one")
        self.sizes = {name: entry.file_size for name, entry in self._entries.items()}
        if sum(self.sizes.values()) > size:  # entries that lie over one another
            raise NotProven("its entries say that they have more bytes than there are")

    @property
    def _first(self) -> zipfile.ZipInfo:
        return next(iter(self._entries.values()))

    def open(self, name: str) -> BinaryIO:
        return cast(BinaryIO, self._archive.open(self._entries[name]))
