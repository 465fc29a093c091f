"""A new type of event is one entry in one table: nothing else has to know it."""

from __future__ import annotations

import base64
import json

import anyio
import pytest

from veritas_peewee import AuditStatus, connect
from veritas_peewee.cli.app import run
from veritas_peewee.following import feed, hub
from veritas_peewee.presentation.report import report_html
from veritas_peewee.queries import lookups
from veritas_peewee.queries.images import current_images
from veritas_peewee.recording import ingest, operations, preparing, recorder
from veritas_peewee.recording.effects import KINDS, UNKNOWN, Kind, kind_named
from veritas_peewee.testing import make_png

GIVEN_UP = {"type": "audit_given_up", "reason": "robots.txt"}
LOG = {"type": "log_entry"}


def give_up(rows, event):
    rows.changes["status"] = AuditStatus.ERROR
    rows.take("error_message", event.get("reason"), "audit_given_up.reason")


@pytest.fixture
def new_kind(monkeypatch):
    """Adds a type of event to the table, and does nothing else."""

    def add(event_type, **facts):
        monkeypatch.setitem(KINDS, event_type, Kind(**facts))

    return add


def test_an_unknown_type_has_the_defaults():
    assert kind_named("hologram") == kind_named(None) == UNKNOWN == Kind()
    assert not preparing.is_heavy({"type": "hologram"})


def test_its_effect_is_recorded_and_replayed(script, new_kind):
    new_kind("audit_given_up", effect=give_up, closes=True)
    audit = operations.create("https://example.com")
    recorder.record_many(audit.id, [LOG, GIVEN_UP, LOG])
    again = operations.create("https://example.com")
    recorder.replay(again.id, lookups.events(audit.id))
    for one in (audit, again):
        found = lookups.get(one.id)
        assert (found.status, found.error_message) == ("error", "robots.txt")
        assert [e.event_type for e in lookups.events(one.id)] == [
            "log_entry", "audit_given_up", "log_entry",
        ]  # fmt: skip
    recorder.record(again.id, GIVEN_UP | {"reason": 5})
    assert "audit_given_up.reason: " in lookups.get(again.id).errors[0]


@pytest.mark.anyio
async def test_one_that_closes_an_audit_ends_its_followers_at_once(store, new_kind, monkeypatch):
    monkeypatch.setattr(hub, "POLL", 3600)
    new_kind("audit_given_up", effect=give_up, closes=True)
    audit = await store.create("https://example.com")
    got = []

    async def follow():
        async for event in store.follow(audit.id):
            got.append(event.event_type)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await store.record(audit.id, LOG)
            await store.record(audit.id, GIVEN_UP)
    assert got == ["log_entry", "audit_given_up"]
    assert (await store.get(audit.id)).status == "error"
    again = await store.create("https://example.com")
    ids = await store.record_many(again.id, [LOG, GIVEN_UP])
    with anyio.fail_after(30):
        assert [event.id async for event in store.follow(again.id)] == ids


def test_one_that_closes_no_audit_leaves_it_open_until_another_does(script, new_kind):
    new_kind("audit_given_up", effect=give_up)
    audit = operations.create("https://example.com")
    recorder.record(audit.id, GIVEN_UP)
    assert not feed.stored(audit.id, 0).ended
    new_kind("audit_given_up", effect=give_up, closes=True)
    recorder.record(audit.id, GIVEN_UP)
    assert feed.stored(audit.id, 0).ended == "error"


def test_its_effect_sees_what_the_events_before_it_in_the_same_call_have_changed(script, new_kind):
    def count(rows, event):
        if rows.state["status"] == "running":
            rows.take("pages_scanned", len(rows.state["errors"]), "pages")

    new_kind("pages", effect=count)
    audit = operations.create("https://example.com")
    errors = [{"type": "phase_error", "error": str(number)} for number in range(3)]
    pages, begun = {"type": "pages"}, {"type": "phase_start"}
    recorder.record_many(audit.id, [pages, begun, *errors, LOG, pages, *errors])
    assert lookups.get(audit.id).pages_scanned == 3


def test_one_with_an_image_has_it_stored(script, new_kind):
    new_kind("thumbnail", effect=KINDS["screenshot"].effect, heavy=True, has_image=True)
    image = make_png()
    event = {"type": "thumbnail", "index": 0, "data": base64.b64encode(image).decode()}
    assert preparing.is_heavy(event)
    audit = operations.create("https://example.com")
    recorder.record(audit.id, event)
    (shot,) = lookups.get(audit.id).screenshots
    assert current_images().read(shot.file_path) == image


def test_one_that_names_the_audit_and_its_url_is_ingested_without_either(script, new_kind):
    new_kind("audit_summary", has_url=True, names_audit=True)
    event = {"type": "audit_summary", "audit_id": "own", "result": {"url": "https://a.example"}}
    assert ingest.ingest([LOG, event]).id == "own"
    assert lookups.get("own").url == "https://a.example"


def test_any_type_is_shown(tmp_path, capsys):
    path = str(tmp_path / "audits.db")
    with connect(path):
        audit = operations.create("https://example.com")
        told = GIVEN_UP | {"message": "no access"}
        recorder.record_many(audit.id, [told, {"type": "audit_complete"}])
        assert "no access" in report_html(audit.id)
    for command in (["show", "--events"], ["watch"]):
        assert run([*command, audit.id, "--database", path]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert any("audit_given_up" in one and "no access" in one for one in lines), command
    assert run(["watch", audit.id, "--json", "--database", path]) == 0
    first, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["event_type"] == "audit_given_up"
