"""The run of an audit: its engine's output recorded as it comes, its end by what happened."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.errors import InvalidAudit, StoreError
from veritas_peewee.models import AuditStatus
from veritas_peewee.recording import operations
from veritas_peewee.recording.forms import NOTES, NOTES_EVENT, Event, with_notes
from veritas_peewee.recording.live import NO_END, LiveOutput
from veritas_peewee.recording.recorder import end_of_output, record
from veritas_peewee.running.engine import Engine
from veritas_peewee.running.to_its_end import to_its_end

_logger = logging.getLogger("veritas_peewee")

_CANCELLED = "the program that ran this audit has stopped it"

Record = Callable[[Event], Awaitable[Any]]
"""Records one event leniently: the one place where what an engine tells becomes an event."""
Write = Callable[..., Awaitable[Any]]


class Claim:
    """A claim that is known afterwards, also by a caller who was cancelled while it was made."""

    def __init__(self, audit_id: str) -> None:
        self.audit_id = audit_id
        self._claimed = False

    def make(self) -> bool:
        self._claimed = operations.claim(self.audit_id)
        return self._claimed

    def give_up(self) -> None:
        """End an audit that was claimed and will not be run."""
        if not self._claimed:
            return
        if operations.runner_of(self.audit_id) == current_database().session.id:
            end_of_output(self.audit_id, _CANCELLED)


async def claim_to_run(audit_id: str, write: Write) -> bool:
    """Claim a queued audit; a caller who is cancelled meanwhile leaves no claim behind."""
    claim = Claim(audit_id)
    try:
        claimed: bool = await write(claim.make)
    except BaseException:
        with suppress(StoreError):
            await to_its_end(write, claim.give_up)
        raise
    return claimed


async def run_function(
    audit_id: str, engine: Callable[[], Awaitable[object]], write: Write
) -> None:
    """Await an engine that is a function, of an audit that the caller has claimed, and end the
    audit: with an exception as an error, cancelled as disconnected."""
    try:
        await engine()
    except Exception as error:
        _logger.exception("the engine of audit %s failed", audit_id)
        reason = f"the engine failed: {type(error).__name__}: {error}"
        await to_its_end(partial(write, failed=True), _end, audit_id, reason, None, None)
    except BaseException:
        await _give_up(write, audit_id, _CANCELLED)
        raise
    else:
        await to_its_end(partial(write, failed=False), _end, audit_id, NO_END, None, None)


async def run_audit(
    audit_id: str,
    record: Record,
    write: Write,
    words: list[str],
    *,
    cwd: str | os.PathLike[str] | None,
    env: Mapping[str, str] | None,
    limit: float | None,
) -> None:
    """Run the engine of an audit that the caller has claimed, and end the audit.

    After `limit` seconds the engine is told to end. Cancelled, it is ended first. Raises the
    StoreError with which something could not be recorded; the audit has ended then too, as far as
    that can be recorded.
    """
    output = _Output(record)
    try:
        engine = await Engine.start(words, cwd, env)
    except OSError as error:
        what = _not_there(cwd) or words[0]
        reason = f"the engine could not be started: {what}: {error.strerror or error}"
        await to_its_end(partial(write, failed=True), end_of_output, audit_id, reason)
        return
    except BaseException:
        await _give_up(write, audit_id, _CANCELLED)
        raise
    try:
        await engine.follow(output.take, limit)
        cut_off = await output.end()
    except StoreError as error:
        reason = f"the engine was stopped, because its output could not be recorded: {error}"
        is_ours = isinstance(error, InvalidAudit)  # a line that is too long; else the store's
        try:
            await engine.stop()
        finally:
            await _give_up(write, audit_id, reason, output if is_ours else None, failed=True)
        if not is_ours:
            raise
    except BaseException:
        try:
            await engine.stop()
        finally:
            if begun := engine.begun():
                output.take_later(begun)
            await _give_up(write, audit_id, _CANCELLED, output)
        raise
    else:
        # Whoever cancels now is too late: the audit has to end, by what its engine did.
        await to_its_end(_finish, audit_id, write, engine, output, cut_off, limit)


async def _finish(
    audit_id: str,
    write: Write,
    engine: Engine,
    output: _Output,
    cut_off: str | None,
    limit: float | None,
) -> None:
    """End the audit of an engine that has ended by itself, or that ran too long."""
    await engine.process.aclose()
    failed = engine.timed_out or engine.code != 0
    reason = cut_off or output.nothing_came() or NO_END
    if engine.timed_out:
        reason = f"the engine was stopped, because it ran for longer than {limit:g} s"
    elif failed:
        reason = ": ".join(filter(None, (f"the engine {engine.how}", engine.last_words)))
    await write(_end, audit_id, reason, engine.code, cut_off, failed=failed)


def _not_there(cwd: str | os.PathLike[str] | None) -> str | None:
    """The folder in which an engine is to work, if it is none; the system names the engine then."""
    return None if cwd is None or os.path.isdir(cwd) else os.fspath(cwd)


@atomic
def _end(
    audit_id: str, reason: str, code: int | None, cut_off: str | None, *, failed: bool
) -> None:
    unfinished = (AuditStatus.QUEUED, AuditStatus.RUNNING)
    if operations.audit_state(audit_id)["status"] not in unfinished and not failed:
        reason = "the engine has ended"
    ended = end_of_output(audit_id, reason, failed=failed, always=True)
    if cut_off and not (ended and reason == cut_off):
        record(audit_id, with_notes({"type": NOTES_EVENT}, [cut_off]))
    if failed and not ended:  # the engine itself closed the audit before
        event = {"type": "engine_exit", "code": code, "message": reason, NOTES: [reason]}
        record(audit_id, event, lenient=True)


async def _give_up(
    write: Write,
    audit_id: str,
    reason: str,
    output: _Output | None = None,
    *,
    failed: bool = False,
) -> None:
    """End an audit, also for a caller who is cancelled; before that, what has come of its `output`
    and was held back is recorded, for nothing will complete it."""
    await to_its_end(_give_up_now, write, audit_id, reason, output, failed)


async def _give_up_now(
    write: Write, audit_id: str, reason: str, output: _Output | None, failed: bool
) -> None:
    cut_off = None
    if output is not None:
        with suppress(StoreError):
            cut_off = await output.end()
    with suppress(StoreError):
        await write(_stop, audit_id, reason, cut_off, failed=failed)


@atomic
def _stop(audit_id: str, reason: str, cut_off: str | None, *, failed: bool) -> None:
    if cut_off is not None:  # first, because who follows sees nothing after the end
        record(audit_id, with_notes({"type": NOTES_EVENT}, [cut_off]))
    end_of_output(audit_id, reason, failed=failed)


class _Output:
    """The lines of an engine, recorded as events of its audit."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._output = LiveOutput()
        self._left: deque[Event] = deque()
        """Events that are not recorded yet: whoever is cancelled leaves them to `end`."""
        self._rest = self._output.rest()
        """Begun by `end`, which goes on with it if it was cancelled."""

    async def take(self, lines: list[bytes]) -> None:
        """Record the events that lines complete."""
        for line in lines:
            self.take_later(line)
        await self._record_all()

    def take_later(self, line: bytes) -> None:
        """Keep the events that a line completes until `end` records them."""
        self._left.extend(self._output.events(line))

    def nothing_came(self) -> str | None:
        """Why there was no event at all; None if there was one."""
        return self._output.nothing_came()

    async def end(self) -> str | None:
        """Record what is left; what was cut off, in words, if something was."""
        await self._record_all()
        try:
            # One by one: the last one has the notes on those that could not be recorded.
            for event in self._rest:
                self._left.append(event)
                await self._record_all()
        except InvalidAudit as error:
            return str(error)
        return None

    async def _record_all(self) -> None:
        # What was read is recorded, whoever cancels the run meanwhile.
        if self._left:
            await to_its_end(self._record_each)

    async def _record_each(self) -> None:
        while self._left:
            await self._record_one(self._left.popleft())

    async def _record_one(self, event: Event) -> None:
        try:
            await self._record(event)
        except InvalidAudit as error:
            self._output.passed_over(event, error)
