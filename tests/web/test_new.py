"""The page that starts an audit: where there is an engine, and for nobody's page but ours."""

from __future__ import annotations

import json
import re
import sys
import threading
from contextlib import contextmanager

import pytest
from anyio import to_thread
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.support.invariants import check_invariants
from tests.support.pages import seen
from tests.support.web import client_of
from veritas_peewee import InvalidAudit, StoreBusy, connect, store_lifespan
from veritas_peewee.web import api_router, create_app, pages_new, pages_router

SHOP = "https://shop.example/"
FORM = {"url": SHOP, "audit_tier": "deep_forensic"}
ORIGIN = "http://localhost:8000"
LINK = "New audit"
OURS = "same-origin"
"""A page with a form says to our own pages where the form is from."""


async def engine(audit, send):
    await send({"type": "phase_start", "phase": audit.audit_tier})
    await send({"type": "audit_complete"})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audits.db"


@contextmanager
def serving(path, app=None, **options):
    if app is None:
        app = create_app(path, **{"engine": engine, "writable": True, **options})
    with TestClient(app, ORIGIN, follow_redirects=False) as client:
        yield client
    with connect(path):
        check_invariants()


def of_one_s_own(path, **options):
    """An application without our guard, whose pages are not at its root."""
    app = FastAPI(lifespan=store_lifespan(path))
    app.include_router(api_router(), prefix="/api")
    app.include_router(pages_router(api_prefix="/api", **options), prefix="/look")
    return app


def said_by(page):
    """What a page says of how links and forms name it."""
    return OURS if page == "/integrity" else "no-referrer"


def count(client):
    return client.get("/api/count").json()["count"]


def ended(client, audit_id):
    """The audit, once its engine has ended it."""
    live = client.get(f"/api/audits/{audit_id}/events", headers={"Accept": "text/event-stream"})
    assert live.text.endswith('data: {"how":"completed"}\n\n')
    return client.get(f"/api/audits/{audit_id}").json()


def test_an_audit_is_started_from_the_page_and_shown_live(path):
    with serving(path) as client:
        page = seen(client.get("/new"), referrer=OURS)
        (form,) = [one for one in page.all("form") if one.get("method") == "post"]
        assert form["action"] == "/new"
        answer = client.post("/new", data=FORM, headers={"Origin": ORIGIN})
        assert (answer.status_code, answer.content) == (303, b"")
        (audit_id,) = re.fullmatch(r"/audits/(\w+)", answer.headers["location"]).groups()
        assert SHOP in seen(client.get(answer.headers["location"])).text
        audit = ended(client, audit_id)
        assert (audit["url"], audit["audit_tier"], audit["status"]) == (
            SHOP, "deep_forensic", "completed",
        )  # fmt: skip
        log = client.get(f"/api/audits/{audit_id}/events?types=phase_start").json()["items"]
        assert [event["data"]["phase"] for event in log] == ["deep_forensic"]


@pytest.mark.parametrize("kind", ["command", "function"])
def test_an_audit_that_cannot_be_claimed_yet_is_run_later(path, monkeypatch, kind):
    monkeypatch.setattr(pages_new, "AGAIN", 0.01)
    lines = [json.dumps({"type": "phase_start"}), json.dumps({"type": "audit_complete"})]
    runs = [sys.executable, "-c", f"print({lines[0]!r}); print({lines[1]!r})"]
    with serving(path, engine=runs if kind == "command" else engine) as client:
        store = client.app.state.veritas_store
        write, failures = store.write, [StoreBusy("locked"), StoreBusy("locked")]

        async def busy(fn, *args):
            if failures and fn.__name__ == "make":  # a claim
                raise failures.pop()
            return await write(fn, *args)

        monkeypatch.setattr(store, "write", busy)
        place = client.post("/new", data=FORM).headers["location"]
        assert ended(client, place.rpartition("/")[2])["status"] == "completed"
        assert not failures


def test_no_more_engines_are_started_at_once_than_may_run(path):
    go_on = threading.Event()

    async def waits(audit, send):
        await to_thread.run_sync(go_on.wait, 60)
        await engine(audit, send)

    with serving(path, engine=waits, engines=2) as client:
        assert "At most 2 run at once here." in seen(client.get("/new"), referrer=OURS).text
        begun = [client.post("/new", data=FORM) for _ in range(2)]
        wrong = client.post("/new", data={"url": "no address"})
        refused = client.post("/new", data=FORM)
        for answer in (wrong, refused):
            page = seen(answer, 503, OURS)
            assert "2 engines run or wait here, and no more are started at once" in page.text
            assert int(answer.headers["Retry-After"]) > 0
        given = next(one for one in page.all("input") if one["id"] == "url")
        assert given["value"] == SHOP  # what was given is there still
        assert count(client) == 2
        go_on.set()
        for one in begun:
            ended(client, one.headers["location"].rpartition("/")[2])
        # A wrong address costs no place.
        for _ in range(3):
            assert client.post("/new", data={"url": "no address"}).status_code == 422
        again = client.post("/new", data=FORM).headers["location"]
        assert ended(client, again.rpartition("/")[2])["status"] == "completed"


def test_an_audit_of_the_older_api_waits_for_its_turn(path):
    go_on, ran = threading.Event(), []

    async def waits(audit, send):
        ran.append(audit.id)
        await to_thread.run_sync(go_on.wait, 60)
        await engine(audit, send)

    with serving(path, engine=waits, engines=1) as client:
        first = client.post("/new", data=FORM).headers["location"].rpartition("/")[2]
        second = client.post("/api/audit/start", json={"url": SHOP}).json()
        with client.websocket_connect(
            f"ws://localhost:8000{second['ws_url']}", headers={"Origin": ORIGIN}
        ) as socket:
            assert client.post("/new", data=FORM).status_code == 503
            go_on.set()
            while socket.receive_json()["type"] != "audit_complete":
                pass
        assert ran == [first, second["audit_id"]]


@pytest.mark.parametrize("number", [0, -1, True, "8"])
def test_a_number_of_engines_that_is_none_is_refused(path, number):
    with pytest.raises(InvalidAudit, match="engines: must be a whole number from 1 on"):
        create_app(path, engine=engine, writable=True, engines=number)


def test_without_a_tier_it_is_the_usual_one(path):
    with serving(path) as client:
        place = client.post("/new", data={"url": f"  {SHOP} "}).headers["location"]
        audit = ended(client, place.rpartition("/")[2])
        assert (audit["url"], audit["audit_tier"]) == (SHOP, "standard_audit")


def test_without_an_engine_there_is_no_such_page_and_no_link_to_it(path):
    for options in ({"engine": None}, {"engine": None, "writable": False}):
        with serving(path, **options) as client:
            assert client.get("/new").status_code == 404
            assert client.post("/new", data=FORM).status_code in (403, 404)
            for page in ("/", "/integrity", "/search"):
                assert LINK not in seen(client.get(page), referrer=said_by(page)).text


def test_every_page_leads_to_it(path):
    with serving(path) as client:
        place = client.post("/new", data=FORM).headers["location"]
        ended(client, place.rpartition("/")[2])
        for page in ("/", place, "/integrity", "/search?q=x", "/sites/shop.example"):
            assert "/new" in seen(client.get(page), referrer=said_by(page)).links, page
        assert "/new" in seen(client.get("/audits/none"), 404).links


@pytest.mark.parametrize(
    ("form", "field", "word"),
    [
        ({"url": "shop.example"}, "url", "shop.example"),
        ({"url": "javascript:alert(1)"}, "url", "http"),
        ({"url": '"><script>alert(1)</script>'}, "url", "script"),
        ({"url": ""}, "url", "http"),
        ({}, "url", "http"),
        ({"url": SHOP, "audit_tier": "--all"}, "audit_tier", "must be one of quick_scan"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_stored(path, form, field, word):
    with serving(path) as client:
        answer = client.post("/new", data=form or {"x": "y"})
        assert answer.status_code == 422
        page = seen(answer, 422, OURS)
        fields = {one["id"]: one for tag in ("input", "select") for one in page.all(tag)}
        assert fields["url"]["value"] == form.get("url", "")
        wrong = {name for name, one in fields.items() if "aria-invalid" in one}
        assert wrong == {field}
        (fault,) = [one for one in page.all("p") if one.get("class") == "fault"]
        assert fields[field]["aria-describedby"] == fault["id"] == f"{field}-fault"
        assert word in page.text
        assert not [one for one in page.all("script") if "src" not in one]
        assert count(client) == 0


def test_the_form_says_from_where_it_is_sent(path):
    # A browser sends a form of a page without a referrer as `Origin: null`, which is refused.
    with serving(path) as client:
        assert client.get("/new").headers["referrer-policy"] == OURS
        assert client.post("/new", data=FORM, headers={"Origin": "null"}).status_code == 403


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:8001"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_no_foreign_page_starts_an_audit_with_our_guard_or_without(path, headers):
    with serving(path) as client:
        assert client.post("/new", data=FORM, headers=headers).status_code == 403
        assert count(client) == 0
    with serving(path, of_one_s_own(path, engine=engine)) as client:
        assert client.post("/look/new", data=FORM, headers=headers).status_code == 403
        assert count(client) == 0


def test_behind_a_proxy_the_browser_says_that_the_page_is_ours(path):
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": "https://audits.example"}
    with serving(path, of_one_s_own(path, engine=engine)) as client:
        answer = client.post("/look/new", data=FORM, headers=headers)
        assert answer.headers["location"].startswith("/look/audits/")
        ended(client, answer.headers["location"].rpartition("/")[2])
        assert "/look/new" in seen(client.get("/look/")).links


def test_what_is_no_form_or_has_no_end_is_refused(path):
    with serving(path) as client:
        assert client.post("/new", json=FORM).status_code == 415
        kind = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
        long = b"url=" + b"x" * 70_000
        assert client.post("/new", content=long, headers=kind).status_code == 413
        assert client.post("/new", content=b"\xff\x00&=&url", headers=kind).status_code == 422
        assert count(client) == 0


def test_the_token_is_asked_for_here_too(path):
    with serving(path, token="0123456789abcdef-secret") as client:
        assert client.get("/new").status_code == 401
        assert client.post("/new", data=FORM).status_code == 401


async def test_an_application_that_cannot_run_an_engine_stores_nothing(store):
    app = FastAPI()
    app.include_router(pages_router(engine=engine))
    app.state.veritas_store = store  # without the lifespan, nothing runs in the background
    async with client_of(app) as client:
        seen(await client.post("/new", data=FORM), 503)
    assert await store.count() == 0


def test_what_is_no_engine_is_refused_at_once():
    with pytest.raises(InvalidAudit, match="command"):
        pages_router(engine=[])
