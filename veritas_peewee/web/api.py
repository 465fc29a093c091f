"""The JSON API, as one router for an application of one's own."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from fastapi.params import Depends
from fastapi.routing import APIRoute

from veritas_peewee.web import audits, exports, health, histories, images, streams
from veritas_peewee.web.problems import told


def api_router(*, dependencies: Sequence[Depends] | None = None) -> APIRouter:
    """The JSON API of the store, to be included under a prefix of yours.

    `dependencies` are run before each route: your authentication. The application needs
    `store_lifespan`, and `add_error_handlers` for errors as `application/problem+json`.
    """
    router = APIRouter(
        dependencies=dependencies,
        tags=["audits"],
        responses=told(422, 503),
        generate_unique_id_function=_name,
    )
    for part in (health, histories, audits, images, exports, streams):
        router.include_router(part.router)
    return router


def _name(route: APIRoute) -> str:
    """What a generated client calls the route's function."""
    return route.name
