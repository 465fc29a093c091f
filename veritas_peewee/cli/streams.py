"""The standard streams, as whoever started the program has left them.

One may be closed, another full, or without a reader. What cannot be written on standard output is
a failure of the command, whichever command it is; what cannot be written on standard error is lost.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, NoReturn, TextIO, cast

from veritas_peewee.errors import StoreError
from veritas_peewee.files.platform import is_closed_pipe


class OutputFailed(Exception):
    """The standard output could not be written."""


class ReaderGone(OutputFailed):
    """The reader of the standard output has closed it."""


@contextmanager
def guarded() -> Iterator[None]:
    """Within the block, a failing standard output raises OutputFailed, by whoever writes to it."""
    _fill_descriptors()
    given = sys.stdout, sys.stderr
    for stream in given:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    out, err = map(_with_a_buffer, given)
    sys.stdout = _Guarded(out or io.TextIOWrapper(_Closed()), _output_failed).as_text()
    sys.stderr = _Guarded(err or io.StringIO(), lambda error: None).as_text()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = given


def standard_input() -> BinaryIO:
    """The standard input, which is read to its end; StoreError if the shell has closed it.

    Another program may have left it so that a read does not wait (`O_NONBLOCK`), and Python takes
    what is not there yet for the end.
    """
    stream: BinaryIO | None = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise StoreError("the standard input is closed")
    raw = getattr(stream, "raw", None)
    if isinstance(raw, io.FileIO):
        return cast(BinaryIO, io.BufferedReader(_Borrowed(raw)))
    return stream


def standard_output() -> BinaryIO:
    """The standard output, for bytes; StoreError if the shell has closed it."""
    stream: BinaryIO | None = getattr(sys.stdout, "buffer", None)
    if stream is None:
        raise StoreError("the standard output is closed")
    return stream


def _with_a_buffer(stream: TextIO | None) -> TextIO | None:
    """A standard stream that writes all it is given, or raises OSError.

    Without a buffer (`python -u`, PYTHONUNBUFFERED) Python drops what does not go out at once.
    """
    raw = getattr(stream, "buffer", None)
    if stream is None or not isinstance(raw, io.FileIO):
        return stream
    return io.TextIOWrapper(
        _AtOnce(_Borrowed(raw)), stream.encoding, stream.errors, write_through=True
    )


class _Borrowed(io.RawIOBase):
    """A standard stream for a buffer of ours, with which it is not closed."""

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def readable(self) -> bool:
        return self._raw.readable()

    def writable(self) -> bool:
        return self._raw.writable()

    def readinto(self, buffer: Any) -> int:
        while (count := self._raw.readinto(buffer)) is None:
            select.select([self._raw], [], [])
        return count

    def write(self, data: Any, /) -> int | None:
        return self._raw.write(data)


class _AtOnce(io.BufferedWriter):
    def write(self, data: Any, /) -> int:
        count = super().write(data)
        self.flush()
        return count


def _fill_descriptors() -> None:
    """Put something in the place of standard streams that the shell has closed.

    Otherwise a file of ours, the database even, would get the number of one of them, and whatever
    a library prints would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The free descriptor with the lowest number is taken. It is opened the wrong way
            # round, so that it cannot be used, as a closed one cannot be.
            os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)


class _Closed(io.RawIOBase):
    """A stream that is not there."""

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> NoReturn:
        raise OSError(errno.EBADF, "it is closed")


class _Guarded:
    """A stream that calls `failed` for an error, and from then on writes to nowhere."""

    def __init__(self, stream: Any, failed: Callable[[OSError], object]) -> None:
        self._stream, self._failed = stream, failed

    def as_text(self) -> TextIO:
        return cast(TextIO, self)

    @property
    def buffer(self) -> _Guarded:
        return _Guarded(self._stream.buffer, self._failed)

    def write(self, data: Any) -> int:
        with self._errors():
            self._stream.write(data)
        return len(data)

    def flush(self) -> None:
        with self._errors():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # At its end the interpreter flushes once more, and would report the error again.
            with suppress(OSError, AttributeError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
            self._failed(error)


def _output_failed(error: OSError) -> NoReturn:
    if is_closed_pipe(error):
        raise ReaderGone from None
    reason = error.strerror or error
    raise OutputFailed(f"the standard output cannot be written: {reason}") from error
