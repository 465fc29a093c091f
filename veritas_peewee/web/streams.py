"""An audit live: a snapshot, each event once, and an end that says how; by SSE and by WebSocket.

Each message has a name (`snapshot`, `event`, `error`, `end`) and data; an event's has the token
after which a viewer that comes back continues. In SSE the messages of events have no name of their
own, so that a browser gives them to `onmessage`. What goes wrong after the beginning is a message
`error` and then an end that says `failed`: no broken stream looks like a complete one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Annotated
from weakref import WeakKeyDictionary

import anyio
from anyio.lowlevel import checkpoint
from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message as Sent
from starlette.types import Send
from starlette.websockets import WebSocketState

from veritas_peewee.errors import StaleToken, StoreError
from veritas_peewee.following.follower import Follower
from veritas_peewee.models import AuditEvent
from veritas_peewee.store import AuditStore
from veritas_peewee.values.states import Ended
from veritas_peewee.values.tokens import check_after, id_in
from veritas_peewee.web.answers import json_text, shown
from veritas_peewee.web.messages import Message, pieces, socket_text, sse_bytes
from veritas_peewee.web.parameters import AuditId, Store, Text
from veritas_peewee.web.problems import problem_of
from veritas_peewee.web.routes import Route

HEARTBEAT = 4.0
"""Seconds without an event after which a viewer is sent a sign of life: some clients, and some
proxies, give up after five."""
AT_ONCE = 100
"""The most events that are made ready before other tasks run."""
RETRY = 1000
"""Milliseconds after which a browser that has lost the stream comes back."""

_REFUSED = re.compile(r"q\s*=\s*0(\.0*)?")
_ID = re.compile("[0-9]{1,19}")

router = APIRouter(route_class=Route)


Messages = AsyncGenerator[list[Message | AuditEvent], None]
"""Messages as they come: those that are there at once are sent at once."""


def event_id(after: str | None) -> int:
    """The event after which a page of a log begins, given as an id or a token; 0 for None."""
    found = _after(after)
    return id_in(found) if isinstance(found, str) else found


def _after(text: str | None) -> int | str:
    if not text:
        return 0
    return check_after(int(text) if _ID.fullmatch(text) else text)


async def _begin(
    store: AuditStore, connection: HTTPConnection, audit_id: str, after: str | None
) -> Messages:
    """The messages of a stream; raises AuditNotFound and InvalidAudit before there is one."""
    try:
        follower = await store.follow(audit_id, after=_after(after))
    except StaleToken as error:
        await store.get(audit_id)  # raises AuditNotFound
        return _failed(error)
    turns = _turns.setdefault(store, anyio.Lock())
    return _messages(follower, await shown(store, connection, audit_id), turns)


_turns: WeakKeyDictionary[AuditStore, anyio.Lock] = WeakKeyDictionary()


def _error(error: StoreError) -> Message:
    return Message("error", json_text(problem_of(error).model_dump()))


def _end(how: Ended | None) -> Message:
    return Message("end", json_text({"how": how}))


async def _failed(error: StoreError) -> Messages:
    yield [_error(error), _end(Ended.FAILED)]


async def _messages(follower: Follower, snapshot: object, turns: anyio.Lock) -> Messages:
    try:
        yield [Message("snapshot", json_text(snapshot))]
        last: list[Message | AuditEvent] = []
        while True:
            try:
                events = [await anext(follower), *follower.ready()]
            except StopAsyncIteration:
                break
            except StoreError as error:
                if follower.ended not in (Ended.DELETED, Ended.CLOSING):
                    last = [_error(error)]
                break
            for start in range(0, len(events), AT_ONCE):
                # Viewers who catch up take turns, one in each round of the loop: a hundred of them
                # in one would leave writers one write in the time of a hundred pieces. For what
                # comes live, following rests in proportion to what it took.
                if not follower.is_live:
                    async with turns:
                        await checkpoint()
                yield [*events[start : start + AT_ONCE]]
        yield [*last, _end(follower.ended)]
    finally:
        await follower.aclose()


class _Pulse:
    """Sends a viewer a sign of life whenever nothing else was sent for so long.

    Beside the stream, which goes on meanwhile: to interrupt its wait could cut a slow read short,
    again and again.
    """

    def __init__(self, beat: Callable[[], Awaitable[object]]) -> None:
        self._beat = beat
        self.sent()

    def sent(self) -> None:
        """Something was sent just now."""
        self._at = anyio.current_time()

    async def run(self) -> None:
        """Beat until this task is cancelled."""
        while True:
            left = self._at + HEARTBEAT - anyio.current_time()
            if left > 0:
                await anyio.sleep(left)
            else:
                self.sent()
                await self._beat()


# ---- server-sent events ----


class _Stream(StreamingResponse):
    async def stream_response(self, send: Send) -> None:
        # Ended here when the viewer goes, not when somebody collects it.
        iterator = self.body_iterator
        assert isinstance(iterator, AsyncGenerator)
        comment: Sent = {"type": "http.response.body", "body": b":\n\n", "more_body": True}
        pulse = _Pulse(partial(send, comment))

        async def sending(message: Sent) -> None:
            pulse.sent()
            await send(message)

        try:
            async with anyio.create_task_group() as tasks, aclosing(iterator):
                tasks.start_soon(pulse.run)
                await super().stream_response(sending)
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:  # Starlette knows the error of a lost viewer alone
            raise group.exceptions[0] from None


def is_accepted(request: Request) -> bool:
    """Whether a request accepts server-sent events, and does not only let them pass with `*`."""
    for one in request.headers.get("accept", "").lower().split(","):
        kind, *more = (part.strip() for part in one.split(";"))
        if kind == "text/event-stream":
            return not any(_REFUSED.fullmatch(part) for part in more)
    return False


async def sse(store: AuditStore, request: Request, audit_id: str, after: str | None) -> Response:
    """The stream of an audit as server-sent events, after the last one that the viewer has."""
    last = request.headers.get("last-event-id") or after
    messages = await _begin(store, request, audit_id, last)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return _Stream(_as_sse(messages), media_type="text/event-stream", headers=headers)


async def _as_sse(messages: Messages) -> AsyncGenerator[bytes, None]:
    async with aclosing(messages):
        yield f"retry: {RETRY}\n\n".encode()
        async for some in messages:
            for piece in pieces(map(sse_bytes, some)):
                yield piece


# ---- WebSocket ----


@router.websocket("/audits/{audit_id}/stream", name="stream")
async def stream(
    audit_id: AuditId,
    socket: WebSocket,
    store: Store,
    after: Annotated[Text, Query(description="The last token that the viewer has.")] = None,
) -> None:
    """The same stream, each message as JSON: `{"message": name, "data": …, "token": …}`."""
    await socket.accept()
    try:
        messages = await _begin(store, socket, audit_id, after)
    except StoreError as error:
        messages = _failed(error)
    await play(socket, _as_texts(messages), '{"message":"ping"}')


async def _as_texts(messages: Messages) -> AsyncGenerator[str, None]:
    async with aclosing(messages):
        async for some in messages:
            for message in some:
                yield socket_text(message)


async def play(socket: WebSocket, texts: AsyncGenerator[str, None], beat: str = "") -> None:
    """Send all texts over an accepted WebSocket and close it; end them when the viewer goes.

    `beat` is sent while nothing else is; empty: nothing.
    """
    pulse = _Pulse(lambda: _took(socket.send_text(beat)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_gone, socket, tasks.cancel_scope)
        if beat:
            tasks.start_soon(pulse.run)
        async with aclosing(texts):
            async for text in texts:
                pulse.sent()
                if not await _took(socket.send_text(text)):
                    break
                await checkpoint()  # a server may let a lost viewer be sent to without waiting
        tasks.cancel_scope.cancel()
    if socket.client_state is not WebSocketState.DISCONNECTED:
        await _took(socket.close())


async def _took(sending: Awaitable[None]) -> bool:
    """Whether the viewer was still there."""
    try:
        await sending
    except (WebSocketDisconnect, RuntimeError):  # servers raise either
        return False
    return True


async def _until_gone(socket: WebSocket, scope: anyio.CancelScope) -> None:
    """Notice that the viewer goes; what it sends is not read."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
    scope.cancel()
