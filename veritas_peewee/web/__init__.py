"""The store in a FastAPI application: a lifespan that opens it, the dependency for routes, a JSON
API with live streams, pages, and the older backend's API."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import_module("veritas_peewee.web.encoding")  # it registers our rows' encoder
    from veritas_peewee.web.lifespan import get_store, store_lifespan
except ModuleNotFoundError as _error:
    if _error.name != "starlette":
        raise
    _told = "veritas_peewee.web needs starlette: pip install 'veritas-peewee[web]'"
    raise ModuleNotFoundError(_told, name=_error.name) from _error

if TYPE_CHECKING:
    from veritas_peewee.web.api import api_router as api_router
    from veritas_peewee.web.application import create_app as create_app
    from veritas_peewee.web.older import older_router as older_router
    from veritas_peewee.web.pages import pages_router as pages_router
    from veritas_peewee.web.problems import add_error_handlers as add_error_handlers

__all__ = [
    "add_error_handlers",
    "api_router",
    "create_app",
    "get_store",
    "older_router",
    "pages_router",
    "store_lifespan",
]

_MODULES = {
    "add_error_handlers": "problems",
    "api_router": "api",
    "create_app": "application",
    "older_router": "older",
    "pages_router": "pages",
}


def __getattr__(name: str) -> Any:
    # Loaded when they are asked for: an application on Starlette alone has no FastAPI.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
