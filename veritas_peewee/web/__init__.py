"""The store in a FastAPI application: a lifespan that opens it, the dependency for routes, and a
JSON API with live streams, and pages."""

from typing import TYPE_CHECKING, Any

import veritas_peewee.web.encoding as _encoding  # noqa: F401  (it registers our rows' encoder)
from veritas_peewee.web.lifespan import get_store, store_lifespan

if TYPE_CHECKING:
    from veritas_peewee.web.api import api_router as api_router
    from veritas_peewee.web.pages import pages_router as pages_router
    from veritas_peewee.web.problems import add_error_handlers as add_error_handlers

__all__ = ["add_error_handlers", "api_router", "get_store", "pages_router", "store_lifespan"]


def __getattr__(name: str) -> Any:
    # Loaded when they are asked for: an application on Starlette alone has no FastAPI.
    if name == "api_router":
        from veritas_peewee.web.api import api_router

        return api_router
    if name == "pages_router":
        from veritas_peewee.web.pages import pages_router

        return pages_router
    if name == "add_error_handlers":
        from veritas_peewee.web.problems import add_error_handlers

        return add_error_handlers
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
