"""The JSON API: what each route gives, and what it says of a bad request."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import threading

import anyio
import httpx2
import pytest
from fastapi import FastAPI

from tests.support.on_server import by_hand
from tests.support.postgres import server as a_server
from tests.support.web import application, client_of, http_scope
from veritas_peewee import (
    AuditScreenshot,
    AuditStore,
    StoreBusy,
    StoreFull,
    StoreMoved,
    sync,
)
from veritas_peewee.database import postgres
from veritas_peewee.database.current import current_database
from veritas_peewee.queries.filters import Filters
from veritas_peewee.testing import make_audit, make_event, make_png
from veritas_peewee.threads import reader
from veritas_peewee.web import exports, health, limits

SHOP = "https://shop.example/"


@pytest.fixture
def app(store):
    return application(store)


@pytest.fixture
async def client(app):
    async with client_of(app) as found:
        yield found


async def test_an_audit_is_made_recorded_shown_and_removed(client, store):
    made = await client.post("/api/audits", json={"url": SHOP, "options": {"depth": 2}})
    assert made.status_code == 201
    audit = made.json()
    assert (audit["url"], audit["status"], audit["host"]) == (SHOP, "queued", "shop.example")
    assert audit["created_at"].endswith("Z")
    path = f"/api/audits/{audit['id']}"
    events = [
        {"type": "phase_start", "phase": "scout", "pct": 12.5},
        make_event("finding"),
        make_event("screenshot", label="home", index=3),
    ]
    told = await client.post(f"{path}/events", json=events)
    assert told.status_code == 200
    ids = told.json()["ids"]
    assert [event.id for event in await store.events(audit["id"])][1:] == ids
    found = (await client.get(path)).json()
    assert (found["status"], found["phase"], found["pct"]) == ("running", "scout", 12.5)
    assert [row["description"] for row in found["findings"]] == [
        events[1]["finding"]["description"]
    ]
    (shot,) = found["screenshots"]
    image = base64.b64decode(events[2]["data"])
    assert (await client.get(shot["url"])).content == image
    result = {"type": "audit_result", "result": {"recommendations": ["leave"], "trust_score": 30}}
    await client.post(f"{path}/events", json=[result, {"type": "audit_complete"}])
    found = (await client.get(path)).json()
    assert (found["status"], found["phase"], found["pct"]) == ("completed", None, None)
    assert found["details"] == {"recommendations": ["leave"]}
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404
    assert (await client.delete(path)).status_code == 404
    assert (await client.get(shot["url"])).status_code == 404


async def test_an_audit_without_events_has_no_phase(client, store):
    audit = await store.create(SHOP)
    await store.update_status(audit.id, "running")
    found = (await client.get(f"/api/audits/{audit.id}")).json()
    assert (found["status"], found["phase"], found["pct"]) == ("running", None, None)
    odd = {"type": "phase_start", "phase": 7, "pct": 500}
    await store.record(audit.id, odd)
    found = (await client.get(f"/api/audits/{audit.id}")).json()
    assert (found["phase"], found["pct"]) == (None, None)


async def test_events_are_recorded_all_or_none_unless_they_may_be_odd(client, store):
    audit = await store.create(SHOP)
    path = f"/api/audits/{audit.id}/events"
    refused = await client.post(path, json=[{"type": "log_entry"}, {"no": "type"}])
    assert (refused.status_code, await store.events(audit.id)) == (422, [])
    assert refused.json()["detail"].startswith("events[1]: event.type: must be text")
    taken = await client.post(path, params={"lenient": True}, json=[{"no": "type"}])
    assert len(taken.json()["ids"]) == 1
    assert [event.event_type for event in await store.events(audit.id)] == ["unknown"]


async def test_the_log_comes_in_pages(client, store):
    audit = await store.create(SHOP)
    ids = await store.record_many(
        audit.id,
        [{"type": "log_entry" if n % 2 else "stats_update", "stats": {}} for n in range(7)],
    )
    path, after, seen = f"/api/audits/{audit.id}/events", None, []
    while True:
        query = {"limit": 3} if after is None else {"limit": 3, "after": after}
        page = (await client.get(path, params=query)).json()
        seen += [event["id"] for event in page["items"]]
        after = page["next_after"]
        if after is None:
            break
    assert seen == ids
    page = (await client.get(path, params={"types": ["log_entry"]})).json()
    assert [event["id"] for event in page["items"]] == ids[1::2]
    token = page["items"][0]["token"]
    page = (await client.get(path, params={"after": token})).json()
    assert [event["id"] for event in page["items"]] == ids[2:]
    for after in ("x", "-1", "1-zz"):
        refused = await client.get(path, params={"after": after})
        assert (refused.status_code, "after" in refused.json()["detail"]) == (422, True)


@pytest.fixture
async def history(store):
    """Six completed audits of two sites, the newest first."""
    found = []
    for number in range(6):
        site = "shop" if number % 2 else "news"
        told = make_audit(f"https://{site}.example/", findings=number % 3)
        found.append((await store.ingest(told)).id)
    return found[::-1]


async def test_the_history_has_every_filter_by_its_python_name(client, store, history):
    schema = (await client.get("/openapi.json")).json()
    for path in ("/api/audits", "/api/search", "/api/facets", "/api/count", "/api/export"):
        names = {one["name"] for one in schema["paths"][path]["get"]["parameters"]}
        assert names >= set(Filters.__annotations__)
    page = (await client.get("/api/audits", params={"host": "shop.example", "limit": 2})).json()
    assert [audit["id"] for audit in page["items"]] == history[0::2][:2]
    query = {"host": "shop.example", "limit": 2, "cursor": page["next_cursor"]}
    page = (await client.get("/api/audits", params=query)).json()
    assert ([audit["id"] for audit in page["items"]], page["next_cursor"]) == (
        history[0::2][2:],
        None,
    )
    oldest = (await client.get("/api/audits", params={"order": "oldest"})).json()
    assert [audit["id"] for audit in oldest["items"]] == history[::-1]
    graver = (await client.get("/api/count", params={"min_severity": "low"})).json()
    assert graver == {"count": await store.count(min_severity="low")}


async def test_an_empty_parameter_is_as_if_it_were_not_there(client, history):
    names = [*Filters.__annotations__, "limit", "cursor", "order"]
    page = await client.get("/api/audits", params=dict.fromkeys(names, ""))
    assert page.status_code == 200
    assert [audit["id"] for audit in page.json()["items"]] == history


EMPTY = {
    "/api/audits": "order limit cursor", "/api/facets": "", "/api/count": "",
    "/api/search?q=x": "limit cursor", "/api/export": "format what images order",
    "/api/trend?host=shop.example": "url since until limit",
    "/api/compare?host=shop.example": "ids url", "/": "order limit cursor counts",
    "/search": "q limit cursor", "/integrity": "examine", "/sites/shop.example": "limit cursor",
    "/api/audits/{id}/events": "after types limit", "/audits/{id}": "after before wording",
}  # fmt: skip
"""Addresses, and the parameters of theirs that are no filters."""


@pytest.mark.parametrize("address", EMPTY)
async def test_whatever_parameter_is_empty_the_answer_is_the_same(client, history, address):
    names = EMPTY[address].split()
    if address in ("/api/audits", "/api/export", "/", "/search"):
        names += Filters.__annotations__
    place = address.format(id=history[0])
    without = await client.get(place)
    for name in names:
        given = await client.get(f"{place}{'&' if '?' in place else '?'}{name}=&x")
        assert (given.status_code, given.content) == (200, without.content), name
    sent = await client.post(f"/api/audits/{history[0]}/events?lenient=", json=[])
    assert sent.json() == {"ids": []}


async def test_what_is_wrong_in_a_body_is_named_by_its_place(client, history):
    events = f"/api/audits/{history[0]}/events"
    for place, body, said in (
        ("/api/audits", b"{", "body: is not JSON: Expecting property name"),
        ("/api/audits", b"", "body: Field required"),
        ("/api/audits", b'{"url": 5}', "url: Input should be a valid string"),
        (events, b"[{}, 1]", "body.1: Input should be a valid dictionary"),
        (events, b"5", "body: Input should be a valid list"),
    ):
        refused = await client.post(
            place, content=body, headers={"content-type": "application/json"}
        )
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith(said)


async def test_search_facets_series_and_comparison(client, store, history):
    word = (await store.get(history[0])).findings[0].description.split()[0]
    hits = (await client.get("/api/search", params={"q": word, "host": "shop.example"})).json()
    assert {hit["audit"]["host"] for hit in hits["items"]} == {"shop.example"}
    assert all("snippet" in hit for hit in hits["items"])
    facets = (await client.get("/api/facets")).json()
    assert facets["total"] == 6
    assert facets["status"] == [{"value": "completed", "audits": 6}]
    await store.create(SHOP)
    facets = (await client.get("/api/facets")).json()
    assert {"value": None, "audits": 1} in facets["risk_level"]
    series = (await client.get("/api/trend", params={"host": "news.example"})).json()
    assert [point["audit_id"] for point in series["points"]] == history[1::2][::-1]
    both = (await client.get("/api/compare", params={"ids": history[:2]})).json()
    assert {audit["id"] for audit in both["audits"]} == set(history[:2])
    for query in ({"host": "shop.example"}, {"url": SHOP}):
        last = (await client.get("/api/compare", params=query)).json()
        assert [audit["id"] for audit in last["audits"]] == history[0:3:2][::-1]
    for query in ({}, {"url": SHOP, "host": "x"}, {"ids": history[:1]}):
        assert (await client.get("/api/compare", params=query)).status_code == 422
    assert (await client.get("/api/compare", params={"host": "x.example"})).status_code == 404


async def test_the_head_is_the_one_of_the_store(client, store, history):
    found = (await client.get("/api/head")).json()
    assert found["head"] == str(await store.head())
    assert found["audits"] == 6


async def test_an_export_can_be_imported_and_a_table_read(client, store, history, tmp_path):
    whole = await client.get("/api/export")
    assert whole.headers["content-type"] == "application/jsonl"
    assert 'filename="audits.jsonl"' in whole.headers["content-disposition"]
    async with AuditStore.open(tmp_path / "other.db") as other:
        report = await other.import_(io.BytesIO(whole.content))
        assert (report.audits, report.problems) == (6, [])
    query = {"format": "csv", "what": "findings", "host": "shop.example"}
    table = await client.get("/api/export", params=query)
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert len(rows) == sum([len((await store.get(one)).findings) for one in history[0::2]])
    refused = await client.get("/api/export", params={"risk_level": "x", "since": "never"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


async def test_an_image_is_what_was_stored_and_never_changes(client, store, finding):
    audit = await store.create(SHOP)
    await store.record(audit.id, make_event("screenshot", label="home", index=1))
    (row,) = (await store.get(audit.id)).screenshots
    path = f"/api/audits/{audit.id}/screenshots/{row.id}"
    whole = await client.get(path)
    digest = hashlib.sha256(whole.content).hexdigest()
    assert digest == row.sha256
    headers = whole.headers
    assert (headers["etag"], headers["content-type"]) == (f'"{digest}"', "image/png")
    assert "immutable" in headers["cache-control"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    for known in (f'"{digest}"', f'W/"{digest}"', f'"x", "{digest}"', "*"):
        assert (await client.get(path, headers={"If-None-Match": known})).status_code == 304
    size = len(whole.content)
    parts = {"bytes=0-3": (0, 4), "bytes=-5": (size - 5, size), "bytes=4-": (4, size),
             "bytes=2-99999": (2, size)}  # fmt: skip
    for given, (start, end) in parts.items():
        part = await client.get(path, headers={"Range": given})
        assert (part.status_code, part.content) == (206, whole.content[start:end])
        assert part.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    for given in ("bytes=-", "bytes=a-b", "lines=0-1", "bytes=0-1,3-4"):
        assert (await client.get(path, headers={"Range": given})).content == whole.content
    for given in (f"bytes={size}-", "bytes=5-4", "bytes=-0"):
        past = await client.get(path, headers={"Range": given})
        assert (past.status_code, past.headers["content-range"]) == (416, f"bytes */{size}")
    old = await client.get(path, headers={"Range": "bytes=0-3", "If-Range": '"other"'})
    assert old.content == whole.content
    other = await store.create(SHOP)
    for wrong in (f"/api/audits/{other.id}/screenshots/{row.id}", f"{path}9", f"{path}{'9' * 30}"):
        missing = await client.get(wrong)
        assert (missing.status_code, missing.json()["code"]) == (404, "screenshot-not-found")


def by_hand_put(store, name, image):
    """Put an image in the place of a stored one, as another program would; None removes it."""
    if store.location.server is None:
        file = store.location.screenshots / name
        file.unlink() if image is None else file.write_bytes(image)
        return
    statements = [f"DELETE FROM store_images WHERE file_path = '{name}'"]
    if image is not None:
        statements.append(
            f"INSERT INTO store_images (file_path, data) VALUES ('{name}', '\\x{image.hex()}')"
        )
    by_hand(store.location.server, *statements)


async def test_an_image_that_was_altered_or_lost_is_not_shown_as_the_stored_one(client, store):
    audit = await store.create(SHOP)
    await store.record(audit.id, make_event("screenshot", label="home", index=1))
    (row,) = (await store.get(audit.id)).screenshots
    path = f"/api/audits/{audit.id}/screenshots/{row.id}"
    image = await store.screenshot(row.file_path)
    by_hand_put(store, row.file_path, make_png(3))
    altered = await client.get(path)
    assert (altered.status_code, "image" not in altered.headers["content-type"]) == (500, True)
    by_hand_put(store, row.file_path, None)
    assert (await client.get(path)).status_code == 404
    by_hand_put(store, row.file_path, image)
    assert (await client.get(path)).content == image

    def hide(*_):
        return AuditScreenshot.update(sha256=None, media_type=None).execute()

    await store.write(hide)  # as an older file has them
    assert (await client.get(path)).headers["content-type"] == "image/png"


async def test_a_report_cannot_run_anything(client, store):
    audit = await store.ingest(make_audit(SHOP, findings=1))
    page = await client.get(f"/api/audits/{audit.id}/report")
    assert page.text == await store.report(audit.id)
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "script" not in policy


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/audits/none", 404, "'none'"),
        ("/api/audits/none/events", 404, "'none'"),
        ("/api/audits/none/report", 404, "'none'"),
        ("/api/audits?limit=0", 422, "limit: "),
        ("/api/audits?limit=201", 422, "limit: "),
        ("/api/audits?min_score=high", 422, "min_score: "),
        ("/api/audits?status=odd", 422, "status: Input should be 'queued'"),
        ("/api/audits?since=never", 422, "since: must be a date"),
        ("/api/audits?cursor=zz", 422, "cursor"),
        ("/api/search", 422, "q: "),
        ("/api/nowhere", 404, "Not Found"),
        ("/api/export?what=nothing", 422, "what: "),
    ],
)
async def test_what_is_wrong_is_named_as_a_problem(client, path, status, words):
    found = await client.get(path)
    assert found.status_code == status
    assert found.headers["content-type"] == "application/problem+json"
    problem = found.json()
    assert problem.keys() == {"title", "status", "detail", "code"}
    assert (problem["status"], words in problem["detail"]) == (status, True), problem


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"url": "ftp://shop.example"}, 422, "url: must be an http:// or https:// address"),
        ({}, 422, "url: "),
        ({"url": 7}, 422, "url: "),
        ([], 422, "body: "),
        ({"url": SHOP, "options": {"a": "\ud800"}}, 422, "options"),
    ],
)
async def test_what_is_wrong_with_a_new_audit_is_named(client, store, body, status, words):
    found = await client.post(
        "/api/audits", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert (found.status_code, words in found.json()["detail"]) == (status, True), found.text
    assert await store.count() == 0


@pytest.mark.parametrize(
    ("error", "status"), [(StoreBusy, 503), (StoreMoved, 503), (StoreFull, 507), (OSError, 500)]
)
async def test_faults_of_the_store_have_their_own_status(client, monkeypatch, error, status):
    def fail(*_, **__):
        raise error("/secret/place")

    monkeypatch.setattr(sync, "history", fail)
    found = await client.get("/api/audits")
    assert (found.status_code, found.json()["status"]) == (status, status)
    assert ("secret" in found.text) == (status != 500)
    assert ("retry-after" in found.headers) == (status == 503)


async def test_a_store_that_is_closed_says_so(database):
    async with AuditStore.open(database) as store, client_of(application(store)) as client:
        assert (await client.get("/api/health")).json()["status"] == "ok"
        await store.close()
        for path in ("/api/health", "/api/audits"):
            found = await client.get(path)
            assert (found.status_code, found.json()["code"]) == (503, "closed")


async def test_a_full_disk_is_not_healthy(client, store, monkeypatch):
    usage = type("Usage", (), {"free": 5})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    status = (await client.get("/api/health")).status_code
    assert status == (507 if store.location.path else 200)


async def test_a_request_that_is_too_large_is_refused_before_it_is_read(
    app, client, store, monkeypatch
):
    monkeypatch.setattr(limits, "MAX_BODY", 1000)
    audit = await store.create(SHOP)
    path = f"/api/audits/{audit.id}/events"
    events = [{"type": "log_entry", "message": "x" * 2000}]
    assert (await client.post(path, json=events)).status_code == 413

    sent = []
    scope = http_scope("POST", path, [(b"content-type", b"application/json")])

    async def receive():
        return {"type": "http.request", "body": b" " * 400, "more_body": True}

    async def send(message):
        sent.append(message)

    with anyio.fail_after(30):  # without a length, and without an end
        await app(scope, receive, send)
    assert sent[0]["status"] == 413
    assert await store.events(audit.id) == []


async def test_a_client_that_leaves_an_export_ends_it(app, store, history):
    chunks, gone = [], anyio.Event()
    scope = http_scope("GET", "/api/export")

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message.get("body"):
            chunks.append(message)
            gone.set()
            await anyio.sleep_forever()

    with anyio.fail_after(30):
        await app(scope, receive, send)
    assert len(chunks) == 1
    assert await store.count() == 6


async def test_clients_that_do_not_read_hold_few_exports_and_not_for_ever(
    app, client, store, history, monkeypatch
):
    begun, lost = [], []

    async def watch():
        async def send(message):
            if message["type"] == "http.response.body":
                begun.append(message)
                if len(begun) == exports.MOST:
                    refused = await client.get("/api/export")
                    assert (refused.status_code, refused.json()["code"]) == (503, "busy")
                    assert refused.headers["retry-after"]
                await anyio.sleep_forever()

        with pytest.raises(TimeoutError, match="not read"):
            await app(http_scope("GET", "/api/export"), anyio.sleep_forever, send)
        lost.append(True)

    monkeypatch.setattr(exports, "PATIENCE", 30.0)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for _ in range(exports.MOST - 1):
                tasks.start_soon(watch)
            while len(begun) < exports.MOST - 1:
                await anyio.sleep(0.001)
            monkeypatch.setattr(exports, "PATIENCE", 0.5)
            tasks.start_soon(watch)
            while not lost:
                await anyio.sleep(0.001)
            assert len(begun) == exports.MOST
            # The place of the one that was lost is free again.
            assert (await client.get("/api/export")).status_code == 200
            tasks.cancel_scope.cancel()
    assert (await client.get("/api/export")).status_code == 200


async def test_each_answer_has_a_schema_with_names_and_each_route_an_example(client):
    schema = (await client.get("/openapi.json")).json()
    parts = schema["components"]["schemas"]
    # Generators of clients call their classes so, and leave out what they cannot name.
    titles = [part.get("title", name) for name, part in parts.items()]
    assert len(set(titles)) == len(titles)
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            answers = route["responses"]
            content = next(answers[one] for one in answers if one < "3").get("content", {})
            if "application/json" in content:
                name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
                assert parts[name]["properties"], (path, method)
            for status, answer in answers.items():
                if status >= "400":
                    assert "application/problem+json" in answer["content"], (path, status)


async def test_the_addresses_of_images_follow_the_path_that_a_proxy_takes_away(store):
    audit = await store.create(SHOP)
    await store.record(audit.id, make_event("screenshot", label="home", index=1))
    outer = FastAPI()
    inner = application(store)
    outer.mount("/behind", inner)
    async with client_of(outer) as client:
        found = (await client.get(f"/behind/api/audits/{audit.id}")).json()
        (shot,) = found["screenshots"]
        assert shot["url"].startswith("/behind/api/audits/")
        assert (await client.get(shot["url"])).headers["content-type"] == "image/png"
    taken = httpx2.ASGITransport(app=inner, root_path="/audits")
    async with httpx2.AsyncClient(transport=taken, base_url="http://testserver") as client:
        found = (await client.get(f"/audits/api/audits/{audit.id}")).json()
        (shot,) = found["screenshots"]
        assert shot["url"].startswith("/audits/api/audits/")


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["away", "standing still"])
async def test_a_health_check_does_not_wait_for_a_server(how, monkeypatch):
    """The patience of other reads is ten seconds, and that of what ends one five."""
    monkeypatch.setattr(health, "WITHIN", 0.5)
    with a_server() as running:
        async with (
            AuditStore.open(running.new_database()) as store,
            client_of(application(store)) as client,
        ):
            assert (await client.get("/api/health")).status_code == 200
            (running.stop if how == "away" else running.pause)()
            try:
                with anyio.fail_after(4):
                    for _ in range(2):
                        answer = await client.get("/api/health")
                        assert (answer.status_code, answer.json()["code"]) == (503, "unreachable")
                        assert int(answer.headers["Retry-After"]) > 0
            finally:
                (running.start if how == "away" else running.go_on)()
            with anyio.fail_after(30):
                while (await client.get("/api/health")).status_code != 200:
                    pass
            # What ended the health check's read late has ended no other one.
            assert await store.read(lambda: by_server("SELECT 7 FROM pg_sleep(0.1)")) == [(7,)]


def by_server(sql: str) -> list[tuple[object, ...]]:
    return current_database().execute_sql(sql).fetchall()


@pytest.mark.anyio
async def test_a_health_check_does_not_wait_for_readers_that_are_busy(tmp_path, monkeypatch):
    monkeypatch.setattr(health, "WITHIN", 0.1)
    begun, go_on = threading.Event(), threading.Event()

    def busy() -> None:
        begun.set()
        go_on.wait(60)

    async with (
        AuditStore.open(tmp_path / "audits.db", readers=1) as store,
        client_of(application(store)) as client,
        anyio.create_task_group() as group,
    ):
        group.start_soon(store.read, busy)
        while not begun.is_set():
            await anyio.sleep(0.001)
        answer = await client.get("/api/health")
        go_on.set()
        assert (answer.status_code, answer.json()["code"]) == (503, "busy")


@pytest.mark.anyio
async def test_a_server_that_is_away_is_told_until_it_is_back(monkeypatch):
    monkeypatch.setattr(reader, "COMES_BACK", 0)
    monkeypatch.setattr(postgres, "_COMES_BACK", 0)
    with a_server() as running:
        async with (
            AuditStore.open(running.new_database()) as store,
            client_of(application(store)) as client,
        ):
            made = (await client.post("/api/audits", json={"url": SHOP})).json()
            running.stop()
            for path in ("/api/health", "/api/audits", f"/api/audits/{made['id']}"):
                answer = await client.get(path)
                assert (answer.status_code, answer.json()["code"]) == (503, "unreachable")
                assert int(answer.headers["Retry-After"]) > 0
            event = make_event("finding")
            events = f"/api/audits/{made['id']}/events"
            assert (await client.post(events, json=[event])).status_code == 503
            running.start()
            assert (await client.get("/api/health")).status_code == 200
            assert len((await client.post(events, json=[event])).json()["ids"]) == 1
            found = (await client.get(f"/api/audits/{made['id']}")).json()
            assert len(found["findings"]) == 1
