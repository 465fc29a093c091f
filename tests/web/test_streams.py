"""An audit live over the API: a snapshot, each event once, and an end that says how."""

from __future__ import annotations

import json
from collections import Counter

import anyio
import anyio.lowlevel
import pytest
from fastapi.testclient import TestClient

from tests.support.database_files import by_hand
from tests.support.web import Viewer, application, client_of, http_scope
from veritas_peewee import AuditEvent, AuditStore, StoreError, connect, store_lifespan, sync
from veritas_peewee.testing import make_audit
from veritas_peewee.web import add_error_handlers, api_router, messages, streams
from veritas_peewee.web.answers import ShownEvent, event_text, json_text

SHOP = "https://shop.example/"
ENTRY = {"type": "log_entry", "message": "one\nof\u2028several\rlines: \x85"}


@pytest.fixture
def app(store):
    return application(store)


def path_of(audit):
    return f"/api/audits/{audit.id}/events"


async def test_late_viewers_see_all_of_it_and_how_it_ended(app, store):
    audit = await store.create(SHOP)
    ids = await store.record_many(audit.id, [{"type": "phase_start", "phase": "scout"}, ENTRY])
    async with anyio.create_task_group() as tasks:
        early = Viewer(app, path_of(audit))
        tasks.start_soon(early.watch)
        await early.sees(ids)
        ids.append(await store.record(audit.id, {"type": "audit_complete"}))
    late = Viewer(app, path_of(audit))
    await late.watch()
    for viewer, status in ((early, "running"), (late, "completed")):
        (name, snapshot, token), *rest = viewer.messages
        assert (name, snapshot["id"], snapshot["status"], token) == (
            "snapshot", audit.id, status, None,
        )  # fmt: skip
        assert viewer.ids == ids
        assert rest[-1] == ("end", {"how": "completed"}, None)
        assert viewer.whole
        assert viewer.text.startswith("retry: ")
        # As clients count lines that know more ends of lines than SSE has.
        assert len(viewer.text.splitlines()) == viewer.text.count("\n")
    assert [data for _, data, _ in late.messages[1:-1]][1]["data"] == ENTRY


async def test_a_viewer_that_was_lost_gets_what_it_missed_and_nothing_twice(app, store):
    audit = await store.create(SHOP)
    ids = [await store.record(audit.id, ENTRY) for _ in range(3)]
    async with anyio.create_task_group() as tasks:
        lost = Viewer(app, path_of(audit))
        tasks.start_soon(lost.watch)
        await lost.sees(ids)
        lost.gone.set()
    missed = [await store.record(audit.id, ENTRY) for _ in range(3)]
    token = lost.messages[-1][2]
    missed.append(await store.record(audit.id, {"type": "audit_error", "error": "x"}))
    for last, query in ((token, ""), (None, f"after={token}"), (str(ids[-1]), "")):
        back = Viewer(app, path_of(audit), last, query)
        await back.watch()
        assert (back.ids, back.end) == (missed, "error")
    assert lost.ids == ids
    assert store._hub._leader is None


async def test_the_header_of_a_browser_counts_more_than_the_address_it_began_with(app, store):
    audit = await store.ingest(make_audit(SHOP, findings=2))
    tokens = [event.token for event in await store.events(audit.id)]
    back = Viewer(app, path_of(audit), tokens[-2], f"after={tokens[0]}")
    await back.watch()
    assert len(back.ids) == 1


async def test_a_token_of_another_history_is_told(app, store):
    audit = await store.create(SHOP)
    event_id = await store.record(audit.id, ENTRY)
    stale = Viewer(app, path_of(audit), f"{event_id}-{'0' * 16}")
    await stale.watch()
    (error, end) = stale.messages
    assert (error[0], error[1]["code"]) == ("error", "stale-token")
    assert end == ("end", {"how": "failed"}, None)
    assert (stale.status, stale.whole) == (200, True)


@pytest.mark.parametrize(
    ("last", "status"),
    [("none-at-all", 422), ("999999", 422), ("9" * 5000, 422), ("9" * 19, 422), (None, 404)],
)
async def test_what_is_wrong_before_the_stream_is_a_problem(app, store, last, status):
    audit = await store.create(SHOP)
    path = path_of(audit) if last else "/api/audits/none/events"
    viewer = Viewer(app, path, last)
    await viewer.watch()
    assert viewer.status == status
    assert json.loads(viewer.text)["status"] == status


@pytest.mark.parametrize(
    ("accept", "is_live"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("application/json, text/event-stream;q=0.5", True),
        ("application/json, text/event-stream; q=0.0", False),
        ("text/event-stream2", False),
        ("*/*", False),
    ],
)
async def test_a_stream_is_given_to_whoever_accepts_one(app, store, accept, is_live):
    audit = await store.ingest(make_audit(SHOP))
    async with client_of(app) as client:
        found = await client.get(path_of(audit), headers={"Accept": accept})
    assert found.headers["content-type"].startswith("text/event-stream") == is_live


async def test_an_audit_that_is_deleted_ends_its_streams(app, store):
    audit = await store.create(SHOP)
    async with anyio.create_task_group() as tasks:
        viewer = Viewer(app, path_of(audit))
        tasks.start_soon(viewer.watch)
        await viewer.sees([])
        while not viewer.messages:
            await anyio.sleep(0.001)
        await store.delete(audit.id)
    assert [name for name, _, _ in viewer.messages] == ["snapshot", "end"]
    assert viewer.end == "deleted"


async def test_a_store_that_is_closed_tells_viewers_to_come_again(database):
    async with AuditStore.open(database) as store, anyio.create_task_group() as tasks:
        audit = await store.create(SHOP)
        viewer = Viewer(application(store), path_of(audit))
        tasks.start_soon(viewer.watch)
        while not viewer.messages:
            await anyio.sleep(0.001)
        await store.close()
    assert viewer.end == "closing"


async def test_an_error_in_mid_stream_is_told_and_looks_like_no_good_end(app, store, monkeypatch):
    audit = await store.create(SHOP)
    async with anyio.create_task_group() as tasks:
        viewer = Viewer(app, path_of(audit))
        tasks.start_soon(viewer.watch)
        while not viewer.messages:
            await anyio.sleep(0.001)

        def fail(*_):
            raise StoreError("/secret/place is gone")

        monkeypatch.setattr("veritas_peewee.following.feed.news", fail, raising=False)
        monkeypatch.setattr("veritas_peewee.following.hub.Hub.wait", fail)
        await store.record(audit.id, ENTRY)
        await store.record(audit.id, ENTRY)
    names = [name for name, _, _ in viewer.messages]
    assert names[-2:] == ["error", "end"]
    assert viewer.end == "failed"
    assert "secret" not in viewer.text


async def test_a_viewer_of_a_silent_audit_gets_signs_of_life(app, store, monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT", 0.01)
    audit = await store.create(SHOP)
    async with anyio.create_task_group() as tasks:
        viewer = Viewer(app, path_of(audit))
        tasks.start_soon(viewer.watch)
        with anyio.fail_after(30):
            while viewer.text.count("\n:\n\n") < 3:
                await anyio.sleep(0.001)
        told = await store.record(audit.id, {"type": "audit_complete"})
    assert viewer.ids == [told]


async def test_hundreds_of_viewers_cost_no_thread_and_one_reader(app, store):
    import threading

    audits = [await store.create(SHOP) for _ in range(10)]
    viewers = [Viewer(app, path_of(audits[number % 10])) for number in range(200)]
    async with anyio.create_task_group() as tasks:
        for viewer in viewers:
            tasks.start_soon(viewer.watch)
        with anyio.fail_after(60):
            while not all(viewer.messages for viewer in viewers):
                await anyio.sleep(0.001)
        assert threading.active_count() < 20
        ids = {
            audit.id: [await store.record(audit.id, ENTRY) for _ in range(3)] for audit in audits
        }
        for audit in audits:
            ids[audit.id].append(await store.record(audit.id, {"type": "audit_complete"}))
    for number, viewer in enumerate(viewers):
        assert (viewer.ids, viewer.end) == (ids[audits[number % 10].id], "completed")


# ---- what viewers cost ----


async def test_an_event_is_made_ready_once_for_all_who_are_sent_it_live(app, store, monkeypatch):
    made = []

    def counted(event):
        made.append(event.id)
        return event_text(event)

    monkeypatch.setattr(messages, "event_text", counted)
    audit = await store.create(SHOP)
    viewers = [Viewer(app, path_of(audit)) for _ in range(20)]
    async with anyio.create_task_group() as tasks:
        for viewer in viewers:
            tasks.start_soon(viewer.watch)
        with anyio.fail_after(60):
            while not all(viewer.messages for viewer in viewers):
                await anyio.sleep(0.001)
        ids = [await store.record(audit.id, ENTRY)]
        for viewer in viewers:
            await viewer.sees(ids)
        assert made == ids
        ids.append(await store.record(audit.id, {"type": "audit_complete"}))
    assert {tuple(viewer.ids) for viewer in viewers} == {tuple(ids)}
    assert len(made) <= len(ids) + len(viewers)  # the end may be looked up by each


async def test_viewers_who_catch_up_take_turns(app, store, monkeypatch):
    audit = await store.create(SHOP)
    ids = await store.record_many(audit.id, [ENTRY] * 600)
    ids.append(await store.record(audit.id, {"type": "audit_complete"}))
    rounds, made = 0, []
    over = anyio.Event()

    async def count():
        nonlocal rounds
        while not over.is_set():
            rounds += 1
            await anyio.lowlevel.checkpoint()

    def noted(event):
        made.append(rounds)
        return event_text(event)

    monkeypatch.setattr(messages, "event_text", noted)
    viewers = [Viewer(app, path_of(audit)) for _ in range(10)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        async with anyio.create_task_group() as watching:
            for viewer in viewers:
                watching.start_soon(viewer.watch)
        over.set()
    assert {tuple(viewer.ids) for viewer in viewers} == {tuple(ids)}
    assert len(made) == 10 * len(ids)
    # Two, for a task is counted in one round or in the next one.
    assert max(Counter(made).values()) <= 2 * streams.AT_ONCE


LONG = {"type": "log_entry", "message": "é\u2028\n\x85" * 400_000}


class Slow(Viewer):
    """A viewer that takes one message and then nothing for a while."""

    def __init__(self, *args):
        super().__init__(*args)
        self.reads, self.sizes = anyio.Event(), []

    async def _send(self, message):
        self.sizes.append(len(message.get("body", b"")))
        if len(self.sizes) > 3:
            await self.reads.wait()
        await super()._send(message)


async def test_a_long_event_is_sent_in_pieces_that_wait_for_the_viewer(app, store):
    audit = await store.create(SHOP)
    ids = await store.record_many(audit.id, [ENTRY, LONG, ENTRY])
    ids.append(await store.record(audit.id, {"type": "audit_complete"}))
    viewer = Slow(app, path_of(audit))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(viewer.watch)
        with anyio.fail_after(60):
            while len(viewer.sizes) < 4:
                await anyio.sleep(0.001)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert len(viewer.sizes) == 4  # nothing is handed out that it has not asked for
        viewer.reads.set()
    assert (viewer.ids, viewer.end) == (ids, "completed")
    assert viewer.messages[2][1]["data"] == LONG
    assert max(viewer.sizes) <= messages.PIECE
    assert len(viewer.text.splitlines()) == viewer.text.count("\n")


async def test_viewers_of_a_long_event_have_one_between_them(store):
    audit = await store.create(SHOP)
    await store.record_many(audit.id, [ENTRY, LONG])
    followers = [await store.follow(audit.id) for _ in range(3)]
    found = [[await anext(one), *one.ready()] for one in followers]
    assert len({id(events[1]) for events in found}) == 1
    assert found[0][1].data == LONG
    for one in followers:
        await one.aclose()


# ---- WebSocket ----


@pytest.fixture
def client(tmp_path):
    app = application(lifespan=store_lifespan(tmp_path / "audits.db"))
    with TestClient(app) as found:
        yield found


def received(socket):
    messages = []
    while not messages or messages[-1]["message"] != "end":
        messages.append(socket.receive_json())
    return messages


def test_a_websocket_has_the_same_stream(client):
    audit = client.post("/api/audits", json={"url": SHOP}).json()["id"]
    path = f"/api/audits/{audit}"
    ids = client.post(f"{path}/events", json=[ENTRY, ENTRY]).json()["ids"]
    with client.websocket_connect(f"{path}/stream") as socket:
        assert socket.receive_json()["data"]["status"] == "queued"
        first = socket.receive_json()
        client.post(f"{path}/events", json=[{"type": "audit_complete"}])
        rest = received(socket)
    assert [one["data"]["id"] for one in (first, *rest[:-1])] == [*ids, ids[-1] + 1]
    assert rest[-1] == {"message": "end", "data": {"how": "completed"}}
    with client.websocket_connect(f"{path}/stream?after={first['token']}") as socket:
        again = received(socket)
    assert [one["message"] for one in again] == ["snapshot", "event", "event", "end"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/audits/none/stream", "audit-not-found"),
        ("/api/audits/none/stream?after=zz", "invalid"),
    ],
)
def test_a_websocket_is_told_what_is_wrong(client, path, code):
    with client.websocket_connect(path) as socket:
        error, end = received(socket)
    assert (error["message"], error["data"]["code"]) == ("error", code)
    assert end["data"] == {"how": "failed"}


def test_a_websocket_that_is_closed_by_the_viewer_ends_its_follower(client):
    audit = client.post("/api/audits", json={"url": SHOP}).json()["id"]
    with client.websocket_connect(f"/api/audits/{audit}/stream") as socket:
        socket.receive_json()
        socket.send_text("whatever a viewer sends is not read")
    store = client.app.state.veritas_store
    assert store._hub._leader is None


def test_authentication_is_asked_for_each_route_and_for_websockets(tmp_path):
    from fastapi import Depends, FastAPI, Header, HTTPException, WebSocketDisconnect

    def check(token: str = Header(alias="x-token", default="")):
        if token != "right":
            raise HTTPException(401, "who are you?")

    app = FastAPI(lifespan=store_lifespan(tmp_path / "audits.db"))
    app.include_router(api_router(dependencies=[Depends(check)]), prefix="/api")
    add_error_handlers(app)
    right = {"x-token": "right"}
    with TestClient(app) as client:
        audit = client.post("/api/audits", json={"url": SHOP}, headers=right).json()["id"]
        for route in app.routes:
            path = getattr(route, "path", "").format(audit_id=audit, screenshot_id=1)
            for method in (getattr(route, "methods", None) or ()) if "/api" in path else ():
                found = client.request(method, path)
                assert (found.status_code, found.json()["code"]) == (401, "unauthorized"), path
        assert client.get(f"/api/audits/{audit}", headers=right).status_code == 200
        with (
            pytest.raises((WebSocketDisconnect, Exception)),
            client.websocket_connect(f"/api/audits/{audit}/stream") as socket,
        ):
            socket.receive_json()


def test_an_audit_of_an_older_store_shows_its_snapshot(tmp_path):
    path = tmp_path / "audits.db"
    with connect(path):
        from veritas_peewee import Audit

        audit = Audit.create(url=SHOP, status="completed")
        assert AuditEvent.select().count() == 0
    with TestClient(application(lifespan=store_lifespan(path))) as client:
        headers = {"accept": "text/event-stream"}
        text = client.get(f"/api/audits/{audit.id}/events", headers=headers).text
    assert "event: snapshot" in text
    assert text.endswith('event: end\ndata: {"how":"completed"}\n\n')


@pytest.mark.parametrize(
    "change",
    ["timestamp = NULL", "timestamp = 7.5", "digest = NULL", "digest = 'text'", "data = NULL",
     "data = '[1e999]'", "data = 'no JSON'", "data = x'ff00'", "event_type = x'ff'",
     "timestamp = '2026-01-31 10:00:00.000000'"],
)  # fmt: skip
def test_an_event_is_shown_as_any_value_is_whatever_another_program_made_of_it(tmp_path, change):
    path = tmp_path / "audits.db"
    with connect(path):
        audit = sync.create(SHOP)
        sync.record_many(audit.id, [ENTRY, ENTRY])
    by_hand(path, f"UPDATE audit_events SET {change} WHERE id = 1")
    with connect(path, read_only=True):
        for event in sync.events(audit.id):
            text = event_text(event)
            assert text == json_text(ShownEvent(event)) == event_text(event)
            assert json.loads(text)["id"] == event.id


@pytest.mark.parametrize("error", [OSError, RuntimeError])
async def test_a_viewer_that_has_gone_when_it_is_sent_something_is_no_error(app, store, error):
    audit = await store.ingest(make_audit(SHOP))
    sent = []
    path = f"/api/audits/{audit.id}/stream"
    scope = http_scope("GET", path) | {"type": "websocket", "scheme": "ws", "subprotocols": []}

    async def receive():
        if sent:
            await anyio.sleep_forever()
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])
        if message["type"] != "websocket.accept":
            raise error

    await app(scope, receive, send)
    assert sent[:2] == ["websocket.accept", "websocket.send"]


async def test_signs_of_life_cut_no_read_short(app, store, monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT", 0.001)
    read, begun = store.read, anyio.Event()

    async def slow(*args):
        found = await read(*args)
        for _ in range(50):  # turns of the loop, in many of which a sign of life is due
            await anyio.sleep(0.001)
        begun.set()
        return found

    audit = await store.create(SHOP)
    ids = await store.record_many(audit.id, [ENTRY] * 50)
    ids.append(await store.record(audit.id, {"type": "audit_complete"}))
    monkeypatch.setattr(store, "read", slow)
    viewer = Viewer(app, path_of(audit))
    with anyio.fail_after(60):
        await viewer.watch()
    assert begun.is_set()
    assert (viewer.ids, viewer.end) == (ids, "completed")
