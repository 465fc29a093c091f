"""Who may ask the application for anything."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.websockets import WebSocketDisconnect

from tests.support.web import http_scope
from veritas_peewee.web import create_app

TOKEN = "0123456789abcdef-secret"
ODD = 'base64/+== "\\;,%41'.replace(" ", "")
SHOP = {"url": "https://shop.example/"}


@pytest.fixture
def serve(tmp_path):
    """Makes a client of an application; the clients of a test have the same store."""
    opened = []

    def make(base="http://localhost:8000", **options):
        client = TestClient(create_app(tmp_path / "audits.db", **options), base_url=base)
        opened.append(client.__enter__())
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST:80", "[::1]:9", "127.0.0.1:65535"]
)
def test_this_machine_may_ask_under_its_own_names(serve, host):
    assert serve().get("/api/count", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "127.0.0.2",
     "localhost@evil.example", "evil.example:8000", "localhost:8000.evil.example"],
)  # fmt: skip
def test_a_foreign_name_that_leads_here_is_refused(serve, host):
    found = serve().get("/api/count", headers={"Host": host})
    assert (found.status_code, found.json()["code"]) == (403, "forbidden")


def test_other_names_are_allowed_one_by_one_or_all(serve):
    named = serve(allowed_hosts=("audits.example",))
    assert named.get("/api/count", headers={"Host": "audits.example"}).status_code == 200
    assert named.get("/api/count", headers={"Host": "other.example"}).status_code == 403
    everybody = serve(allowed_hosts=("*",))
    assert everybody.get("/api/count", headers={"Host": "other.example"}).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8000", 201),
        (None, 201),
        ("https://evil.example", 403),
        ("http://localhost:8001", 403),
        ("http://localhost", 403),
        ("null", 403),
        ("http://[", 403),
        ("http://localhost:8000.evil.example", 403),
        ("http://localhost:8000@evil.example", 403),
    ],
)
def test_a_page_of_another_origin_may_not_ask(serve, origin, status):
    client = serve(writable=True)
    headers = {} if origin is None else {"Origin": origin}
    assert client.post("/api/audits", json=SHOP, headers=headers).status_code == status
    read = client.get("/api/count", headers=headers)
    assert read.status_code == (200 if status == 201 else 403)
    audit = client.post("/api/audits", json=SHOP).json()["id"]
    path = f"ws://localhost:8000/api/audits/{audit}/stream"
    if status == 201:
        with client.websocket_connect(path, headers=headers) as socket:
            assert socket.receive_json()["message"] == "snapshot"
    else:
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(path, headers=headers):
            pass


def test_nothing_is_written_unless_it_may_be(serve):
    reading, writing = serve(), serve(writable=True)
    audit = writing.post("/api/audits", json=SHOP).json()["id"]
    path = f"/api/audits/{audit}"
    for method, where in (("POST", "/api/audits"), ("POST", f"{path}/events"), ("DELETE", path),
                          ("PUT", path), ("PATCH", path)):  # fmt: skip
        found = reading.request(method, where)
        assert (found.status_code, found.json()["code"]) == (403, "forbidden")
    assert reading.get(path).status_code == 200
    assert writing.delete(path).status_code == 204


def test_the_token_is_asked_for_everywhere_and_taken_in_a_header(serve):
    client = serve(token=TOKEN, writable=True)
    for path in ("/", "/api/count", "/api/openapi.json", "/api/nowhere"):
        found = client.get(path)
        assert (found.status_code, found.headers["www-authenticate"]) == (401, "Bearer")
        assert TOKEN not in found.text
    wrong = [f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer", "Bearer \xe9",
             f"Bearer {TOKEN.upper()}"]  # fmt: skip
    for header in wrong:
        headers = {"Authorization": header.encode("latin-1")}
        assert client.get("/api/count", headers=headers).status_code == 401
        assert client.post("/api/audits", json=SHOP, headers=headers).status_code == 401
    right = {"Authorization": f"Bearer {TOKEN}"}
    audit = client.post("/api/audits", json=SHOP, headers=right).json()["id"]
    path = f"ws://localhost:8000/api/audits/{audit}/stream"
    with client.websocket_connect(path, headers=right) as socket:
        assert socket.receive_json()["message"] == "snapshot"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
        pass


def test_a_browser_brings_the_token_once_and_its_address_does_not_keep_it(serve):
    client = serve(token=TOKEN)
    assert client.get("/api/count?token=wrong").status_code == 401
    first = client.get(f"/api/count?status=queued&token={TOKEN}", follow_redirects=False)
    assert (first.status_code, first.headers["location"]) == (303, "/api/count?status=queued")
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/api/count").json() == {"count": 0}
    wrong = {"Cookie": "veritas_token_8000=wrong"}
    assert client.get("/api/count", headers=wrong).status_code == 401


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("//evil.example/", "/evil.example/"),
        ("/%5Cevil.example/", "/%5Cevil.example/"),
        ("/\\evil.example/", "/%5Cevil.example/"),
        ("http://evil.example/", "/http://evil.example/"),
        ("/sites/%E6%97%A5%E6%9C%AC", "/sites/%E6%97%A5%E6%9C%AC"),
        ("/a%0d%0aX-Evil:%20x", "/a%0d%0aX-Evil:%20x"),
        ("/audits/a%3Fb%2fc", "/audits/a%3Fb%2fc"),
    ],
)
async def test_a_browser_that_brings_the_token_stays_here_whatever_it_asks_for(
    tmp_path, path, place
):
    app = create_app(tmp_path / "audits.db", token=TOKEN)
    scope = http_scope("GET", unquote(path), [(b"host", b"localhost:8000")], f"token={TOKEN}")
    sent = []

    async def send(message):
        sent.append(message)

    await app({**scope, "raw_path": path.encode()}, None, send)
    assert sent[0]["status"] == 303
    assert dict(sent[0]["headers"])[b"location"] == place.encode()


def test_other_cookies_of_the_host_do_not_hide_the_token(serve):
    kept = f"veritas_token_8000={quote(ODD, safe='')}"
    client = serve(token=ODD)
    for header in (
        kept, f'state={{"a": 1}}; {kept}', f"{kept}; veritas_token_8000=x",
        f"veritas_token_8000=x;{kept}", f"veritas_token_8001=x; {kept}; =; \xe9; a",
    ):  # fmt: skip
        headers = {"Cookie": header.encode("latin-1")}
        assert client.get("/api/count", headers=headers).status_code == 200, header
    split = [("Cookie", "a=b"), ("Cookie", kept)]
    assert client.get("/api/count", headers=split).status_code == 200


def test_servers_at_two_ports_of_a_host_have_tokens_of_their_own(tmp_path):
    jar = {}
    for port in (8000, 8001):
        token = f"{TOKEN}-{port}"
        app = create_app(tmp_path / f"{port}.db", token=token)
        with TestClient(app, base_url=f"http://localhost:{port}") as client:
            client.get("/api/count", params={"token": token})
            jar |= dict(client.cookies)
    cookies = "; ".join(f"{name}={value}" for name, value in jar.items())
    for port in (8000, 8001):
        app = create_app(tmp_path / f"{port}.db", token=f"{TOKEN}-{port}")
        with TestClient(app, base_url=f"http://localhost:{port}") as client:
            assert client.get("/api/count", headers={"Cookie": cookies}).status_code == 200


@pytest.mark.parametrize("token", ["two words of a token", "one-line\nand another", "tök€n" * 4])
def test_a_token_that_no_request_can_bring_is_refused(tmp_path, token):
    with pytest.raises(ValueError, match="token: may have"):
        create_app(tmp_path / "audits.db", token=token)


def test_a_token_that_can_be_guessed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 16 characters, it has 3"):
        create_app(tmp_path / "audits.db", token="abc")


def test_nothing_is_loaded_from_elsewhere_and_types_are_not_guessed(serve):
    client = serve()
    for path in ("/docs", "/redoc"):
        assert client.get(path).status_code == 404
    found = client.get("/api/count")
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["referrer-policy"] == "no-referrer"


def test_a_name_is_allowed_however_it_is_written(serve):
    names = ("Audits.Example.", "b\u00fccher.example", "[::1]", "10.0.0.1", "a_b.example")
    client = serve(allowed_hosts=names)
    for host in ("audits.example", "audits.example.:8000", "xn--bcher-kva.example", "[::1]:9",
                 "10.0.0.1:80", "a_b.example"):  # fmt: skip
        assert client.get("/api/count", headers={"Host": host}).status_code == 200, host
    assert client.get("/api/count", headers={"Host": "localhost"}).status_code == 403


@pytest.mark.parametrize(
    "name",
    ["audits.example:8000", "https://audits.example", "audits.example/", "*.example", "a, b", ".",
     " ", "u@audits.example", "[::1]:80"],
)  # fmt: skip
def test_what_is_no_name_of_a_host_is_refused_at_once(tmp_path, name):
    """No request would ever come under it."""
    with pytest.raises(ValueError, match="is no host's name: give it without scheme, port"):
        create_app(tmp_path / "audits.db", allowed_hosts=("localhost", name))


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_browser_that_is_refused_is_shown_a_page_that_says_why(serve):
    client = serve(token=TOKEN)
    for path in ("/", "/audits/x", "/sites/a.example", "/nowhere"):
        found = client.get(path, headers=BROWSER)
        assert (found.status_code, found.headers["www-authenticate"]) == (401, "Bearer")
        assert found.headers["content-type"].startswith("text/html")
        assert "open this page once with ?token=" in found.text
        assert 'href="/"' in found.text
        foreign = client.get(path, headers={**BROWSER, "Host": "evil<b>.example"})
        assert foreign.status_code == 403
        assert "this server has no name" in foreign.text
        assert "<b>" not in foreign.text
    posted = serve().post("/new", headers=BROWSER)
    assert (posted.status_code, "this server only shows audits" in posted.text) == (403, True)
    assert posted.headers["content-type"].startswith("text/html")


def test_a_program_that_is_refused_is_told_as_json(serve):
    client = serve(token=TOKEN)
    for path, headers in (("/", {}), ("/", {"Accept": "*/*"}), ("/api/count", BROWSER)):
        found = client.get(path, headers=headers)
        assert (found.status_code, found.json()["code"]) == (401, "unauthorized")


def test_below_a_prefix_the_page_of_a_refusal_leads_to_the_list_there(tmp_path):
    inside = create_app(tmp_path / "audits.db", token=TOKEN)
    app = Starlette(routes=[Mount("/look", inside)])
    found = TestClient(app, base_url="http://localhost").get("/look/audits/x", headers=BROWSER)
    assert (found.status_code, 'href="/look/"' in found.text) == (401, True)
    told = TestClient(app, base_url="http://localhost").get("/look/api/count", headers=BROWSER)
    assert (told.status_code, told.json()["code"]) == (401, "unauthorized")
