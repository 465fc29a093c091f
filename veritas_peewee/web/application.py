"""A whole application: API, pages, and who may ask for them; `veritas-peewee serve` runs it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from veritas_peewee import __version__
from veritas_peewee.running.engine import Command
from veritas_peewee.web.api import api_router
from veritas_peewee.web.engines import ENGINES, EngineFunction, EngineRunner
from veritas_peewee.web.guard import LOCAL, Guard, host_name
from veritas_peewee.web.headers import Secured
from veritas_peewee.web.lifespan import store_lifespan
from veritas_peewee.web.older import older_router
from veritas_peewee.web.pages import pages_router
from veritas_peewee.web.pages_evidence import BAG, CHECKPOINT, KeyFile
from veritas_peewee.web.pages_frame import refusal_as_page, show_missing_pages
from veritas_peewee.web.pages_integrity import PATH as VERIFY
from veritas_peewee.web.problems import add_error_handlers

API = "/api"
"""Where the JSON API is."""
LEAST_TOKEN = 16
"""The fewest characters of a token."""


class _Application(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        # Around Starlette's own too, which answers the errors of all that is inside it.
        return Secured(super().build_middleware_stack())


def create_app(
    database: Any = None,
    *,
    engine: Command | EngineFunction | None = None,
    engines: int = ENGINES,
    writable: bool = False,
    key: KeyFile | None = None,
    token: str | None = None,
    allowed_hosts: Collection[str] = LOCAL,
) -> FastAPI:
    """An application that shows the audits of a store, for uvicorn or another ASGI server.

    `database` is what `AuditStore.open` takes. Unless `writable`, only reading is allowed. With an
    `engine`, as of `older_router`, it also has a page that starts an audit, and the older backend's
    API; at most `engines` run at once in this process. With a `key`, the file of a private one
    (`veritas-peewee keygen`), the pages offer a signed checkpoint, and each audit as a bag that
    anybody can check. With a `token`, of at least 16 characters of ASCII, each request must bring
    it: as `Authorization: Bearer …`, or from a browser once as `?token=…`. A request is refused if
    it comes under a host's name that is not in `allowed_hosts`, or from a page of another origin.
    Raises ValueError for a token that is short or that no request can bring, for a host's name that
    is none, and for an engine of an application that is not `writable`; StoreError for a file that
    is not a key.
    """
    if engine is not None and not writable:
        raise ValueError("engine: only a writable application can run one")
    if token is not None and len(token) < LEAST_TOKEN:
        raise ValueError(f"token: must have at least {LEAST_TOKEN} characters, it has {len(token)}")
    if token is not None and not re.fullmatch("[!-~]+", token):
        raise ValueError("token: may have letters, digits and signs of ASCII only, and no space")
    names = {host_name(name) for name in allowed_hosts if name}
    # The pages of FastAPI that show the schema load their scripts from elsewhere.
    app = _Application(
        title="Audits",
        version=__version__,
        lifespan=store_lifespan(database),
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    runner = None
    if engine is not None:  # first, because `/audits/history` is no audit's id there
        runner = EngineRunner(engine, engines)
        app.include_router(older_router(runner), prefix=API)
    app.include_router(api_router(), prefix=API)
    app.include_router(pages_router(api_prefix=API, engine=runner, key=key))
    add_error_handlers(app)
    show_missing_pages(app, API)
    app.add_middleware(
        Guard,
        hosts=names,
        token=token,
        writable=writable,
        harmless=(VERIFY, CHECKPOINT, BAG),
        shown=refusal_as_page(app, API),
    )
    return app
