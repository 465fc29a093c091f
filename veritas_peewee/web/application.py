"""A whole application: the store, its API, who may ask for it; `veritas-peewee serve` runs it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI

from veritas_peewee import __version__
from veritas_peewee.web.api import api_router
from veritas_peewee.web.guard import LOCAL, Guard
from veritas_peewee.web.lifespan import store_lifespan
from veritas_peewee.web.problems import add_error_handlers

API = "/api"
"""Where the JSON API is."""
LEAST_TOKEN = 16
"""The fewest characters of a token."""


def create_app(
    database: Any = None,
    *,
    writable: bool = False,
    token: str | None = None,
    allowed_hosts: Collection[str] = LOCAL,
) -> FastAPI:
    """An application that shows the audits of a store, for uvicorn or another ASGI server.

    `database` is what `AuditStore.open` takes. Unless `writable`, only reading is allowed. With a
    `token`, of at least 16 characters, each request must bring it: as `Authorization: Bearer …`, or
    from a browser once as `?token=…`. A request is refused if it comes under a host's name that is
    not in `allowed_hosts`, or from a page of another origin. Raises ValueError for a short token.
    """
    if token is not None and len(token) < LEAST_TOKEN:
        raise ValueError(f"token: must have at least {LEAST_TOKEN} characters, it has {len(token)}")
    # The pages of FastAPI that show the schema load their scripts from elsewhere.
    app = FastAPI(
        title="Audits",
        version=__version__,
        lifespan=store_lifespan(database),
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(api_router(), prefix=API)
    add_error_handlers(app)
    app.add_middleware(Guard, hosts=allowed_hosts, token=token, writable=writable)
    return app
