"""An audit's events as the older backend's WebSocket told them, to the end that always comes.

What an engine told comes as it told it, with the images of screenshots. The engine's own result,
which the older backend took apart, is taken apart here too. What the store recorded by itself is
left out, but for the end: one message, the last, that says how the audit has ended.
"""

from __future__ import annotations

import base64
import math
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing

import anyio
from anyio import to_thread

from veritas_peewee.errors import AuditNotFound, StoreClosed, StoreError
from veritas_peewee.models import Audit, AuditEvent
from veritas_peewee.queries.lookups import OPTIONS_EVENT
from veritas_peewee.recording.forms import IMAGE_EVENT, NOTES, NOTES_EVENT, RESULT_EVENT
from veritas_peewee.store import AuditStore
from veritas_peewee.values.details import AUDIT_RESULT, SEALED
from veritas_peewee.values.states import AuditStatus, Ended
from veritas_peewee.web.answers import json_text
from veritas_peewee.web.older_data import Data, error_of, finding_data, result_of
from veritas_peewee.web.problems import problem_of

AGAIN = 2.0
"""Seconds after which an engine that could not be started is started again; then twice as long."""
NOT_FOUND = "Audit ID not found"
COMPLETE, ERROR = "audit_complete", "audit_error"
_DISCONNECTED = "audit_disconnected"
_LAST = ("stats_update", AUDIT_RESULT)
"""What a result is told by, whatever was told before."""
_NOT_TOLD = frozenset({"audit_update", OPTIONS_EVENT, NOTES_EVENT, SEALED})


async def texts_of(
    store: AuditStore, audit_id: str, begin: Callable[[], None] | None
) -> AsyncGenerator[str, None]:
    """The messages of a viewer, from the beginning; `begin` starts the engine of a queued audit."""
    telling = _Telling(store, audit_id)
    try:
        async with aclosing(telling.messages(begin)) as messages:
            async for message in messages:
                yield message
    except AuditNotFound:
        yield _error(audit_id, "the audit was deleted" if telling.has_begun else NOT_FOUND)
    except StoreError as error:
        detail = problem_of(error).detail
        if telling.how is Ended.CLOSING:
            detail = "the server is stopping: the end of the audit is told to who comes again"
        yield _error(audit_id, detail)


def _error(audit_id: str, reason: str) -> str:
    found = {"type": ERROR, "error": reason}
    return json_text(found if reason == NOT_FOUND else {**found, "audit_id": audit_id})


class _Telling:
    """What one viewer is told, and has been told."""

    def __init__(self, store: AuditStore, audit_id: str) -> None:
        self.has_begun = False
        self.how: Ended | None = None
        self._store = store
        self._audit_id = audit_id
        self._end: Data | None = None
        """The event that closes the audit, once there is one: it is told last."""
        self._types: set[str] = set()
        self._findings: set[tuple[object, object]] = set()
        self._modules: set[object] = set()

    async def messages(self, begin: Callable[[], None] | None) -> AsyncGenerator[str, None]:
        """All messages, as JSON; raises what following an audit raises."""
        audit = await self._store.get(self._audit_id)
        self.has_begun = True
        waits = begin if audit.status == AuditStatus.QUEUED else None
        follower = self._store.follow(self._audit_id)
        patience = AGAIN
        try:
            while True:
                if waits is not None:
                    waits()
                event = None
                try:
                    with anyio.move_on_after(math.inf if waits is None else patience):
                        event = await anext(follower)
                except StopAsyncIteration:
                    break
                if event is None:
                    patience *= 2  # it may be the reading that takes so long
                    continue
                if event.event_type != OPTIONS_EVENT:
                    waits = None
                for message in await self._told_by(event):
                    yield await self._text(message)
            audit = await self._store.get(self._audit_id)
            if audit.status == AuditStatus.COMPLETED and AUDIT_RESULT not in self._types:
                for message in self._in_rows(audit):
                    yield await self._text(message)
            yield json_text(self._closing(audit))
        finally:
            self.how = follower.ended
            await follower.aclose()

    async def _told_by(self, event: AuditEvent) -> list[Data]:
        """The messages that an event is told by."""
        if event.event_type in _NOT_TOLD:
            return []
        if event.event_type == RESULT_EVENT:
            return list(self._in_rows(await self._store.get(self._audit_id)))
        found = event.data if isinstance(event.data, dict) else {}
        message = {"type": event.event_type, **found}
        message.pop(NOTES, None)
        self._note(message)
        if event.event_type not in (COMPLETE, ERROR, _DISCONNECTED):
            return [message]
        before, self._end = self._end, message
        return [] if before is None else [before]

    def _note(self, message: Data) -> None:
        """Remember what is not to be told again with the result."""
        self._types.add(message["type"])
        match message:
            case {"type": "finding", "finding": dict(finding)}:
                self._findings.add(_key(finding))
            case {"type": "security_result", "module": str(module)}:
                self._modules.add(module)

    def _in_rows(self, audit: Audit) -> Iterator[Data]:
        """What an audit's rows have and no event of this viewer has told; last the result."""
        for message in _as_events(audit):
            match message:
                case {"type": "finding", "finding": finding}:
                    is_new = _key(finding) not in self._findings
                case {"type": "security_result", "module": module}:
                    is_new = module not in self._modules
                case {"type": kind}:
                    is_new = kind in _LAST or kind not in self._types
            if is_new:
                yield message
        for message in _as_events(audit):
            self._note(message)

    def _closing(self, audit: Audit) -> Data:
        """The last message: the audit's closing event, or one in its place."""
        if audit.status == AuditStatus.COMPLETED:
            found: Data = {"type": COMPLETE, "audit_id": audit.id, "elapsed": audit.elapsed_seconds}
        else:
            found = {"type": ERROR, "audit_id": audit.id, "error": error_of(audit)}
        told = self._end if self._end and self._end["type"] == found["type"] else {}
        return {**found, **told}

    async def _text(self, message: Data) -> str:
        """A message as JSON, with the image of a screenshot."""
        reference = message.get("data")
        if message["type"] != IMAGE_EVENT or not isinstance(reference, dict):
            return json_text(message)
        image = None
        if isinstance(file := reference.get("file"), str):
            try:
                image = await self._store.screenshot(file)
            except StoreClosed:
                raise
            except StoreError:
                image = None  # `verify` names an image that is gone
        return await to_thread.run_sync(_with_image, message, image)


def _key(finding: Data) -> tuple[object, object]:
    return str(finding.get("pattern_type")), str(finding.get("description"))


def _with_image(message: Data, image: bytes | None) -> str:
    data = None if image is None else base64.b64encode(image).decode()
    return json_text({**message, "data": data})


def _as_events(audit: Audit) -> Iterator[Data]:
    """What an engine would have told of an audit that has completed, in order."""
    for shot in audit.screenshots:
        yield {
            "type": IMAGE_EVENT,
            "url": shot.file_path,
            "label": shot.label,
            "index": shot.index_num,
            "data": {"file": shot.file_path},
        }
    if audit.site_type is not None:
        confidence = audit.site_type_confidence
        yield {"type": "site_type", "site_type": audit.site_type, "confidence": confidence}
    for module, result in audit.security_results.items():
        yield {"type": "security_result", "module": module, "result": result}
    for finding in audit.findings:
        yield {"type": "finding", "finding": finding_data(finding)}
    stats = {
        "pages_scanned": audit.pages_scanned,
        "screenshots": audit.screenshots_count,
        "findings": len(audit.findings),
        "ai_calls": audit.details.get("nim_calls_used", 0),
        "security_checks": len(audit.security_results),
        "elapsed_seconds": audit.elapsed_seconds,
    }
    yield {"type": "stats_update", "stats": stats}
    yield {"type": AUDIT_RESULT, "result": {"status": audit.status, **result_of(audit)}}
