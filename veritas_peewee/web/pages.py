"""The pages: audits as a person looks at them, made on the server, live by one small script."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from fastapi.params import Depends

from veritas_peewee.running.engine import Command
from veritas_peewee.web import (
    pages_audit,
    pages_compare,
    pages_evidence,
    pages_frame,
    pages_integrity,
    pages_list,
    pages_new,
    pages_site,
)
from veritas_peewee.web.engines import ENGINES, EngineFunction, EngineRunner, runner_of


def pages_router(
    *,
    api_prefix: str = "/api",
    engine: Command | EngineFunction | EngineRunner | None = None,
    engines: int = ENGINES,
    key: pages_evidence.KeyFile | None = None,
    dependencies: Sequence[Depends] | None = None,
) -> APIRouter:
    """The pages of the store, for an application that has `api_router` under `api_prefix`.

    With an `engine`, as of `older_router`, there is also a page that starts an audit, for everybody
    who reaches it; while `engines` run in this process, it starts none. With a `key`, the file of a
    private one, the pages offer a signed checkpoint, and each audit as a bag that anybody can
    check. `dependencies` are run before each page: your authentication, which must also let the
    browser read the API. The application needs `store_lifespan`. Raises InvalidAudit if `engine` is
    neither a command nor a function, or `engines` no number from 1 on; StoreError for a file that
    is not a key.
    """

    class Route(pages_frame.PageRoute):
        pass

    Route.api_prefix = api_prefix.rstrip("/")
    Route.can_start = engine is not None
    signer = None if key is None else pages_evidence.Signer(key)
    Route.vkey = None if signer is None else signer.public.vkey
    router = APIRouter(route_class=Route, include_in_schema=False, dependencies=dependencies)
    for part in (pages_list, pages_audit, pages_site, pages_compare, pages_integrity):
        part.add_to(router, Route.api_prefix)
    if signer is not None:
        pages_evidence.add_to(router, signer)
    if engine is not None:
        pages_new.add_to(router, Route.api_prefix, runner_of(engine, engines))
    router.include_router(pages_frame.static)
    return router
