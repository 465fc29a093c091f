"""What a page offers to those who trust nobody: a signed checkpoint, and an audit as a bag.

Both are asked for with POST, by a button: to sign costs something, and browsers and proxies fetch
links that nobody clicked.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any, BinaryIO, cast

import anyio
from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from veritas_peewee.errors import DatabaseCorrupt, NotProven
from veritas_peewee.evidence import keys
from veritas_peewee.evidence.checkpoints import Checkpoint
from veritas_peewee.evidence.keys import PublicKey
from veritas_peewee.store import AuditStore
from veritas_peewee.values.ids import check_id
from veritas_peewee.web.exports import PATIENCE, one_of_few
from veritas_peewee.web.guard import is_from_elsewhere
from veritas_peewee.web.parameters import Store

CHECKPOINT, BAG = "/integrity/checkpoint", "/integrity/bag"
"""The paths of the buttons. A POST to them changes nothing but what the log says of itself."""
_IN_MEMORY = 16 << 20
"""Bytes of a bag above which it is in a temporary file while it is sent."""
_PIECE = 1 << 16

KeyFile = str | os.PathLike[str]


class Signer:
    """The private key of an application, in a file; raises StoreError and InvalidAudit if it is not
    one."""

    def __init__(self, file: KeyFile) -> None:
        self.file = file
        self.public: PublicKey = keys.signing_key(file).public
        self._one_at_once = anyio.CapacityLimiter(1)

    async def sign(self, store: AuditStore) -> Checkpoint:
        """A checkpoint of the store as it is now."""
        async with self._one_at_once:
            return await store.head(key=self.file)

    async def bag(self, store: AuditStore, audit_id: str) -> BinaryIO:
        """An audit's bag as a zip file, which was written as a whole: who takes it slowly keeps no
        reader of the store waiting."""
        async with self._one_at_once:
            checkpoint = await store.head(key=self.file)
            with ExitStack() as stack:
                file = stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY))
                whole = cast(BinaryIO, file)
                await store.export_bag(audit_id, whole, checkpoint=checkpoint, key=self.public)
                stack.pop_all()  # who is given the file closes it
            return whole


def add_to(router: APIRouter, signer: Signer) -> None:
    """Add what the buttons ask for."""

    @router.post(CHECKPOINT, name="pages.checkpoint")
    async def checkpoint(request: Request, store: Store) -> Response:
        _refuse_others(request)
        with _refusing():
            made = await signer.sign(store)
        headers = {"Content-Disposition": 'attachment; filename="checkpoint"'}
        return Response(made.note.encode(), 200, headers, "text/plain; charset=utf-8")

    @router.post(BAG, name="pages.bag")
    async def bag(
        request: Request, store: Store, audit: Annotated[str, Query(description="The audit's id.")]
    ) -> Response:
        _refuse_others(request)
        name = f"{check_id(audit)}.zip"
        with _refusing():
            whole = await signer.bag(store, audit)
        return _Sent(store, whole, name)


def _refuse_others(request: Request) -> None:
    if is_from_elsewhere(request.headers):
        raise HTTPException(403, "only a page of this server may ask for this")


@contextmanager
def _refusing() -> Iterator[None]:
    """Tell why nothing is signed or proven of what was altered: that is no fault of the server, and
    whoever looks on is to know it."""
    try:
        yield
    except (DatabaseCorrupt, NotProven) as error:
        raise HTTPException(409, str(error)) from error


class _Sent(Response):
    """A file as a download, which is closed at the end; a client that reads nothing loses it."""

    def __init__(self, store: AuditStore, file: BinaryIO, name: str) -> None:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(None, 200, headers, "application/zip")
        self.headers["content-length"] = str(size)
        self._store, self._file = store, file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file, one_of_few(self._store):
            await self._send(send, {"type": "http.response.start", "status": 200,
                                    "headers": self.raw_headers})  # fmt: skip
            while piece := self._file.read(_PIECE):
                await self._send(
                    send, {"type": "http.response.body", "body": piece, "more_body": True}
                )
            await self._send(send, {"type": "http.response.body", "body": b""})

    async def _send(self, send: Send, message: Any) -> None:
        with anyio.move_on_after(PATIENCE) as waiting:
            await send(message)
        if waiting.cancelled_caught:
            raise TimeoutError(f"a bag was not read for {PATIENCE} seconds")
