"""The page of a site: its scores over time, each finding's life, its audits."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request
from markupsafe import Markup
from starlette.responses import Response

from veritas_peewee import sync
from veritas_peewee.models import AuditStatus
from veritas_peewee.presentation.series import series_svg
from veritas_peewee.queries.lives import lives
from veritas_peewee.queries.trends import severities_of
from veritas_peewee.values.plain import shown
from veritas_peewee.web.pages_frame import Frame, answer, html_of
from veritas_peewee.web.pages_list import ROWS
from veritas_peewee.web.parameters import Cursor, Limit, Store

POINTS = 100
"""How many of a site's newest audits the picture and the findings' lives are made of."""
MOST_LIVES = 50
"""How many findings' lives are shown."""


def add_to(router: APIRouter, api_prefix: str) -> None:
    """Add the page of this module."""

    @router.get("/sites/{host:path}", name="pages.site")
    async def site(
        host: str, request: Request, store: Store, limit: Limit = ROWS, cursor: Cursor = None
    ) -> Response:
        frame = Frame(request, api_prefix)
        return answer(await store.read(lambda: _page(host, frame, limit, cursor)))


def _page(host: str, frame: Frame, limit: int, cursor: str | None) -> str:
    series = sync.trend(host=host, limit=POINTS)
    if not series.points:
        raise HTTPException(404, f"there is no audit of {shown(host)}")
    page = sync.history(limit=limit, cursor=cursor, host=host)
    found = lives(series.points)
    completed = [one for one in series.points if one.status == AuditStatus.COMPLETED]
    values: dict[str, Any] = {
        "host": series.host,
        "total": sync.count(host=host),
        "series": series,
        "chart": Markup(series_svg(series.points)),
        "lives": found[:MOST_LIVES],
        "more_lives": len(found) - MOST_LIVES,
        "page": page,
        "severities": severities_of([audit.id for audit in page.items]),
        "is_first": cursor is None,
        "last_two": [one.audit_id for one in completed[-2:]] if len(completed) > 1 else None,
    }
    return html_of("site.html", frame, **values)
