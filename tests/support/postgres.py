"""The server of the tests: see `torture.servers`."""

from torture.servers import NoServer, Server, programs, server

__all__ = ["NoServer", "Server", "programs", "server"]
