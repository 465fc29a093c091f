"""FastAPI: a lifespan that opens the store, and the dependency that hands it to a route.

app = FastAPI(lifespan=store_lifespan())

@app.get("/audits/{audit_id}")
async def audit(audit_id: str, store: Annotated[AuditStore, Depends(get_store)]): ...

Server-sent events: a browser's `EventSource` that has lost the connection connects again with the
last id that it saw, and continues there. At the event `end` the page must close it, or it connects
again. When a signal tells uvicorn to stop, followers end at once, with StoreClosed; of other
servers, and of viewers that do not read, it is known only when the server has waited for its open
streams (uvicorn without a limit): start it with `--timeout-graceful-shutdown`. Viewers then connect
to the next server.

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
            message = {"type": event.event_type, "data": event.data}
            yield f"id: {event.id}\\ndata: {json.dumps(message)}\\n\\n"
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
from veritas_peewee.web.background import open_background
from veritas_peewee.web.state import held
from veritas_peewee.web.stopping import streams_end_first


def store_lifespan(
    *args: Any, **options: Any
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """A lifespan for FastAPI or Starlette that holds a store open as long as the application runs.

    The arguments are those of `AuditStore.open`. The errors of opening a store are raised when the
    application starts. `get_store` gives a route the store.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        # The engines that are run in the background end before the store is closed.
        async with AuditStore.open(*args, **options) as store, open_background() as background:
            state = {"veritas_store": store, **background}
            for name, value in state.items():
                setattr(app.state, name, value)
            with streams_end_first(store):
                yield state

    return lifespan


async def get_store(connection: HTTPConnection) -> AuditStore:
    """The store of the application that this request or WebSocket belongs to, for `Depends`.

    Raises StoreClosed if the application has no `store_lifespan`, or has not started.
    """
    store = held(connection, "veritas_store")
    if not isinstance(store, AuditStore):
        raise StoreClosed("this application has no store: FastAPI(lifespan=store_lifespan())")
    return store
