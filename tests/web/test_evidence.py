"""What the pages offer to those who trust nobody: a signed checkpoint, and an audit as a bag."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi.testclient import TestClient

from tests.support.command_line import run_here
from tests.support.database_files import by_hand
from tests.support.pages import seen
from tests.support.web import http_scope
from veritas_peewee import StoreError, check_bag, connect, sync
from veritas_peewee.evidence import checkpoints, keys
from veritas_peewee.testing import make_audit, make_event
from veritas_peewee.web import create_app, exports
from veritas_peewee.web.pages_evidence import BAG, CHECKPOINT

NAME = "audits.example/store"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    keys.make_key(tmp_path / "store.key", NAME)
    return tmp_path / "store.key"


@pytest.fixture
def audit_id(path: Path) -> str:
    with connect(path):
        return str(sync.ingest(make_audit("https://shop.example/")).id)


@contextmanager
def serving(path: Path, **options: Any) -> Iterator[Any]:
    app = create_app(path, **options)
    with TestClient(app, "http://localhost", follow_redirects=False) as client:
        yield client


def forms(client: Any, page: str, **options: Any) -> list[str]:
    return [str(one.get("action")) for one in seen(client.get(page), **options).all("form")]


def test_without_a_key_nothing_is_offered(path, audit_id):
    with serving(path) as client:
        assert CHECKPOINT not in forms(client, "/integrity", referrer="same-origin")
        assert not any(BAG in one for one in forms(client, f"/audits/{audit_id}"))
        assert client.post(CHECKPOINT).status_code in (404, 405)
        assert client.post(BAG, params={"audit": audit_id}).status_code in (404, 405)


def test_the_integrity_page_offers_a_checkpoint(path, audit_id, key):
    public = keys.public_key(key)
    with serving(path, key=key) as client:
        page = seen(client.get("/integrity"), referrer="same-origin")
        assert CHECKPOINT in [one.get("action") for one in page.all("form")]
        assert public.vkey in page.text
        given = client.post(CHECKPOINT)
        assert given.status_code == 200
        assert given.headers["content-disposition"] == 'attachment; filename="checkpoint"'
        again = client.post(CHECKPOINT)
    found = checkpoints.read_checkpoint(given.content, public)
    assert given.content == again.content  # nothing has happened in between
    with connect(path):
        assert sync.head(key=key).note == found.note


def test_an_audit_s_page_offers_the_bag(path, audit_id, key, tmp_path):
    with serving(path, key=key) as client:
        (action,) = [
            one
            for one in forms(client, f"/audits/{audit_id}", referrer="same-origin")
            if BAG in one
        ]
        given = client.post(action)
        assert (given.status_code, given.headers["content-type"]) == (200, "application/zip")
        assert given.headers["content-disposition"] == f'attachment; filename="{audit_id}.zip"'
        assert int(given.headers["content-length"]) == len(given.content)
        assert client.post(action).content == given.content
    (tmp_path / "bag.zip").write_bytes(given.content)
    found = check_bag(tmp_path / "bag.zip", key)
    assert (found.audit_id, found.origin, found.rows_stated) == (audit_id, NAME, True)
    assert {one.compress_type for one in zipfile.ZipFile(io.BytesIO(given.content)).infolist()} == {
        zipfile.ZIP_STORED
    }
    with connect(path):
        sync.export_bag(audit_id, tmp_path / "own.zip", checkpoint=sync.head(key=key), key=key)
    assert (tmp_path / "own.zip").read_bytes() == given.content


def test_an_audit_that_runs_is_offered_as_far_as_it_is(path, key, tmp_path):
    with connect(path):
        audit_id = sync.create("https://shop.example/").id
        sync.record(audit_id, make_event("phase_start"))
    with serving(path, key=key) as client:
        (tmp_path / "bag.zip").write_bytes(client.post(BAG, params={"audit": audit_id}).content)
    assert check_bag(tmp_path / "bag.zip", key).events >= 1


def test_what_cannot_be_given_is_a_page_that_says_why(path, audit_id, key):
    with serving(path, key=key) as client:
        assert "no audit" in seen(client.post(BAG, params={"audit": "vrts_none"}), 404).text
        assert seen(client.post(BAG, params={"audit": "../x"}), 422)
        assert seen(client.post(BAG), 422)
        for address in (CHECKPOINT, f"{BAG}?audit={audit_id}"):
            elsewhere = client.post(address, headers={"Origin": "http://evil.example"})
            assert elsewhere.status_code == 403
            assert client.get(address).status_code == 405
    by_hand(path, "UPDATE audits SET trust_score = 1")
    with serving(path, key=key) as client:
        refused = seen(client.post(BAG, params={"audit": audit_id}), 409)
        assert f"audit {audit_id}: its row was altered" in refused.text
    by_hand(path, "UPDATE audit_events SET digest = x'00'")
    with serving(path, key=key) as client:
        for address in (CHECKPOINT, f"{BAG}?audit={audit_id}"):
            refused = seen(client.post(address), 409)
            assert "the store could not do this" not in refused.text
            assert "verify" in refused.text


def test_a_file_that_is_not_a_key_is_refused_at_the_start(path, tmp_path, audit_id, capsys):
    (tmp_path / "text").write_text("hello")
    for wrong in ("text", "none"):
        with pytest.raises(StoreError, match=wrong):
            create_app(path, key=tmp_path / wrong)
        done = run_here(capsys, "serve", "--database", path, "--key", tmp_path / wrong)
        assert (done.code, wrong in done.err, done.err.count("\n")) == (1, True, 1)


async def test_who_reads_nothing_loses_the_bag_and_holds_no_reader(
    path, audit_id, key, monkeypatch
):
    """On asyncio and trio: the bag is made before it is sent, and sent with patience."""
    monkeypatch.setattr("veritas_peewee.web.pages_evidence.PATIENCE", 0.05)
    app = create_app(path, key=key)
    scope = http_scope("POST", BAG, [(b"host", b"localhost")], f"audit={audit_id}")
    begun = anyio.Event()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            begun.set()
            await anyio.sleep(60)

    async with app.router.lifespan_context(app):
        store = app.state.veritas_store
        with pytest.raises(TimeoutError, match="a bag was not read"), anyio.fail_after(30):
            await app(scope, receive, send)
        assert begun.is_set()
        assert not exports._under_way.get(store)
