"""Whether the store can take what it is given."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Literal

from anyio import move_on_after, to_thread
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from veritas_peewee import __version__
from veritas_peewee.errors import StoreFull
from veritas_peewee.store import AuditStore
from veritas_peewee.web.answers import Answer
from veritas_peewee.web.parameters import Store
from veritas_peewee.web.problems import RETRY_AFTER, problem, response_of, told
from veritas_peewee.web.routes import Route

router = APIRouter(route_class=Route)
ROOM = 1 << 20
"""Bytes that must be free beside the file."""
WITHIN = 1.5
"""Seconds after which a store that has not answered counts as one that does not: whoever asks, such
as a load balancer, waits no longer."""


class Health(BaseModel):
    """A store that works."""

    status: Literal["ok"] = "ok"
    version: str
    database: Literal["sqlite", "postgresql"]


@router.get("/health", response_model=Health, responses=told(507))
async def health(store: Store) -> Response:
    """Whether the store is open, can be read at once, and has room."""
    store.stats()  # raises StoreClosed
    with move_on_after(WITHIN) as limit:
        await store.read(lambda: None)
    if limit.cancelled_caught:
        return _late(store)
    if (path := store.location.path) is not None:
        usage = await to_thread.run_sync(partial(shutil.disk_usage, path.parent))
        if usage.free < ROOM:
            raise StoreFull(f"{path.name}: {usage.free} bytes are free on its disk")
    kind: Literal["sqlite", "postgresql"]
    kind = "sqlite" if store.location.server is None else "postgresql"
    return Answer(Health(version=__version__, database=kind).model_dump())


def _late(store: AuditStore) -> Response:
    """What is said of a store that has not answered in time."""
    who, code = "the store's readers are all busy", "busy"
    if store.location.server is not None:
        who, code = f"the store's server does not answer, or {who}", "unreachable"
    found = problem(503, f"{who}: no read has begun within {WITHIN:g} s", code)
    return response_of(found, {"Retry-After": str(RETRY_AFTER)})
