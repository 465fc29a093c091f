"""Serve a store's API and pages until killed; prints the port once it listens.

usage: serve_pages.py DATABASE [PORT]
"""

import socket
import sys

import uvicorn
from fastapi import FastAPI

from veritas_peewee.web import add_error_handlers, api_router, pages_router, store_lifespan

app = FastAPI(lifespan=store_lifespan(sys.argv[1]))
app.include_router(api_router(), prefix="/api")
app.include_router(pages_router(api_prefix="/api"))
add_error_handlers(app)

listening = socket.socket()
listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listening.bind(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0))
listening.listen(100)
print(listening.getsockname()[1], flush=True)
config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
uvicorn.Server(config).run(sockets=[listening])
