"""The server of the tests: see `torture.servers`."""

from torture.servers import NoServer, Server, in_memory, programs, server

__all__ = ["NoServer", "Server", "in_memory", "programs", "server"]
