"""A pooler before a server, as PgBouncer is one: sessions of the server are given to clients, for a
transaction or for as long as they stay."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from urllib.parse import parse_qs, quote, urlsplit

_SOCKET = ".s.PGSQL.5432"
_READY, _KEY, _QUERY, _SYNC = b"Z", b"K", b"Q", b"S"


def _messages(held: bytearray) -> Iterator[tuple[bytes, bytes]]:
    """The whole messages at the beginning, which are taken away: the kind, and all of each."""
    while len(held) >= 5 and len(held) >= (size := 1 + struct.unpack("!i", held[1:5])[0]):
        yield bytes(held[:1]), bytes(held[:size])
        del held[:size]


class Pooler:
    def __init__(self, upstream: Path, *, by_transaction: bool) -> None:
        self._upstream, self._by_transaction = upstream, by_transaction
        self._free: list[socket.socket] = []
        self._opened: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._clients = 0

    def serve(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                thread = threading.Thread(target=self._client, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def close(self) -> None:
        """End the sessions of the server, once all clients have gone."""
        for thread in self._threads:
            thread.join(30)
        for session in self._opened:
            session.close()

    def _open(self, startup: bytes) -> tuple[socket.socket, bytes]:
        made = socket.socket(socket.AF_UNIX)
        self._opened.append(made)
        made.connect(str(self._upstream))
        made.sendall(startup)
        held, greeting, is_ready = bytearray(), b"", False
        while not is_ready:
            held += made.recv(65536)
            for kind, message in _messages(held):
                is_ready = is_ready or kind == _READY
                with self._lock:
                    number = 1_000_000 + self._clients
                is_key = kind == _KEY
                greeting += _KEY + struct.pack("!iii", 12, number, 7) if is_key else message
        return made, greeting

    def _client(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            size = client.recv(4, socket.MSG_WAITALL)
            startup = size + client.recv(struct.unpack("!i", size)[0] - 4, socket.MSG_WAITALL)
            with self._lock:
                self._clients += 1
            session, greeting = self._open(startup)
            client.sendall(greeting)
            own: socket.socket | None = session
            if self._by_transaction:
                self._free.append(session)
                own = None
            self._pass_on(client, own, startup)

    def _pass_on(self, client: socket.socket, own: socket.socket | None, startup: bytes) -> None:
        asked, answered = bytearray(), bytearray()
        waiting = 0
        while True:
            readable, _, _ = select([client, *([own] if own else [])], [], [])
            if client in readable:
                data = client.recv(65536)
                if not data:
                    return
                asked += data
                whole = list(_messages(asked))
                waiting += sum(kind in (_QUERY, _SYNC) for kind, _ in whole)
                if own is None:
                    own = self._free.pop() if self._free else self._open(startup)[0]
                own.sendall(b"".join(message for _, message in whole))
            if own is not None and own in readable:
                data = own.recv(65536)
                client.sendall(data)
                answered += data
                for kind, message in _messages(answered):
                    if kind == _READY:
                        waiting -= 1
                        if not waiting and message[5:] == b"I" and self._by_transaction:
                            self._free.append(own)
                            own = None


@contextmanager
def pooler(url: str, *, by_transaction: bool) -> Iterator[str]:
    """The URL by which the database of a server is reached through a pooler."""
    place = urlsplit(url)
    (host,) = parse_qs(place.query)["host"]
    with (
        tempfile.TemporaryDirectory(prefix="pool-") as folder,
        socket.socket(socket.AF_UNIX) as listening,
    ):
        listening.bind(os.path.join(folder, _SOCKET))
        listening.listen()
        made = Pooler(Path(host, _SOCKET), by_transaction=by_transaction)
        threading.Thread(target=made.serve, args=(listening,), daemon=True).start()
        yield f"postgresql://{place.path}?host={quote(folder, safe='')}&user=postgres"
        listening.shutdown(socket.SHUT_RDWR)
        made.close()
