"""Whether the store can take what it is given."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Literal

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from veritas_peewee import __version__
from veritas_peewee.errors import StoreFull
from veritas_peewee.web.answers import Answer
from veritas_peewee.web.parameters import Store
from veritas_peewee.web.problems import told
from veritas_peewee.web.routes import Route

router = APIRouter(route_class=Route)
ROOM = 1 << 20
"""Bytes that must be free beside the file."""


class Health(BaseModel):
    """A store that works."""

    status: Literal["ok"] = "ok"
    version: str
    database: Literal["sqlite", "postgresql"]


@router.get("/health", response_model=Health, responses=told(507))
async def health(store: Store) -> Response:
    """Whether the store is open, can be read, and has room."""
    store.stats()  # raises StoreClosed
    await store.read(lambda: None)
    if (path := store.location.path) is not None:
        usage = await to_thread.run_sync(partial(shutil.disk_usage, path.parent))
        if usage.free < ROOM:
            raise StoreFull(f"{path.name}: {usage.free} bytes are free on its disk")
    kind: Literal["sqlite", "postgresql"]
    kind = "sqlite" if store.location.server is None else "postgresql"
    return Answer(Health(version=__version__, database=kind).model_dump())
