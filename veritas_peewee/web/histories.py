"""Routes of many audits: the history, the search, counts, series, what changed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from veritas_peewee import sync
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger.heads import Head
from veritas_peewee.models import Audit
from veritas_peewee.presentation.data import facet_pairs
from veritas_peewee.queries.comparison import Comparison, last_two
from veritas_peewee.queries.search import Hit
from veritas_peewee.queries.trends import Trend
from veritas_peewee.web.answers import Answer
from veritas_peewee.web.parameters import Cursor, GivenFilters, Limit, Sorted, Store, Text
from veritas_peewee.web.problems import told
from veritas_peewee.web.routes import Route

router = APIRouter(route_class=Route)


class AuditPage(BaseModel):
    """Some audits, and the cursor that continues after them (null: these were the last)."""

    items: list[Audit]
    next_cursor: str | None


class HitPage(BaseModel):
    """Some of what was found, and the cursor that continues after it (null: that was all)."""

    items: list[Hit]
    next_cursor: str | None


class FacetValue(BaseModel):
    """A value, and how many audits have it; null stands for those without one."""

    value: str | None
    audits: int


class FacetLists(BaseModel):
    """How many audits have each value, most first."""

    total: int
    status: list[FacetValue]
    risk_level: list[FacetValue]
    site_type: list[FacetValue]
    audit_tier: list[FacetValue]
    pattern_type: list[FacetValue]


class Count(BaseModel):
    """How many audits there are."""

    count: int


class StoreHead(BaseModel):
    """The store's head; its text is what `veritas-peewee verify --against` takes."""

    head: str
    position: int
    audits: int
    changes: int
    digest: str


@router.get("/audits", response_model=AuditPage)
async def history(
    store: Store,
    filters: GivenFilters,
    limit: Limit = 20,
    cursor: Cursor = None,
    order: Sorted = "newest",
) -> Response:
    """A page of the audits."""
    return Answer(await store.history(limit=limit, cursor=cursor, order=order, **filters))


@router.get("/search", response_model=HitPage)
async def search(
    q: Annotated[str, Query(description='Words, `"a phrase"`, `-not`, `begin*`.')],
    store: Store,
    filters: GivenFilters,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """A page of the ended audits that have these words, best first."""
    return Answer(await store.search(q, limit=limit, cursor=cursor, **filters))


@router.get("/facets", response_model=FacetLists)
async def facets(store: Store, filters: GivenFilters) -> Response:
    """How many audits have each status, risk level, site type, tier and pattern type."""
    found = facet_pairs(await store.facets(**filters))
    return Answer({name: _listed(kind) for name, kind in found.items()})


def _listed(kind: Any) -> Any:
    if not isinstance(kind, list):
        return kind
    return [{"value": value, "audits": number} for value, number in kind]


@router.get("/count", response_model=Count)
async def count(store: Store, filters: GivenFilters) -> Response:
    """How many audits there are."""
    return Answer({"count": await store.count(**filters)})


@router.get("/compare", response_model=Comparison, responses=told(404))
async def compare(
    store: Store,
    ids: Annotated[list[str] | None, Query(description="Two audits or more.")] = None,
    url: Annotated[Text, Query(description="Its last two completed audits.")] = None,
    host: Annotated[Text, Query(description="The last two completed audits of a site.")] = None,
) -> Response:
    """What changed between audits, each compared with the one that ran before it."""
    if [bool(ids), url is not None, host is not None].count(True) != 1:
        raise InvalidAudit("give `ids` of two audits or more, or `url`, or `host`")
    if ids:
        return Answer(await store.compare(ids))

    return Answer(await store.read(lambda: sync.compare(last_two(url, host=host))))


@router.get("/trend", response_model=Trend)
async def trend(
    store: Store,
    url: Text = None,
    host: Text = None,
    since: Text = None,
    until: Text = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """The newest audits of an address or a site as a series, oldest first."""
    return Answer(await store.trend(url, host=host, since=since, until=until, limit=limit))


@router.get("/head", response_model=StoreHead)
async def head(store: Store) -> Response:
    """What the store holds now, in short: to be kept elsewhere, for a later verification."""
    found: Head = await store.head()
    return Answer(
        {
            "head": str(found),
            "position": found.position,
            "audits": found.audits,
            "changes": found.changes,
            "digest": found.digest,
        }
    )
