"""An engine's process: its lines as they come, its last words, how it ended, and how to end it.

It knows nothing of audits. All times are those of a clock that never jumps.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Self, cast

import anyio
from anyio.abc import ByteReceiveStream, Process

from veritas_peewee.database.event_loop import asyncio_loop
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.files.inputs import MAX_INPUT
from veritas_peewee.files.platform import (
    NEW_GROUP,
    end_group,
    group_is_there,
    has_pidfd,
    words_of_command,
)
from veritas_peewee.values.plain import invalid, named, plain_number

GRACE = 5.0
"""Seconds that an engine which is told to end, and all that it started, have before they are
killed."""
_LOOKS = 250  # within GRACE, whether anything is left of a group
LINGER = 5.0
"""Seconds without output after which a pipe is left that another process holds open, once the
engine itself has exited."""
LAST_LINES, LAST_TEXT = 20, 4000
"""How much of the end of standard error is remembered, in lines and in bytes."""
_LONGEST = 1e9
"""Seconds, thirty years: a greater number is as good as none, and may be no float."""
Command = str | Sequence[str]


def words_of(command: object) -> list[str]:
    """A command as its words; raises InvalidAudit if it is none. No shell ever reads it."""
    words: list[Any] = []
    if isinstance(command, str):
        with suppress(ValueError):  # a quote without its end
            words = words_of_command(command)
    elif isinstance(command, Iterable):
        words = list(command)
    if not words or not all(map(_is_passable, words)):
        raise invalid("command", "must be a list of texts, or a text with words", command)
    return words


def folder_of(cwd: object) -> str | None:
    """The folder in which an engine is to work; raises InvalidAudit for what is no path."""
    if cwd is None:
        return None
    text: object = cwd
    with suppress(TypeError, ValueError):
        text = os.fsdecode(cast(Any, cwd))
    if not text or not _is_passable(text):
        raise invalid("cwd", "must be the path of a folder", cwd)
    return cast(str, text)


def check_environment(env: object) -> None:
    """Raise InvalidAudit for what cannot be the environment of an engine."""
    if env is None:
        return
    if not isinstance(env, Mapping):
        raise invalid("env", "must be a mapping of texts", env)
    for name, value in env.items():
        if not (_is_passable(name) and name and "=" not in name):
            raise invalid("env", "must have names of variables", name)
        if not _is_passable(value):
            raise invalid(f"env.{named(name)}", "must be text", value)


def limit_of(timeout: object) -> float | None:
    """The seconds that an engine may take; raises InvalidAudit for what is no such number."""
    if timeout is None:
        return None
    number = plain_number(timeout)
    if number is None or not number > 0:
        raise invalid("timeout", "must be a number of seconds above 0", timeout)
    return min(number, _LONGEST)


def _is_passable(value: object) -> bool:
    """Whether a value is text that a process can be given."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except ValueError:  # a lone surrogate
        return False


class Engine:
    """A process whose standard output is read line by line."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.code: int | None = None
        """The exit code, or the negative number of the signal that ended it; None until then."""
        self.timed_out = False
        self._begun: list[bytes] = []
        self._waiting: set[anyio.CancelScope] = set()
        self._errors: deque[bytes] = deque(maxlen=LAST_LINES + 1)
        self._over = anyio.Event()

    @classmethod
    async def start(
        cls, words: list[str], cwd: str | os.PathLike[str] | None, env: Mapping[str, str] | None
    ) -> Self:
        """Start a process; raises OSError if that cannot be done."""
        with _without_a_thread():
            # A group of its own: an engine starts browsers, and all of them are to end with it.
            process = await anyio.open_process(
                words, stdin=subprocess.DEVNULL, cwd=cwd, env=env, **NEW_GROUP
            )
        return cls(process)

    @property
    def last_words(self) -> str:
        """The last lines of standard error."""
        lines = b"".join(self._errors).decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-LAST_LINES:])[-LAST_TEXT:]

    @property
    def how(self) -> str:
        """How it ended, in words."""
        if self.code is not None and self.code < 0:
            try:
                return f"was ended by signal {-self.code} ({signal.Signals(-self.code).name})"
            except ValueError:
                return f"was ended by signal {-self.code}"
        return f"ended with exit code {self.code}"

    async def follow(
        self, take: Callable[[list[bytes]], Awaitable[None]], limit: float | None
    ) -> None:
        """Give the lines of output to `take`, as they come, until the process has ended and all is
        read.

        After `limit` seconds the process is told to end. Raises what `take` raises, and
        InvalidAudit for a line that is too long.
        """
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._await_exit)
            group.start_soon(self._read_errors)
            if limit is not None:
                group.start_soon(self._end_after, limit)
            try:
                await self._read_lines(take)
                await self._over.wait()
            except Exception as error:
                failure = error
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def stop(self) -> None:
        """End the process and all that it started; also while the caller is being cancelled."""
        with anyio.CancelScope(shield=True):
            try:
                await self._end(self.process.wait)
            finally:
                await self.process.aclose()

    async def _end(self, wait: Callable[[], Awaitable[object]]) -> None:
        """Tell all that is left to end, and kill what has not after GRACE; `wait` for the first."""
        try:
            end_group(self.process, kill=False)
            with anyio.move_on_after(GRACE):
                await wait()
                # A browser that the engine has started may take longer to end than the engine,
                # and nothing announces its end.
                for _ in range(_LOOKS):
                    if not group_is_there(self.process):
                        break
                    await anyio.sleep(GRACE / _LOOKS)
        finally:
            end_group(self.process, kill=True)

    async def _await_exit(self) -> None:
        self.code = await self.process.wait()
        for scope in self._waiting:
            scope.deadline = anyio.current_time() + LINGER
        self._over.set()

    async def _end_after(self, limit: float) -> None:
        with anyio.move_on_after(limit):
            await self._over.wait()
            return
        self.timed_out = True
        await self._end(self._over.wait)

    async def _receive(self, stream: ByteReceiveStream) -> bytes:
        """What comes next; nothing at the end."""
        deadline = math.inf if self.code is None else anyio.current_time() + LINGER
        with anyio.CancelScope(deadline=deadline) as scope:
            self._waiting.add(scope)
            try:
                return await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return b""
            finally:
                self._waiting.discard(scope)
        return b""  # the time was over

    async def _read_errors(self) -> None:
        assert self.process.stderr is not None
        while chunk := await self._receive(self.process.stderr):
            for line in chunk.splitlines(keepends=True):
                begun = self._errors and not self._errors[-1].endswith(b"\n")
                before = self._errors.pop() if begun else b""
                self._errors.append((before + line)[-LAST_TEXT:])

    async def _read_lines(self, take: Callable[[list[bytes]], Awaitable[None]]) -> None:
        assert self.process.stdout is not None
        size = 0
        while chunk := await self._receive(self.process.stdout):
            *lines, rest = chunk.split(b"\n")
            if lines:
                lines[0] = self.begun() + lines[0]
                size = 0
            if rest:
                self._begun.append(rest)
                size += len(rest)
            if lines:
                await take(lines)
            if size > MAX_INPUT:
                raise InvalidAudit(f"the engine's output has a line of more than {size} bytes")
        if begun := self.begun():
            await take([begun])

    def begun(self) -> bytes:
        """The beginning of a line whose end has not come; it is given once."""
        begun = b"".join(self._begun)
        self._begun.clear()
        return begun


def _without_a_thread() -> AbstractContextManager[None]:
    """A block in which a process is started for whose end no thread waits."""
    if sys.platform != "win32" and sys.version_info < (3, 12):
        if asyncio_loop() is not None and has_pidfd():
            from veritas_peewee.running.children import watched_by_descriptor

            return watched_by_descriptor()
    return nullcontext()
