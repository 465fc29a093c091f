"""HTTP as every answer keeps it: HEAD, the methods that are allowed, and the security headers."""

from __future__ import annotations

import anyio
import pytest
from fastapi import FastAPI, HTTPException
from fastapi.staticfiles import StaticFiles
from fastapi.testclient import TestClient

from tests.support.pages import seen
from tests.support.web import Viewer, application, client_of
from veritas_peewee import StoreError
from veritas_peewee.testing import make_audit
from veritas_peewee.web import api_router, create_app
from veritas_peewee.web.headers import SECURITY

SHOP = "https://shop.example/"
PROBLEM = "application/problem+json"
WITH_FORM = ("/integrity", "/new")


async def engine(audit, send):
    """Nobody runs it here."""


@pytest.fixture
def app(store):
    found = create_app(engine=engine, writable=True, allowed_hosts=("testserver",))
    found.state.veritas_store = store
    return found


@pytest.fixture
async def client(app):
    async with client_of(app) as found:
        yield found


@pytest.fixture
async def audit(store):
    return await store.get((await store.ingest(make_audit(SHOP))).id)


def paths(audit):
    path = f"/api/audits/{audit.id}"
    return [
        "/api/health", "/api/audits?limit=1", path, f"{path}/events", f"{path}/report",
        f"{path}/screenshots/{audit.screenshots[0].id}", "/api/search?q=hidden", "/api/facets",
        "/api/count", "/api/trend?host=shop.example", "/api/head", "/api/openapi.json", "/",
        f"/audits/{audit.id}", "/running", "/facets", "/search?q=hidden", "/sites/shop.example",
        "/integrity", "/new", "/static/pages.css", "/static/pages.js",
        f"/api/audit/{audit.id}/status",
    ]  # fmt: skip


async def test_head_is_answered_as_get_is_but_for_the_body(client, audit):
    for path in paths(audit):
        whole, bare = await client.get(path), await client.head(path)
        assert (bare.status_code, bare.content) == (200, b""), path
        for varying in ("/running", "/integrity", "/"):  # they show what is under way
            if path == varying:
                whole.headers.pop("content-length")
                bare.headers.pop("content-length")
        assert dict(bare.headers) == dict(whole.headers), path
    for path in ("/api/export", "/api/export?format=csv"):
        bare = await client.head(path)
        assert (bare.status_code, bare.content) == (200, b"")
        assert "attachment" in bare.headers["content-disposition"]


async def test_head_says_what_is_wrong_as_get_does(client, audit):
    for path in ("/api/audits/none", "/audits/none", "/api/audits?limit=0", "/nowhere"):
        assert (await client.head(path)).status_code == (await client.get(path)).status_code


async def test_head_of_a_stream_begins_none(app, store):
    audit = await store.create(SHOP)
    viewer = Viewer(app, f"/api/audits/{audit.id}/events")
    viewer.scope["method"] = "HEAD"
    viewer.scope["headers"].append((b"host", b"testserver"))
    with anyio.fail_after(30):
        await viewer.watch()
    assert (viewer.status, viewer.text, viewer.whole) == (200, "", True)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/audits", "GET, HEAD, POST"),
        ("POST", "/api/audits/x", "GET, HEAD, DELETE"),
        ("PATCH", "/api/audits/x/events", "GET, HEAD, POST"),
        ("DELETE", "/api/count", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("GET", "/api/audit/start", "POST"),
    ],
)
async def test_a_method_that_is_not_there_names_all_that_are(client, method, path, allowed):
    found = await client.request(method, path)
    assert (found.status_code, found.headers["content-type"]) == (405, PROBLEM)
    assert found.headers["allow"] == allowed


async def test_allowed_methods_are_known_where_the_api_is_mounted_in_another(store):
    outer = FastAPI()
    outer.mount("/inner", application(store))
    async with client_of(outer) as client:
        found = await client.put("/inner/api/audits")
        assert (found.status_code, found.headers["allow"]) == (405, "GET, HEAD, POST")
        assert (await client.head("/inner/api/audits")).status_code == 200


async def test_a_405_of_an_application_s_own_keeps_what_it_says(store, tmp_path):
    app = application(store)

    @app.get("/own")
    async def own():
        raise HTTPException(405, headers={"Allow": "PURGE", "X-More": "1"})

    (tmp_path / "index.html").write_text("x")
    app.mount("/files", StaticFiles(directory=tmp_path))
    async with client_of(app) as client:
        found = await client.get("/own")
        assert (found.status_code, found.headers["allow"]) == (405, "PURGE")
        assert found.headers["x-more"] == "1"
        assert (await client.post("/own")).headers["allow"] == "GET"
        found = await client.post("/files/index.html")
        assert (found.status_code, found.headers["allow"]) == (405, "GET, HEAD")
        app.mount("/", StaticFiles(directory=tmp_path))  # takes every method of every path
        found = await client.put("/api/audits")
        assert (found.status_code, found.headers["allow"]) == (405, "GET, HEAD, POST")


async def answers(client, audit):
    """An answer of each kind, by the status that is wanted."""
    path = f"/api/audits/{audit.id}"
    image = f"{path}/screenshots/{audit.screenshots[0].id}"
    tag = {"If-None-Match": (await client.get(image)).headers["etag"]}
    return [
        *[(200, await client.get(one)) for one in paths(audit)],
        (200, await client.get("/api/export")),
        (200, await client.get(f"{path}/events", headers={"Accept": "text/event-stream"})),
        (206, await client.get(image, headers={"Range": "bytes=0-3"})),
        (304, await client.get(image, headers=tag)),
        (307, await client.get("/api/audits/", follow_redirects=False)),
        (404, await client.get("/nowhere")),
        (404, await client.get("/api/audits/none")),
        (404, await client.get("/audits/none")),
        (404, await client.get("/static/none.js")),
        (404, await client.get("/api/audit/none/status")),
        (405, await client.put("/api/audits")),
        (416, await client.get(image, headers={"Range": "bytes=999999999-"})),
        (422, await client.get("/api/audits?limit=0")),
        (422, await client.get("/?limit=0")),
        (422, await client.post("/api/audits", json={"url": "x"})),
        (422, await client.post("/api/audit/start", json={})),
        (201, await client.post("/api/audits", json={"url": SHOP})),
        (204, await client.delete(path)),
    ]


async def test_every_answer_has_the_security_headers_whatever_made_it(client, audit):
    for status, found in await answers(client, audit):
        assert found.status_code == status, found.url
        for name, value in SECURITY.items():
            if name == "Content-Security-Policy":
                assert found.headers[name].startswith("default-src 'none'"), found.url
            elif name == "Referrer-Policy" and found.url.path in WITH_FORM:
                assert found.headers[name] == "same-origin"
            else:
                assert found.headers[name] == value, found.url
            assert len(found.headers.get_list(name)) == 1
    foreign = await client.get("/api/count", headers={"Host": "evil.example"})
    assert foreign.status_code == 403
    assert foreign.headers.items() >= {(k.lower(), v) for k, v in SECURITY.items()}


@pytest.mark.parametrize("error", [RuntimeError("/secret/place"), StoreError("/secret/place")])
async def test_a_fault_of_the_application_is_an_answer_like_others(
    client, store, monkeypatch, error
):
    async def failed(*_, **__):
        raise error

    monkeypatch.setattr(store, "count", failed)
    monkeypatch.setattr(store, "read", failed)
    for path in ("/api/count", "/", "/api/audits"):
        found = await client.get(path)
        assert found.status_code == 500
        assert "secret" not in found.text
        assert {"nosniff"} == {found.headers["x-content-type-options"]}
        assert "default-src 'none'" in found.headers["content-security-policy"]


async def test_an_application_of_one_s_own_keeps_its_own_answers_as_they_are(store):
    app = application(store)

    @app.get("/own")
    async def own():
        return {"fault": 1 / 0}

    @app.get("/other")
    async def other():
        return {}

    async with client_of(app) as client:
        audit = await store.get((await store.ingest(make_audit(SHOP))).id)
        image = f"/api/audits/{audit.id}/screenshots/{audit.screenshots[0].id}"
        told = [
            await client.get("/own"), await client.get("/nowhere"), await client.put("/api/audits"),
            await client.get("/api/audits?limit=0"), await client.get("/api/count"),
            await client.get(image, headers={"Range": "bytes=999999999-"}),
        ]  # fmt: skip
        assert [one.status_code for one in told] == [500, 404, 405, 422, 200, 416]
        for one in told:
            assert one.headers.items() >= {(k.lower(), v) for k, v in SECURITY.items()}
        assert "content-security-policy" not in (await client.get("/other")).headers
        assert (await client.head("/other")).status_code == 405


async def test_without_our_handlers_our_routes_answer_head_too(store):
    app = FastAPI()
    app.include_router(api_router(), prefix="/api")
    app.state.veritas_store = store
    async with client_of(app) as client:
        found = await client.head("/api/count")
        assert (found.status_code, found.headers["content-length"]) == (200, "11")
        assert found.headers["x-content-type-options"] == "nosniff"


async def test_a_range_that_the_image_does_not_have_is_explained(client, audit, store):
    shot = audit.screenshots[0]
    path = f"/api/audits/{audit.id}/screenshots/{shot.id}"
    size = len((await client.get(path)).content)
    for asked in (f"bytes={size}-", "bytes=-0"):
        found = await client.get(path, headers={"Range": asked})
        assert (found.status_code, found.headers["content-type"]) == (416, PROBLEM)
        assert found.json()["detail"] == f"range: the image has {size} bytes"
        assert found.headers["content-range"] == f"bytes */{size}"
        assert "cache-control" not in found.headers


@pytest.mark.parametrize("root", ["", "/behind"])
def test_a_browser_is_shown_a_page_where_there_is_none(tmp_path, root):
    app = create_app(tmp_path / "audits.db")
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    with TestClient(app, "http://localhost", root_path=root) as client:
        for path in ("/nonsense", "/audits/", "/audits/a/b", "/apis"):
            page = seen(client.get(root + path, headers=browser), 404)
            assert "no page at this address" in page.text
            assert f"{root}/" in page.links
        for path, headers in (("/nonsense", {}), ("/api/nonsense", browser), ("/api", browser)):
            told = client.get(root + path, headers=headers)
            assert told.status_code == 404
            assert told.headers["content-type"] == "application/problem+json"
