"""The last verification on the integrity page: begun there, one at a time, and what it found."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import anyio
import pytest
from fastapi.testclient import TestClient

from tests.support.database_files import by_hand
from tests.support.pages import seen
from veritas_peewee import StoreBusy, connect, sync
from veritas_peewee.testing import make_audit
from veritas_peewee.web import create_app, verification
from veritas_peewee.web.verification import verification_of

SHOP = "https://shop.example/"
PAGE = "/integrity"
NOBODY = "nobody has asked it to verify the store"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "audits.db"
    with connect(path):
        for _ in range(2):
            sync.ingest(make_audit(SHOP))
    return path


@contextmanager
def serving(path, **options):
    with TestClient(
        create_app(path, **options), "http://localhost", follow_redirects=False
    ) as client:
        yield client


def page(client):
    return seen(client.get(PAGE), referrer="same-origin")


def buttons(found):
    """The forms of a page that begin a verification."""
    return [one for one in found.all("form") if one.get("action") == PAGE]


def verified(client):
    """The page, once the verification that was begun has ended."""
    begun = client.post(PAGE)
    assert (begun.status_code, begun.headers["location"]) == (303, "/integrity#verified-h")
    store = client.app.state.veritas_store

    async def end():
        with anyio.fail_after(60):
            while verification_of(store).current is not None:
                await anyio.sleep(0.001)

    client.portal.call(end)
    return page(client)


@pytest.mark.parametrize("place", ["file", "memory"])
def test_what_the_last_verification_found_is_shown_with_when_and_of_what(path, place):
    with serving(path if place == "file" else ":memory:") as client:
        assert NOBODY in page(client).text
        found = verified(client).text
        assert NOBODY not in found
        audits = 2 if place == "file" else 0
        assert f"since it was started: the whole store, {audits} audits" in found
        assert "by the process that answers here" in found
        assert "All is there, as it was written." in found
        store = client.app.state.veritas_store
        assert f"Head: {client.portal.call(store.head)}" in found
    with serving(path) as client:  # another process would not know either
        assert NOBODY in page(client).text


def test_what_is_altered_is_named_until_the_next_verification(path):
    with serving(path) as client:
        verified(client)
        by_hand(path, "UPDATE audits SET trust_score = 99, narrative = '<script>x</script>'")
        assert "All is there" in page(client).text  # that one found it so
        found = verified(client)
        assert "Missing or altered" in found.text
        with connect(path, read_only=True):
            assert all(f"audit {audit.id}" in found.text for audit in sync.history().items)
        assert "All is there" not in found.text


def test_only_one_runs_at_a_time_and_its_progress_is_shown(path, monkeypatch):
    go_on, begun, runs = threading.Event(), threading.Event(), []

    def slow(*, progress):
        runs.append(1)
        progress(1, 2)
        begun.set()
        assert go_on.wait(60)
        progress(2, 2)
        return verification.Report()

    monkeypatch.setattr(verification, "verify", slow)
    with serving(path) as client:
        for _ in range(3):
            assert client.post(PAGE).status_code == 303
        assert begun.wait(60)
        text = page(client).text
        assert "Under way since" in text
        assert "1 of 2 audits" in text
        assert not buttons(page(client))
        go_on.set()
        assert "All is there" in verified(client).text
    assert len(runs) <= 2


def test_a_server_that_stops_ends_its_verification(path, monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    def endless(*, progress):
        try:
            while True:
                progress(1, 2)
                begun.set()
        finally:
            ended.set()

    monkeypatch.setattr(verification, "verify", endless)
    with serving(path) as client:
        client.post(PAGE)
        assert begun.wait(60)
    assert ended.wait(60)


def test_one_that_could_not_be_done_says_why(path, monkeypatch):
    def failed(**_):
        raise StoreBusy("another process holds it")

    monkeypatch.setattr(verification, "verify", failed)
    with serving(path) as client:
        found = verified(client).text
        assert "It did not come to its end: another process holds it" in found
        assert "All is there" not in found


def test_a_fault_in_one_does_not_leave_the_result_of_the_one_before(path, monkeypatch, caplog):
    with serving(path) as client:
        assert "All is there" in verified(client).text

        def failed(**_):
            raise RuntimeError("/secret/place")

        monkeypatch.setattr(verification, "verify", failed)
        found = verified(client).text
        assert "It did not come to its end: the server's log says why" in found
        assert "All is there" not in found
        assert "RuntimeError: /secret/place" in caplog.text


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_no_foreign_page_begins_one(path, headers):
    with serving(path) as client:
        assert client.post(PAGE, headers=headers).status_code == 403
        assert NOBODY in page(client).text
        ours = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}
        assert client.post(PAGE, headers=ours).status_code == 303


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_only_looked_at_begins_none(path, method):
    with serving(path) as client:
        assert client.request(method, f"{PAGE}?verify=1").status_code == 200
        assert len(buttons(page(client))) == 1
        assert NOBODY in page(client).text


def test_where_nothing_may_be_written_this_is_all_that_post_may(path):
    with serving(path) as client:
        assert client.post(PAGE).status_code == 303
        for other in ("/integrity/", "//integrity", "/new", "/api/audits", "/api/integrity"):
            assert client.post(other).status_code == 403
        for method in ("PUT", "DELETE", "PATCH"):
            assert client.request(method, PAGE).status_code == 403
    with serving(path, token="0123456789abcdef-secret") as client:
        assert client.post(PAGE).status_code == 401
