"""FastAPI: a lifespan that opens the store, and the dependency that hands it to a route.

app = FastAPI(lifespan=store_lifespan())

@app.get("/audits/{audit_id}")
async def audit(audit_id: str, store: Annotated[AuditStore, Depends(get_store)]): ...

Server-sent events: a browser's `EventSource` that lost the connection comes back with the last
id that it saw, and goes on where it was. At `end` the page closes it, for it would come again.
A server that is told to stop waits for open streams, uvicorn for ever, and only then is the store
closed: give it `--timeout-graceful-shutdown`. Viewers then come back to the next server.

@app.get("/audits/{audit_id}/events")
async def stream(
    audit_id: str,
    store: Annotated[AuditStore, Depends(get_store)],
    last_event_id: Annotated[int, Header()] = 0,
):
    # AuditNotFound comes here, and InvalidAudit for an id that this store has not given out.
    follower = await store.follow(audit_id, after=last_event_id)

    async def messages():
        async for event in follower:
            told = {"type": event.event_type, "data": event.data}
            yield f"id: {event.id}\\ndata: {json.dumps(told)}\\n\\n"
        yield "event: end\\ndata:\\n\\n"

    return StreamingResponse(messages(), media_type="text/event-stream")
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
