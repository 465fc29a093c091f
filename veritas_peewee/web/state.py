"""What an application's lifespan holds for its requests, also for those of applications mounted in
it."""

from __future__ import annotations

from typing import Any

from starlette.requests import HTTPConnection


def held(connection: HTTPConnection, name: str) -> Any:
    """What the lifespan of the request's application, or of the one around it, holds; or None."""
    found = getattr(connection.app.state, name, None)
    return connection.scope.get("state", {}).get(name) if found is None else found
