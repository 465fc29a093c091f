"""FastAPI: a lifespan that opens the store, and the dependency that hands it to a route.

app = FastAPI(lifespan=store_lifespan())

@app.get("/audits/{audit_id}")
async def audit(audit_id: str, store: Annotated[AuditStore, Depends(get_store)]): ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.requests import HTTPConnection

from veritas_peewee.errors import StoreClosed
from veritas_peewee.store import AuditStore


def store_lifespan(
    *args: Any, **options: Any
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, AuditStore]]]:
    """A lifespan that keeps a store open as long as the application runs.

    Takes what `AuditStore.open` takes.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, AuditStore]]:
        async with AuditStore.open(*args, **options) as store:
            app.state.veritas_store = store
            yield {"veritas_store": store}

    return lifespan


async def get_store(connection: HTTPConnection) -> AuditStore:
    """The store of the application that this request or WebSocket belongs to."""
    store = getattr(connection.app.state, "veritas_store", None)
    if not isinstance(store, AuditStore):
        raise StoreClosed("this application has no store: FastAPI(lifespan=store_lifespan())")
    return store
