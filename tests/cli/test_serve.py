"""`serve`: a real server, which viewers lose and find again."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from websockets.sync.client import connect as connected

from benchmarks.viewers import living, stopping
from tests.support.invariants import check_invariants
from tests.support.processes import environment
from tests.support.server import PROGRAM, Server, serving
from veritas_peewee import connect, sync

WATCH = (
    "GET /api/audits/{}/stream HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
ENTRY = {"type": "log_entry", "message": "x"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "audits.db"
    with connect(path):
        pass
    return path


class Viewer(threading.Thread):
    """Reads a stream until it ends or is lost, and comes again with the last token."""

    def __init__(self, server: Server, audit_id: str) -> None:
        super().__init__(daemon=True)
        self.address = f"{server.address}api/audits/{audit_id}/events"
        self.ids: list[int] = []
        self.end: str | None = None
        self.token: str | None = None
        self.times = 0
        self.has = threading.Condition()
        self.start()

    def run(self) -> None:
        while self.end in (None, "closing"):
            self.times += 1
            headers = {"Accept": "text/event-stream"}
            if self.token:
                headers["Last-Event-ID"] = self.token
            try:
                request = urllib.request.Request(self.address, headers=headers)
                with urllib.request.urlopen(request, timeout=30) as stream:
                    self._read(stream)
            except OSError:
                pass

    def _read(self, stream: Iterator[bytes]) -> None:
        name = "message"
        for line in stream:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "id":
                self.token = value
            elif field == "data":
                with self.has:
                    if name == "message":
                        self.ids.append(json.loads(value)["id"])
                    elif name == "end":
                        self.end = json.loads(value)["how"]
                    self.has.notify_all()
            elif not field:
                name = "message"

    def sees(self, ids: list[int]) -> None:
        with self.has:
            assert self.has.wait_for(lambda: len(self.ids) >= len(ids), 30)
            assert self.ids == ids


def test_viewers_of_a_server_that_is_killed_and_started_again_miss_nothing(path):
    with serving(path, "--writable") as server:
        audit = server.ask("POST", "api/audits", {"url": "https://shop.example/"})["id"]
        ids = server.ask("POST", f"api/audits/{audit}/events", [ENTRY] * 3)["ids"]
        viewers = [Viewer(server, audit) for _ in range(5)]
        for viewer in viewers:
            viewer.sees(ids)
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            code, err = server.stop(number)
            assert (code, err) == (
                -signal.SIGKILL if number == signal.SIGKILL else 128 + number, "",
            )  # fmt: skip
            with connect(path):  # while nobody serves
                ids.append(sync.record(audit, ENTRY))
            server.start()
            ids += server.ask("POST", f"api/audits/{audit}/events", [ENTRY] * 2)["ids"]
            for viewer in viewers:
                viewer.sees(ids)
        ids += server.ask("POST", f"api/audits/{audit}/events", [{"type": "audit_complete"}])["ids"]
        for viewer in viewers:
            viewer.join(30)
            assert (viewer.ids, viewer.end) == (ids, "completed")
            assert viewer.times >= 5
        server.stop()
    with connect(path):
        check_invariants()


def test_many_idle_viewers_are_told_that_the_server_stops_and_come_back(path):
    # It checks that each is told, comes back, and has what was recorded meanwhile, once.
    assert len(stopping(path, 100, rounds=1)) == 1
    with connect(path):
        check_invariants()


def test_viewers_beside_writers_are_given_each_event_once(path):
    assert len(living(path, 0.2, 1, 0.0)) == 1
    with connect(path):
        check_invariants()


def test_viewers_by_websocket_are_told_to_come_again_too(path):
    with serving(path, "--writable") as server:
        audit = server.ask("POST", "api/audits", {"url": "https://shop.example/"})["id"]
        address = f"ws://127.0.0.1:{server.port}/api/audits/{audit}/stream"
        with connected(address) as one, connected(address) as other:
            viewers = [one, other]
            for viewer in viewers:
                assert json.loads(viewer.recv(30))["message"] == "snapshot"
            code, err = server.stop()
            for viewer in viewers:
                last = [json.loads(text) for text in viewer][-1]
                assert last == {"message": "end", "data": {"how": "closing"}}
        assert (code, err) == (128 + signal.SIGTERM, "")


def test_viewers_that_do_not_read_do_not_keep_a_server_from_stopping(path):
    long = {"type": "log_entry", "message": "x" * 100_000}
    with serving(path, "--writable") as server:
        audit = server.ask("POST", "api/audits", {"url": "https://shop.example/"})["id"]
        for _ in range(5):
            server.ask("POST", f"api/audits/{audit}/events", [long] * 40)
        asked = [
            f"GET /api/audits/{audit}/events HTTP/1.1\r\nAccept: text/event-stream\r\n",
            WATCH.format(audit),
            "GET /api/export HTTP/1.1\r\n",
        ]
        with ExitStack() as viewers:
            for request in asked:
                viewer = viewers.enter_context(
                    socket.create_connection(("127.0.0.1", server.port), timeout=30)
                )
                viewer.sendall(f"{request}Host: localhost\r\n\r\n".encode())
                assert viewer.recv(1)
            # It ends without being killed, and without a word of errors.
            assert server.stop() == (128 + signal.SIGTERM, "")


def test_viewers_that_go_in_mid_stream_leave_nothing_in_the_log(path):
    with serving(path, "--writable") as server:
        audit = server.ask("POST", "api/audits", {"url": "https://shop.example/"})["id"]
        long = {"type": "log_entry", "message": "x" * 3000}
        for _ in range(8):
            server.ask("POST", f"api/audits/{audit}/events", [long] * 500)
        for _ in range(5):
            viewer = socket.socket()
            viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # the server has to wait
            viewer.connect(("127.0.0.1", server.port))
            viewer.sendall(f"{WATCH.format(audit)}Host: localhost\r\n\r\n".encode())
            read = 0
            while read < 500_000:
                read += len(viewer.recv(65536))
            viewer.close()
        assert server.ask("GET", "api/count") == {"count": 1}
        assert server.stop() == (128 + signal.SIGTERM, "")


def test_a_token_is_read_from_a_file(path, tmp_path):
    # as an editor of Windows leaves it
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbfa-token-of-enough-letters\r\n")
    with serving(path, "--token-file", str(tmp_path / "token")) as server:
        with pytest.raises(OSError, match="401"):
            server.ask("GET", "api/count")
        right = {"Authorization": "Bearer a-token-of-enough-letters"}
        assert server.ask("GET", "api/count", **right) == {"count": 0}
        with pytest.raises(OSError, match="403"):
            server.ask("POST", "api/audits", {"url": "https://a.example"}, **right)


def run(*words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "serve", *words],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, " ".join(done.stderr.split())


def test_what_is_wrong_is_said_before_anything_is_served(path, tmp_path):
    missing = str(tmp_path / "missing.db")
    code, told = run("--database", missing)
    assert (code, "there is no such database" in told) == (1, True)
    assert not Path(missing).exists()
    code, told = run("--database", str(path), "--writable", "--host", "0.0.0.0")
    assert (code, "give --token-file" in told) == (2, True)
    code, told = run("--database", str(path), "--writable", "--engines", "2")
    assert (code, "--engines: needs --engine" in told) == (2, True)
    for name in ("audits.example:8000", ""):
        code, told = run("--database", str(path), "--allowed-host", name)
        assert (code, f"--allowed-host: {name!r} is no host's name" in told) == (2, True)
    for text in ("short", None):
        file = tmp_path / "token"
        if text:
            file.write_text(text)
        else:
            file.unlink()
        code, told = run("--database", str(path), "--token-file", str(file))
        assert (code, "--token-file" in told) == (2, True)
    with serving(path) as server:
        code, told = run("--database", str(path), "--port", str(server.port))
        assert (code, f"127.0.0.1:{server.port}: cannot be listened at" in told) == (1, True)


@pytest.mark.parametrize("more", [[], ["--writable"]])
def test_a_file_that_cannot_be_opened_is_one_line_and_nothing_is_served(tmp_path, more):
    text, other = tmp_path / "text.db", tmp_path / "other.db"
    text.write_text("not a database, only text")
    with closing(sqlite3.connect(other)) as file:
        file.execute("CREATE TABLE others (a)")
    for path, said in ((text, "is not a SQLite database"), (other, "belongs to another program")):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "serve", "--port", "0", "--database", str(path), *more],
            env=environment(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert said in done.stderr


def test_a_token_that_cannot_be_read_is_said_without_a_number(path, tmp_path):
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff" * 20)
    for file, said in (
        (tmp_path, "cannot be read: Is a directory"), (binary, "is not text"),
        (tmp_path / "none", "cannot be read: No such file or directory"),
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "serve", "--database", path, "--token-file", file],
            env=environment(), capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr == (f"veritas-peewee: Invalid value for --token-file: {file}: {said}\n")
