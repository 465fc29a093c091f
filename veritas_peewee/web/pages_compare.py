"""The page that compares audits: step by step, with the pairs before and after."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from veritas_peewee import sync
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.queries.neighbours import Pair, pairs_beside
from veritas_peewee.web.pages_frame import Frame, answer, html_of
from veritas_peewee.web.parameters import Store

MOST = 20
"""How many audits can be compared on one page."""


def add_to(router: APIRouter, api_prefix: str) -> None:
    """Add the page of this module."""

    @router.get("/compare", name="pages.compare")
    async def compare(
        request: Request,
        store: Store,
        ids: Annotated[list[str] | None, Query(description="Two audits or more.")] = None,
    ) -> Response:
        frame = Frame(request, api_prefix)
        wanted = [one for text in ids or () for one in text.split(",") if one]
        if len(wanted) > MOST:
            raise InvalidAudit(f"ids: at most {MOST} audits are compared on a page")

        def read() -> str:
            found = sync.compare(wanted)
            beside: tuple[Pair | None, Pair | None] = (None, None)
            if len(found.audits) == 2:
                beside = pairs_beside(found.audits[0].id, found.audits[1].id)
            return html_of("compare.html", frame, found=found, before=beside[0], after=beside[1])

        return answer(await store.read(read))
