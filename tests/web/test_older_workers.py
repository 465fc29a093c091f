"""The older backend's API in several workers of a real server: each audit is run once."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Client, ConnectError
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connected

from tests.support.invariants import check_invariants
from tests.support.processes import environment
from veritas_peewee import connect, sync

APPLICATION = """
import os
import sys
from pathlib import Path

from fastapi import FastAPI

from veritas_peewee.web import older_router, store_lifespan

here = Path(__file__).parent


class Seen:
    '''Notes which process has a viewer.'''

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "websocket":
            (here / f"worker-{os.getpid()}").touch()
        await self.app(scope, receive, send)


app = FastAPI(lifespan=store_lifespan(here / "audits.db"))
app.include_router(older_router([sys.executable, "-S", "engine.py", "{audit_id}"]), prefix="/api")
app.add_middleware(Seen)
"""
ENGINE = """
import json
import sys
import time
from pathlib import Path

with open("runs", "a") as runs:
    runs.write(sys.argv[1] + "\\n")
print(json.dumps({"type": "phase_start", "phase": "scout"}), flush=True)
while not Path("go").exists():
    time.sleep(0.01)
for number in range(50):
    print(json.dumps({"type": "log_entry", "number": number}), flush=True)
print(json.dumps({"type": "audit_result", "result": {"status": "completed", "trust_score": 46}}))
print(json.dumps({"type": "audit_complete", "audit_id": sys.argv[1], "elapsed": 1}))
"""
SHOP = "https://shop.example/"
AUDITS, VIEWERS = 6, 4


@contextmanager
def server(folder: Path, workers: int, number: int = signal.SIGTERM) -> Iterator[int]:
    """A server of the older backend in a folder; gives its port, and asks it to stop at the end."""
    (folder / "backend.py").write_text(APPLICATION)
    (folder / "engine.py").write_text(ENGINE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["-m", "uvicorn", "backend:app", "--port", str(port), "--workers", str(workers)]
    words += ["--log-level", "warning", "--timeout-graceful-shutdown", "5"]
    variables = environment()
    variables["PYTHONPATH"] += f":{folder}"
    with subprocess.Popen([sys.executable, *words], cwd=folder, env=variables) as process:
        try:
            yield port
        finally:
            process.send_signal(number)
            assert process.wait(30) in (0, -number)


def first_answer(client: Client) -> None:
    """Wait until the server answers."""
    for _ in range(600):
        try:
            client.get("/api/audits/history").raise_for_status()
        except ConnectError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not answer")


def started(client: Client) -> str:
    audit_id: str = client.post("/api/audit/start", json={"url": SHOP}).json()["audit_id"]
    return audit_id


def told(viewer: ClientConnection) -> list[dict[str, Any]]:
    found = [json.loads(message) for message in viewer]  # raises if it was not closed in order
    assert viewer.close_code == 1000
    return found


@pytest.mark.ends_within(120)
def test_two_workers_run_an_audit_once_and_all_viewers_see_it_whole(tmp_path):
    with server(tmp_path, 2) as port, ExitStack() as stack:
        client = stack.enter_context(Client(base_url=f"http://127.0.0.1:{port}"))
        first_answer(client)
        ids = [
            client.post("/api/audit/start", json={"url": "https://shop.example/"}).json()[
                "audit_id"
            ]
            for _ in range(AUDITS)
        ]
        viewers: dict[str, list[ClientConnection]] = {one: [] for one in ids}

        def look() -> None:
            for one in ids:
                address = f"ws://127.0.0.1:{port}/api/audit/stream/{one}"
                viewers[one].append(stack.enter_context(connected(address)))

        for number in range(40):
            if number >= VIEWERS and len(list(tmp_path.glob("worker-*"))) == 2:
                break
            look()
        assert len(list(tmp_path.glob("worker-*"))) == 2
        (tmp_path / "go").touch()
        numbers = list(range(50))
        for one in ids:
            for viewer in viewers[one]:
                found = told(viewer)
                assert [event["number"] for event in found[1:51]] == numbers
                assert [event["type"] for event in (found[0], *found[51:])] == [
                    "phase_start", "audit_result", "audit_complete",
                ]  # fmt: skip
        assert sorted((tmp_path / "runs").read_text().split()) == sorted(ids)
    with connect(tmp_path / "audits.db"):
        check_invariants()


@pytest.mark.ends_within(120)
def test_a_server_that_is_stopped_ends_its_engines_and_says_so(tmp_path):
    with ExitStack() as stack, ExitStack() as server_stack:
        port = server_stack.enter_context(server(tmp_path, 1))
        client = stack.enter_context(Client(base_url=f"http://127.0.0.1:{port}"))
        first_answer(client)
        audit_id = started(client)
        address = f"ws://127.0.0.1:{port}/api/audit/stream/{audit_id}"
        viewer = stack.enter_context(connected(address))
        assert json.loads(viewer.recv(30))["type"] == "phase_start"
        server_stack.close()
        (last,) = told(viewer)
        assert (last["type"], last["audit_id"]) == ("audit_error", audit_id)
        assert last["error"].startswith("the server is stopping")
    with connect(tmp_path / "audits.db"):
        found = sync.get(audit_id)
        assert (found.status, found.errors) == (
            "disconnected", ["the program that ran this audit has stopped it"],
        )  # fmt: skip
        check_invariants()


LIVE = """
from pathlib import Path

from fastapi import FastAPI

from veritas_peewee.web import api_router, store_lifespan

app = FastAPI(lifespan=store_lifespan(Path(__file__).parent / "audits.db"))


@app.get("/api/audits/history")
async def ready():
    return {}


app.include_router(api_router(), prefix="/api")
"""


@pytest.mark.ends_within(120)
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 1), (signal.SIGTERM, 2),
                                                 (signal.SIGINT, 1)])  # fmt: skip
def test_viewers_of_any_uvicorn_are_told_that_it_stops(tmp_path, monkeypatch, number, workers):
    monkeypatch.setattr(sys.modules[__name__], "APPLICATION", LIVE)
    with ExitStack() as stack:
        with server(tmp_path, workers, number) as port:
            client = stack.enter_context(Client(base_url=f"http://127.0.0.1:{port}", timeout=60))
            first_answer(client)
            path = f"/api/audits/{client.post('/api/audits', json={'url': SHOP}).json()['id']}"
            socket_ = stack.enter_context(connected(f"ws://127.0.0.1:{port}{path}/stream"))
            assert json.loads(socket_.recv(30))["message"] == "snapshot"
            headers = {"Accept": "text/event-stream"}
            stream = stack.enter_context(client.stream("GET", f"{path}/events", headers=headers))
            lines = stream.iter_lines()
            assert next(lines) == "retry: 1000"
        # Each came to its end in order: a stream that is cut off would be an error here.
        assert told(socket_)[-1] == {"message": "end", "data": {"how": "closing"}}
        assert list(lines)[-3:-1] == ["event: end", 'data: {"how":"closing"}']
