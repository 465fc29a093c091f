"""The list of audits, with filters, counts and what is running; and the search."""

from __future__ import annotations

import hashlib
import math
import time
import weakref
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_type_hints

import anyio
from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from peewee import fn
from starlette.responses import Response

from veritas_peewee import sync
from veritas_peewee.models import Audit, AuditStatus, CatalogEntry, StoreChanges
from veritas_peewee.presentation.page import clean, flowing
from veritas_peewee.queries.counting import NO_VALUE, Facets
from veritas_peewee.queries.filters import Filters
from veritas_peewee.queries.history import Order
from veritas_peewee.queries.progress import Progress, progress
from veritas_peewee.queries.snippets import Snippet
from veritas_peewee.queries.trends import severities_of
from veritas_peewee.store import AuditStore
from veritas_peewee.web.pages_frame import Frame, answer, html_of
from veritas_peewee.web.parameters import Cursor, GivenFilters, Limit, Sorted, Store

ROWS = 25
"""How many audits a page has unless another number is asked for."""
MOST_RUNNING = 20
"""How many running audits are shown above the list."""
MOST_VALUES = 12
"""How many values of a facet are shown: those that most audits have."""
FRESH = 1.0
"""Seconds for which viewers are given the same picture of what is running."""
COUNTS_FRESH = 5.0
"""Seconds for which they are given the same counts."""
PATIENCE = 0.012
"""Seconds for which a page waits for its counts."""
IMPATIENT = 60.0
"""Seconds for which no page waits for counts that took longer than that."""
LONGEST = 400
"""The most characters of a snippet that are shown."""


class Value(NamedTuple):
    """A value of a facet, with where a click on it leads."""

    name: str | None
    audits: int
    href: str | None
    chosen: bool


class Running(NamedTuple):
    """What runs now."""

    audits: list[tuple[Audit, Progress]]
    more: bool
    version: str
    """Differs when an audit has come, begun, ended or gone."""


def add_to(router: APIRouter, api_prefix: str) -> None:
    """Add the pages of this module."""
    shared = _Shared()

    def counting(frame: Frame, filters: dict[str, Any]) -> tuple[str, Callable[[], str]]:
        def read() -> str:
            found = sync.facets(**filters)
            return html_of("facets.html", frame, total=found.total, facets=_listed(found, frame))

        return f"facets {frame.list()}", read

    @router.get("/", name="pages.list")
    async def audits(
        request: Request,
        store: Store,
        filters: GivenFilters,
        limit: Limit = ROWS,
        cursor: Cursor = None,
        order: Sorted = "newest",
        counts: Literal["1"] | None = None,
    ) -> Response:
        frame = Frame(request, api_prefix)
        # Some counts take longer than a page may: then the script asks for them, or the reader.
        get_counts = shared.text if counts else shared.soon
        found = await get_counts(store, *counting(frame, filters), COUNTS_FRESH)

        def read() -> str:
            page = sync.history(limit=limit, cursor=cursor, order=order, **filters)
            return html_of(
                "list.html",
                frame,
                page=page,
                severities=severities_of([audit.id for audit in page.items]),
                running=_running(filters) if cursor is None else None,
                facets=None if found is None else Markup(found),
                fields=FIELDS,
                orders=get_args(Order),
                is_first=cursor is None,
            )

        return answer(await store.read(read))

    @router.get("/facets", name="pages.facets")
    async def facets(request: Request, store: Store, filters: GivenFilters) -> Response:
        frame = Frame(request, api_prefix)
        return answer(await shared.text(store, *counting(frame, filters), COUNTS_FRESH))

    @router.get("/running", name="pages.running")
    async def running(request: Request, store: Store, filters: GivenFilters) -> Response:
        frame = Frame(request, api_prefix)

        def read() -> str:
            return html_of("running.html", frame, running=_running(filters))

        return answer(await shared.text(store, f"running {frame.list()}", read, FRESH))

    @router.get("/search", name="pages.search")
    async def search(
        request: Request,
        store: Store,
        filters: GivenFilters,
        q: Annotated[str, Query()] = "",
        limit: Limit = ROWS,
        cursor: Cursor = None,
    ) -> Response:
        frame = Frame(request, api_prefix)

        def read() -> str:
            page = sync.search(q, limit=limit, cursor=cursor, **filters)
            ids = [hit.audit.id for hit in page.items]
            return html_of(
                "search.html",
                frame,
                page=page,
                q=q,
                severities=severities_of(ids),
                fields=FIELDS,
                marked=_marked,
                is_first=cursor is None,
            )

        return answer(await store.read(read))


# ---- the filters as a form ----


class Field(NamedTuple):
    """A filter's field in the form."""

    name: str
    kind: str
    options: tuple[str, ...]


def _field(name: str, kind: Any) -> Field:
    kinds = get_args(kind)
    for one in kinds:
        if isinstance(one, type) and issubclass(one, Enum):
            return Field(name, "select", tuple(member.value for member in one))
    return Field(name, "number" if float in kinds else "text", ())


# From the one table of filters, so that a new one is a field of the form by itself.
FIELDS = [_field(name, kind) for name, kind in get_type_hints(Filters).items()]


def _listed(found: Facets, frame: Frame) -> dict[str, tuple[list[Value], int]]:
    """Each facet's commonest values, and how many more it has."""
    shown = {}
    for name in ("status", "risk_level", "site_type", "audit_tier", "pattern_type"):
        chosen = frame.asked.get(name)
        values = [
            _value(name, text, number, chosen, frame)
            for text, number in getattr(found, name).items()
        ]
        values.sort(key=lambda value: not value.chosen)
        shown[name] = values[:MOST_VALUES], len(values) - MOST_VALUES
    return shown


def _value(name: str, text: str, audits: int, chosen: str | None, frame: Frame) -> Value:
    if text == NO_VALUE:
        return Value(None, audits, None, False)
    is_chosen = text == chosen
    # A second click takes the filter away again.
    href = frame.list(**{name: None if is_chosen else text, "q": None})
    return Value(text, audits, href, is_chosen)


# ---- what is running ----


def _running(filters: dict[str, Any]) -> Running:
    asked = {**filters, "status": AuditStatus.RUNNING}
    audits: list[Audit] = []
    if filters.get("status") in (None, AuditStatus.RUNNING):
        audits = sync.history(limit=MOST_RUNNING + 1, **asked).items
    newest = [audit.id for audit in sync.history(limit=1, **filters).items]
    ended = CatalogEntry.select(fn.MAX(CatalogEntry.id)).scalar()
    changes = StoreChanges.select(StoreChanges.number).scalar()
    told = (newest, ended, changes, [audit.id for audit in audits])
    return Running(
        [(audit, progress(audit.id)) for audit in audits[:MOST_RUNNING]],
        len(audits) > MOST_RUNNING,
        hashlib.sha256(repr(told).encode(errors="replace")).hexdigest()[:16],
    )


class _Shared:
    """One text for all viewers who ask within some seconds: they cost one read together."""

    MOST = 64

    def __init__(self) -> None:
        self._texts: dict[str, tuple[float, str]] = {}
        self._store: weakref.ref[AuditStore] | None = None
        self._reading: dict[str, anyio.Lock] = {}
        self._slow: dict[str, float] = {}
        """When a text was last waited for in vain, by its key."""

    async def soon(
        self, store: AuditStore, key: str, read: Callable[[], str], fresh: float
    ) -> str | None:
        """What `text` gives within PATIENCE seconds; None if it takes longer, or did lately."""
        self._belong_to(store)
        now = time.monotonic()
        if now - self._slow.get(key, -math.inf) < IMPATIENT:
            made, text = self._texts.get(key, (-math.inf, ""))
            return text if now - made < fresh else None
        with anyio.move_on_after(PATIENCE):
            return await self.text(store, key, read, fresh)
        self._slow.pop(key, None)
        self._slow[key] = now
        for old in list(self._slow)[: -self.MOST]:
            del self._slow[old]
        return None

    async def text(self, store: AuditStore, key: str, read: Callable[[], str], fresh: float) -> str:
        """What `read` gives, or gave less than `fresh` seconds ago."""
        self._belong_to(store)
        try:
            async with self._reading.setdefault(key, anyio.Lock()):
                made, text = self._texts.get(key, (-math.inf, ""))
                if time.monotonic() - made >= fresh:
                    began = time.monotonic()
                    text = await store.read(read)
                    self._texts.pop(key, None)
                    self._texts[key] = began, text
                    for old in list(self._texts)[: -self.MOST]:
                        del self._texts[old]
                        self._reading.pop(old, None)
                return text
        finally:
            if key not in self._texts:  # nobody waited for it, or it could not be read
                self._reading.pop(key, None)

    def _belong_to(self, store: AuditStore) -> None:
        """Forget what another store's texts were."""
        if self._store is None or self._store() is not store:
            self._store, self._texts, self._reading, self._slow = weakref.ref(store), {}, {}, {}


# ---- what was found ----


def _marked(snippet: Snippet) -> Markup:
    """A snippet with the words that were searched for marked."""
    text, end, pieces = snippet.text, 0, []
    for first, last in _within(snippet.matches):
        pieces += [Markup(flowing(text[end:first])), _MARK.format(clean(text[first:last]))]
        end = last
    rest = text[end:LONGEST] + ("…" if len(text) > LONGEST else "")
    return Markup("").join([*pieces, Markup(flowing(rest))])


_MARK = Markup("<mark>{}</mark>")


def _within(matches: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    return ((first, min(last, LONGEST)) for first, last in matches if first < LONGEST)
