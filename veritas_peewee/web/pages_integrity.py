"""The page on what the store holds and how it is: the head, what was removed, the last
verification, size and health."""

from __future__ import annotations

from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from veritas_peewee import sync
from veritas_peewee.errors import StoreBusy
from veritas_peewee.ledger.heads import Head
from veritas_peewee.maintenance.diagnosis import Finding
from veritas_peewee.maintenance.doctor import diagnose
from veritas_peewee.models import RemovedAudit
from veritas_peewee.store import AuditStore
from veritas_peewee.web.background import background_of
from veritas_peewee.web.guard import is_from_elsewhere
from veritas_peewee.web.pages_frame import WITH_FORM, Frame, answer, html_of
from veritas_peewee.web.parameters import Store
from veritas_peewee.web.verification import verification_of

PATH = "/integrity"
"""The page's path; a POST to it begins a verification."""
MOST_WAIT = 3
"""How many wait at most for the examination of the store that is under way."""
MOST = 20
"""How many removed audits are shown."""


def add_to(router: APIRouter, api_prefix: str) -> None:
    """Add the page of this module."""
    examining = _Examining()

    @router.get(PATH, name="pages.integrity")
    async def integrity(
        request: Request,
        store: Store,
        examine: Annotated[bool, Query(description="Whether to examine the file too.")] = False,
    ) -> Response:
        frame, verification = Frame(request, api_prefix), verification_of(store)
        head, removed, number = await store.read(_read)
        health = await examining.health(store) if examine else None
        return answer(
            html_of(
                "integrity.html",
                frame,
                head=head,
                removed=removed,
                number=number,
                health=health,
                current=verification.current,
                last=verification.last,
            ),
            headers=WITH_FORM,
        )

    # With POST, because it costs much: browsers and proxies fetch links that nobody clicked, and
    # do not always say from where, while they name the origin of every form.
    @router.post(PATH, name="pages.verify")
    async def verify(request: Request, store: Store) -> Response:
        if is_from_elsewhere(request.headers):
            raise HTTPException(403, "only a page of this server may begin a verification")
        verification_of(store).begin(store, background_of(request))
        root = Frame(request, api_prefix).root
        return Response(None, 303, {"Location": f"{root}{PATH}#verified-h"})


def _read() -> tuple[Head, list[RemovedAudit], int]:
    newest = RemovedAudit.select().order_by(RemovedAudit.removed_at.desc()).limit(MOST)
    return sync.head(), list(newest), RemovedAudit.select().count()


class _Examining:
    """One examination at a time, for few who wait: each reads the whole file."""

    def __init__(self) -> None:
        self._one_at_once = CapacityLimiter(1)
        self._asked = 0

    async def health(self, store: AuditStore) -> list[Finding]:
        """What `veritas-peewee doctor` says; raises StoreBusy if too many wait for it."""
        if store.location.in_memory:
            return [Finding("note", "database", "it is in memory: there is no file to examine")]
        if self._asked > MOST_WAIT:
            raise StoreBusy("the store is being examined for others: ask again in a moment")
        self._asked += 1
        try:
            given = store.location.given
            return await to_thread.run_sync(diagnose, given, limiter=self._one_at_once)
        finally:
            self._asked -= 1
