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
from veritas_peewee.files.inputs import MAX_INPUT
from veritas_peewee.files.platform import os_error
from veritas_peewee.values.plain import shown

Target = str | os.PathLike[str] | BinaryIO
"""A path, or a stream of bytes that is open already."""

MAX_LINE = MAX_INPUT
"""The longest line that is read, in bytes; it holds about 190 MB of an audit's images."""
MAX_PARTS = 8_000_000
"""About the most JSON values in a line that is read: reading so many takes 800 MB, and a line
within MAX_LINE could have many more."""
MAX_SKIPPED = 1 << 30
"""The most bytes that are passed over to find the end of a line that is not read."""
_CHUNK = 1 << 20
_BEFORE_AUDIT = b"\xef\xbb\xbf \t\r\n"
"""What may come before the audit in a line: a byte order mark, and spaces."""
_GZIP = b"\x1f\x8b"


@contextmanager
def new_file(target: Target) -> Iterator[BinaryIO]:
    """A stream for a new file that only its owner can read; on disk when the block ends.

    A stream that is given is neither flushed nor closed. If the block fails, no file is left.
    StoreError if the file exists already: none is replaced.
    """
    if not isinstance(target, str | os.PathLike):
        yield cast(BinaryIO, _Onto(_stream(target, "write")))
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


class _Onto:
    """A caller's stream, onto which all is written: one without a buffer may take a part of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, data: bytes) -> int:
        left = data
        while left:
            taken: object = self._stream.write(left)
            if taken is None and not isinstance(self._stream, io.RawIOBase):
                break  # streams that are not Python's own often say nothing
            if type(taken) is not int or not 0 < taken <= len(left):
                raise StoreError(
                    f"{shown(self._stream)}: cannot be written: of {len(left)} bytes, its write() "
                    f"took {shown(taken)}"
                )
            left = left[taken:]
        return len(data)


def too_large(line: bytes | None) -> str | None:
    """Why a line would not be read, or None; a `line` that is None was too long to be held."""
    if line is None or len(line) > MAX_LINE:
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

    def __iter__(self) -> Iterator[bytes | None]:
        """Each line that is not empty, with its line end; None for one longer than MAX_LINE.

        Of a long line that is no audit only the beginning is given. Raises StoreError where the
        file is damaged, or a gzip file is cut off, and at a line that does not come to an end.
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

    def _rest(self, first: bytes) -> Iterator[bytes | None]:
        while True:
            pieces = [first] if first else []
            is_whole, size = self._pieces(pieces)
            if not size:
                return
            self.number += 1
            line = None if size > MAX_LINE else b"".join(pieces)
            pieces.clear()  # a line is held once
            if line is None or line.strip():
                yield line
            if not is_whole:
                self._skip()
            first = b""

    def _pieces(self, pieces: list[bytes]) -> tuple[bool, int]:
        """Read the next line in pieces, behind the one that is given, as far as it can be an audit.

        Returns whether it came to its end, and how many bytes there are.
        """
        size = sum(map(len, pieces))
        self._read += size
        while not (pieces and pieces[-1].endswith(b"\n")):
            piece = self._lines.readline(min(_CHUNK, MAX_LINE + 1 - size))
            if not piece:
                return True, size
            pieces.append(piece)
            size += len(piece)
            self._read += len(piece)
            is_long = len(piece) >= _CHUNK and not piece.endswith(b"\n")
            is_first = len(pieces) <= 2
            if size > MAX_LINE or (is_long and is_first and not _can_be_audit(pieces)):
                return piece.endswith(b"\n"), size
        return True, size

    def _skip(self) -> None:
        """Pass over the rest of a line."""
        skipped = 0
        while (piece := self._lines.readline(_CHUNK)) and not piece.endswith(b"\n"):
            skipped += len(piece)
            self._read += len(piece)
            if skipped > MAX_SKIPPED:
                raise StoreError(
                    f"{self.name}: line {self.number} is longer than {MAX_LINE} bytes, and does "
                    f"not end within {MAX_SKIPPED} more; nothing behind it was read"
                )
        self._read += len(piece)


def _can_be_audit(pieces: list[bytes]) -> bool:
    return b"".join(pieces[:2]).lstrip(_BEFORE_AUDIT).startswith(b"{")


class _Joined:
    """A stream whose first bytes have been read already."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        self._first, self._rest = first, rest

    def read(self, size: int = -1) -> bytes:
        found, self._first = self._first, b""
        return found or self._rest.read(size)
