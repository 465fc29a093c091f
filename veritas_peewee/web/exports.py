"""The export as a download: sent as it is read, however large; one that fails breaks off."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, BinaryIO, Literal, cast
from weakref import WeakKeyDictionary

import anyio
from anyio import from_thread
from anyio.streams.memory import MemoryObjectSendStream
from fastapi import APIRouter, Query
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from veritas_peewee.errors import StoreBusy
from veritas_peewee.queries.filters import conditions_of
from veritas_peewee.store import AuditStore
from veritas_peewee.transfer.exporting import ExportReport, export_jsonl
from veritas_peewee.transfer.tables import Table, export_csv
from veritas_peewee.web.parameters import GivenFilters, Sorted, Store
from veritas_peewee.web.routes import Route

router = APIRouter(route_class=Route)
MOST = 4
"""The most exports of a store that are sent at once: each has a thread and a connection."""
PATIENCE = 60.0
"""Seconds after which a client that reads nothing loses its export."""
_under_way: WeakKeyDictionary[AuditStore, int] = WeakKeyDictionary()
_TYPES = {"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8"}


@router.get(
    "/export",
    response_class=Response,
    responses={200: {"content": {"application/jsonl": {}, "text/csv": {}}}},
)
async def export(
    store: Store,
    filters: GivenFilters,
    format: Annotated[Literal["jsonl", "csv"], Query(description="JSON Lines or CSV.")] = "jsonl",
    what: Annotated[Table, Query(description="The rows of a CSV.")] = "audits",
    images: Annotated[bool, Query(description="Whether JSON Lines have the images.")] = True,
    order: Sorted = "newest",
) -> Response:
    """All audits, or those that match, for `veritas-peewee import` or a spreadsheet."""
    conditions_of(cast(Any, filters))  # what is refused is told as an error, not in mid-stream
    begin: Callable[..., ExportReport] = (
        partial(export_jsonl, images=images, order=order, **filters)
        if format == "jsonl"
        else partial(export_csv, what=what, order=order, **filters)
    )
    name = "audits.jsonl" if format == "jsonl" else f"{what}.csv"
    return _Download(store, begin, _TYPES[format], name)


class _Download(Response):
    """The bytes that an export writes; its thread waits while the client does not read."""

    def __init__(
        self, store: AuditStore, begin: Callable[..., ExportReport], kind: str, name: str
    ) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(headers=headers, media_type=kind)
        del self.headers["content-length"]
        self._store, self._begin = store, begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with one_of_few(self._store):
            await self._send_all(receive, send)

    async def _send_all(self, receive: Receive, send: Send) -> None:
        sender, chunks = anyio.create_memory_object_stream[bytes](0)
        failures: list[Exception] = []
        is_gone = False

        async def write() -> None:
            # Not cancelled: it ends at its next piece, which nobody takes, and counts until then.
            with anyio.CancelScope(shield=True):
                async with sender:
                    try:
                        await self._write(sender)
                    except Exception as error:
                        failures.append(error)

        async def leave() -> None:
            nonlocal is_gone
            while (await receive())["type"] != "http.disconnect":
                pass
            is_gone = True
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks, chunks:
            tasks.start_soon(write)
            tasks.start_soon(leave)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for chunk in chunks:
                with anyio.move_on_after(PATIENCE) as waiting:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if waiting.cancelled_caught:
                    failures.append(TimeoutError(f"an export was not read for {PATIENCE} seconds"))
                    break
            tasks.cancel_scope.cancel()
        if is_gone:
            return
        if failures:
            raise failures[0]  # the server closes the connection: it does not look complete
        await send({"type": "http.response.body", "body": b""})

    async def _write(self, sender: MemoryObjectSendStream[bytes]) -> None:
        if self._store.location.in_memory:
            # The one connection of a database in memory must not wait for a client.
            whole = io.BytesIO()
            await self._store._apart(partial(self._begin, whole))
            await sender.send(whole.getvalue())
            return
        await self._store._apart(partial(self._begin, cast(BinaryIO, _Pipe(sender))))


@contextmanager
def one_of_few(store: AuditStore) -> Iterator[None]:
    """Counts an export while it is sent; raises StoreBusy if there are too many."""
    if _under_way.get(store, 0) >= MOST:
        raise StoreBusy(f"{MOST} exports are being sent already")
    _under_way[store] = _under_way.get(store, 0) + 1
    try:
        yield
    finally:
        _under_way[store] -= 1


class _Pipe:
    """A file for the export's thread; each piece is taken before the next one is made."""

    def __init__(self, sender: MemoryObjectSendStream[bytes]) -> None:
        self._sender = sender

    def write(self, data: bytes) -> int:
        from_thread.run(self._sender.send, bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing to flush."""
