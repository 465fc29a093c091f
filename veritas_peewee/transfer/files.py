"""Files that get their name once they are whole, packed by gzip if the name ends in .gz."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from veritas_peewee.errors import StoreError
from veritas_peewee.files.durable import appearing_stream
from veritas_peewee.files.platform import os_error
from veritas_peewee.values.plain import shown

Target = str | os.PathLike[str] | BinaryIO
"""A path, or a stream of bytes that is open already."""

MAX_LINE = 1 << 30
"""The longest line that is read, in bytes; it holds about 700 MB of an audit's images."""
MAX_PARTS = 30_000_000
"""About the most JSON values in a line that is read: reading so many takes 3 GB, and a line
within MAX_LINE could have many more."""
_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"


@contextmanager
def new_file(target: Target) -> Iterator[BinaryIO]:
    """A stream for a new file that only its owner can read; on disk when the block ends.

    A stream that is given is used as it is. If the block fails, no file is left. StoreError if
    the file exists already: none is replaced.
    """
    if not isinstance(target, str | os.PathLike):
        yield _stream(target, "write")
        return
    path = Path(os.path.abspath(_usable(target)))
    _refuse_existing(path)
    try:
        with appearing_stream(path) as file, ExitStack() as stack:
            # Level 1: the text of an export repeats itself, and no level makes images smaller.
            yield (
                cast(BinaryIO, stack.enter_context(gzip.open(file, "wb", compresslevel=1)))
                if path.suffix == ".gz"
                else file
            )
    except OSError as error:
        if isinstance(error, FileExistsError):
            _refuse_existing(path)
        raise os_error(error, path, "written") from error


def too_large(line: bytes) -> str | None:
    """Why a line would not be read, or None."""
    if len(line) > MAX_LINE:
        return f"is longer than {MAX_LINE} bytes"
    # Those inside of texts count too; base64, which is nearly all of a long line, has none.
    if len(line) > MAX_PARTS and sum(map(line.count, (b",", b"[", b"{"))) > MAX_PARTS:
        return f"holds more than {MAX_PARTS} values"
    return None


def _stream(given: object, needed: str) -> BinaryIO:
    if isinstance(given, io.TextIOBase) or not hasattr(given, needed):
        raise StoreError(f"{shown(given)} is neither a path nor a stream of bytes with {needed}()")
    return cast(BinaryIO, given)


def _usable(path: str | os.PathLike[str]) -> str:
    """A path as text; raises StoreError for a text that cannot be a path."""
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text or not _is_encodable(text):
        raise StoreError(f"{text!a}: cannot be the path of a file")
    return text


def _is_encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise StoreError(f"{path}: is there already; an export never replaces a file")


def _opened(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as error:
        raise os_error(error, path, "read") from error


class LineReader:
    """The lines of a file or stream, and how much of it has been read."""

    def __init__(self, source: Target) -> None:
        self._stack = ExitStack()
        if isinstance(source, str | os.PathLike):
            self.name = _usable(source)
            self._raw: BinaryIO = self._stack.enter_context(_opened(self.name))
        else:
            self.name, self._raw = "the input", _stream(source, "readline")
        self.number = 0
        """The line that was read last, counted from 1; empty lines count too."""
        self._read = 0
        self.size: int | None = None
        """In bytes; None if it is not known."""
        with suppress(OSError, AttributeError):
            self.size = os.fstat(self._raw.fileno()).st_size or None
        self._lines = self._raw

    def __enter__(self) -> LineReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def position(self) -> int:
        """How many bytes of the file have been read; of a pipe, how many bytes of lines."""
        with suppress(OSError, ValueError, AttributeError):
            return self._raw.tell()
        return self._read

    def __iter__(self) -> Iterator[bytes]:
        """Each line that is not empty, with its line end; at most MAX_LINE + 1 bytes of a line.

        Raises StoreError where the file is damaged, or a gzip file is cut off.
        """
        try:
            first = self._raw.readline(2)
            if first == _GZIP:
                packed = cast(BinaryIO, _Joined(first, self._raw))
                self._lines = cast(BinaryIO, gzip.GzipFile(fileobj=packed, mode="rb"))
                first = b""
            yield from self._rest(first)
        except (OSError, EOFError, zlib.error) as error:
            raise StoreError(f"{self.name}: is damaged or cut off: {error}") from error

    def _rest(self, first: bytes) -> Iterator[bytes]:
        if first and not first.endswith(b"\n"):
            first += self._lines.readline(MAX_LINE)
        line = first or self._lines.readline(MAX_LINE + 1)
        while line:
            self.number += 1
            self._read += len(line)
            if line.strip():
                yield line
            too_long = len(line) > MAX_LINE
            while too_long and line and not line.endswith(b"\n"):
                line = self._lines.readline(_CHUNK)
                self._read += len(line)
            line = self._lines.readline(MAX_LINE + 1)


class _Joined:
    """A stream whose first bytes have been read already."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        self._first, self._rest = first, rest

    def read(self, size: int = -1) -> bytes:
        found, self._first = self._first, b""
        return found or self._rest.read(size)
