"""What requests may give: the filters of the history, where a page begins, and how long it is."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, get_type_hints

from fastapi import Depends, Path, Query
from pydantic import BeforeValidator

from veritas_peewee.queries.filters import Filters
from veritas_peewee.queries.history import Order
from veritas_peewee.store import AuditStore
from veritas_peewee.web.lifespan import get_store

MAX_LIMIT = 200
"""The most items of a page."""

Store = Annotated[AuditStore, Depends(get_store)]
AuditId = Annotated[str, Path(description="The audit's id.", examples=["vrts_0a1b2c3d4e5"])]


def _absent(value: object) -> object:
    """Empty is as if it were not there, of a WebSocket too (of requests `Route` sees to that)."""
    return None if value == "" else value


Text = Annotated[str | None, BeforeValidator(_absent)]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[Text, Query(description="`next_cursor` of the page before.")]
Sorted = Annotated[Order, Query(description="Newest first, or by trust score.")]

_SAID = {
    "host": "A site, by its name or any address of it.",
    "min_score": "The lowest trust score, 0 to 100.",
    "max_score": "The highest trust score, 0 to 100.",
    "since": "The earliest time at which it was stored: `2026-01-31`, `2026-01`, `7d`.",
    "until": "The time before which it was stored, in the same forms.",
    "pattern_type": "At least one finding has this pattern type.",
    "min_severity": "At least one finding (of `pattern_type`, if given) is at least as grave.",
}


class _Given:
    """Takes the filters from a query; a coroutine, so that it costs no thread."""

    # From the one table of filters, so that a new one is a parameter of every route by itself.
    __signature__ = inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind, Query(description=_SAID.get(name))],
            )
            for name, kind in get_type_hints(Filters).items()
        ]
    )

    async def __call__(self, **filters: Any) -> dict[str, Any]:
        return {name: value for name, value in filters.items() if value is not None}


GivenFilters = Annotated[dict[str, Any], Depends(_Given())]
"""The filters of the history that a query has, by their Python names."""
