"""Wrong input: each has its own clear error, and nothing is changed."""

import base64
import os
from contextlib import suppress
from datetime import datetime

import pytest

from tests.support.images import stored_images
from veritas_peewee import (
    Audit,
    AuditEvent,
    AuditStore,
    DatabaseCorrupt,
    InvalidAudit,
    ReadOnlyStore,
    StoreError,
    sync,
)


@pytest.fixture
async def audit(store):
    return await store.create("https://example.com")


async def everything(store):
    def snapshot():
        return [
            list(Audit.select().order_by(Audit.id).dicts()),
            list(AuditEvent.select().dicts()),
        ]

    return await store.read(snapshot)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "ftp://example.com", "file:///etc/passwd", "javascript:alert(1)",
        "http://", "https:///path", "https://[::1", "https://example.com:port/", "//example.com",
        "https://exa mple.com", "https://example.com/\n", "https://example.com/\ud800",
        "https://example.com/\0", 5, None, b"https://example.com", ["https://example.com"],
    ],
)  # fmt: skip
async def test_a_url_that_is_not_http(store, url):
    with pytest.raises(InvalidAudit, match=r"^url: "):
        await store.create(url)
    assert await everything(store) == [[], []]


@pytest.mark.parametrize(
    "id", ["x" * 17, "", "a/b", "a\\b", "..", ".", ".hidden", "a b", "a\0", "ä", 5, "a\n"]
)
async def test_an_id_that_is_too_long_or_could_be_a_path(store, id):
    with pytest.raises(InvalidAudit, match=r"^id: must be 1 to 16"):
        await store.create("https://example.com", id=id)
    assert await everything(store) == [[], []]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trust": 5}, "trust: there is no such column; there are audit_tier, "),
        ({"id": "other"}, "id: is kept by the store"),
        ({"screenshots_count": 5}, "screenshots_count: is kept by the store"),
        ({"updated_at": None}, "updated_at: is kept by the store"),
        ({"started_at": datetime(2026, 1, 1)}, "started_at: must have a time zone"),
        ({"started_at": "2026-01-01"}, "started_at: must be a datetime"),
        ({"trust_score": float("nan")}, "trust_score: must be a finite number, got nan"),
        ({"trust_score": float("inf")}, "trust_score: must be a finite number, got inf"),
        ({"trust_score": 100.5}, "trust_score: must be at most 100, got 100.5"),
        ({"trust_score": -1}, "trust_score: must be at least 0, got -1"),
        ({"trust_score": "46"}, "trust_score: must be a number, got '46'"),
        ({"trust_score": True}, "trust_score: must be a number, got True"),
        ({"trust_score": 10**400}, "trust_score: is too large"),
        ({"pages_scanned": 1.5}, "pages_scanned: must be a whole number"),
        ({"pages_scanned": 2**63}, "pages_scanned: does not fit in 64 bits"),
        ({"narrative": "lone \udc80 surrogate"}, "narrative: holds a lone surrogate"),
        ({"narrative": "NUL \0"}, "narrative: holds a NUL character"),
        ({"errors": ["a", "\ud800"]}, r"errors\[1\]: holds a NUL character or a lone surrogate"),
        ({"errors": "text"}, "errors: must be a list"),
        ({"signal_scores": {"v": float("nan")}}, "signal_scores.v: is nan"),
        ({"signal_scores": [1]}, "signal_scores: must be a dict"),
        ({"security_results": {"a": {1, 2}}}, "security_results.a: is a set"),
        ({"security_results": {(5,): "x"}}, r"security_results: has a key that is not text: \(5"),
        ({"status": "bogus"}, "status: must be one of queued, running, completed, error, disco"),
        ({"status": None}, "status: cannot be empty"),
        ({"url": "ftp://x"}, "url: must be an http:// or https:// address"),
        ({"audit_tier": "x" * 51}, "audit_tier: must be at most 50 characters"),
        ({"trust_score": 50, "bogus": 1}, "bogus: there is no such column"),
    ],
)
async def test_an_unknown_column_or_a_bad_value(store, audit, changes, message):
    before = await everything(store)
    with pytest.raises(InvalidAudit, match=message) as caught:
        await store.update(audit.id, **changes)
    assert isinstance(caught.value, ValueError)
    assert await everything(store) == before


async def test_a_status_that_does_not_exist(store, audit):
    before = await everything(store)
    for status in ("bogus", "COMPLETED", "", 5, None):
        with pytest.raises(InvalidAudit, match="status: "):
            await store.update_status(audit.id, status)
    assert await everything(store) == before


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"type": "log_entry", "message": "\ud800"}, r"event\.message: holds a NUL character or"),
        ({"type": "log_entry", "message": "a\0b"}, r"event\.message: holds a NUL character or"),
        ({"type": "stats_update", "stats": {"pages_scanned": float("nan")}}, "is nan, which JSON"),
        ({"type": "x", "at": datetime(2026, 1, 1)}, "event.at: is a datetime"),
        ({"type": "x", (5,): 1}, "event: has a key that is not text"),
        ({"type": "x" * 101}, "event.type: must be at most 100"),
        ({"type": ""}, "event.type: cannot be empty"),
        ({"type": None}, "event.type: must be text"),
        ({}, "event.type: must be text"),
        ("text", "event: must be a JSON object"),
        (None, "event: must be a JSON object"),
        ([], "event: must be a JSON object"),
        ({"type": "screenshot", "data": "not base64!"}, r"screenshot\.data: is not base64"),
        ({"type": "screenshot", "data": base64.b64encode(b"text").decode()}, "not a PNG, JPEG"),
        ({"type": "screenshot", "data": ""}, "not a PNG, JPEG"),
        ({"type": "screenshot", "data": 5}, r"screenshot\.data: must be base64 text"),
        ({"type": "screenshot", "data": {"file": "../x"}}, "must be base64 text"),
    ],
)
async def test_an_event_that_cannot_be_stored(store, audit, event, message):
    before = await everything(store)
    several = [{"type": "x"}, event, {"type": "y"}]
    with pytest.raises(InvalidAudit, match=message) as alone:
        await store.record(audit.id, event)
    with pytest.raises(InvalidAudit) as among:
        await store.record_many(audit.id, several)
    with pytest.raises(InvalidAudit) as in_a_script:
        await store.write(sync.record_many, audit.id, several)
    assert str(among.value) == str(in_a_script.value) == f"events[1]: {alone.value}"
    with pytest.raises(InvalidAudit) as alone_in_a_script:
        await store.write(sync.record, audit.id, event)
    assert str(alone_in_a_script.value) == str(alone.value)
    assert await everything(store) == before
    assert await store.read(stored_images) == set()


async def test_an_event_nested_too_deeply_or_within_itself(store, audit):
    deep = {}
    for _ in range(100_000):
        deep = {"d": deep}
    loop = {"type": "x"}
    loop["loop"] = loop
    before = await everything(store)
    for event in ({"type": "x", "deep": deep}, loop):
        with pytest.raises(InvalidAudit, match="event"):
            await store.record(audit.id, event)
    assert await everything(store) == before


async def test_a_file_that_is_not_a_database(tmp_path):
    path = tmp_path / "letter.db"
    path.write_text("Dear Sir or Madam, " * 100)
    with pytest.raises(DatabaseCorrupt, match=r"letter\.db"):
        await AuditStore.open(path)
    assert path.read_text().startswith("Dear Sir")
    assert [entry.name for entry in tmp_path.iterdir()] == ["letter.db"]


async def test_a_folder_in_place_of_the_file(tmp_path):
    with pytest.raises(ReadOnlyStore, match="not a file"):
        await AuditStore.open(tmp_path)


async def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ReadOnlyStore, match="cannot be opened"):
        await AuditStore.open(tmp_path / "file" / "audits.db")
    if os.geteuid() == 0:
        # Root may write anywhere but here.
        with pytest.raises(ReadOnlyStore, match="cannot be opened"):
            await AuditStore.open("/proc/veritas/audits.db")
    else:
        tmp_path.chmod(0o500)
        with pytest.raises(ReadOnlyStore, match="cannot be opened"):
            await AuditStore.open(tmp_path / "audits.db")
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ({}, InvalidAudit, "there is no audit in it"),
        ([], InvalidAudit, "there is no audit in it"),
        ({"hello": "world"}, InvalidAudit, "there is no audit in it"),
        ({"url": "ftp://x", "status": "completed"}, InvalidAudit, "url: must be an http"),
        ({"url": 5, "status": "completed"}, InvalidAudit, "url: must be text"),
        ([{"type": "log_entry"}], InvalidAudit, "url: none is told in the events"),
        ("no-such-file.json", StoreError, "no-such-file.json: cannot be read"),
    ],
)
async def test_a_result_that_is_none(store, source, error, message):
    with pytest.raises(error, match=message):
        await store.ingest(source)
    assert await everything(store) == [[], []]


async def test_a_result_file_that_is_cut_off(store, tmp_path):
    path = tmp_path / "result.json"
    path.write_text('{\n  "url": "https://example.com",\n  "status": "comp')
    with pytest.raises(InvalidAudit, match=r"result\.json: line 1: the JSON object .* cut off"):
        await store.ingest(path)
    assert await everything(store) == [[], []]


async def test_an_audit_is_not_ingested_twice_under_one_id(store):
    events = [
        {"type": "audit_result", "result": {"url": "https://example.com"}},
        {"type": "audit_complete", "audit_id": "vrts_told", "elapsed": 1},
    ]
    assert (await store.ingest(events)).id == "vrts_told"
    before = await everything(store)
    with pytest.raises(InvalidAudit, match="'vrts_told' is in the store already"):
        await store.ingest(events)
    with pytest.raises(InvalidAudit, match="'vrts_told' has already ended"):
        await store.ingest(events, audit_id="vrts_told")
    assert await everything(store) == before


@pytest.mark.parametrize("path", ["", "a\0b", "\ud800"])
async def test_a_text_that_cannot_be_the_path_of_an_export(store, path):
    for call in (store.export, store.import_):
        with pytest.raises(StoreError, match=r"^'.*': cannot be the path of a file$"):
            await call(path)


async def test_a_read_that_writes_is_told_so_by_every_function(store):
    for call in (
        lambda: sync.create("https://example.com"),
        lambda: Audit.create(url="https://example.com"),
    ):
        with pytest.raises(ReadOnlyStore, match=r"^a read may not write: use `store.write`"):
            await store.read(call)
    assert await everything(store) == [[], []]


async def test_a_function_whose_body_would_run_later_is_given_neither_to_read_nor_to_write(store):
    async def wrong():
        raise AssertionError

    async def wrong_too():
        yield

    def generator():
        yield sync.create("https://example.com")

    for call, name in ((store.read, "read"), (store.write, "write")):
        for one, what in ((wrong, "an async"), (wrong_too, "an async"), (generator, "a generator")):
            with pytest.raises(
                TypeError, match=f"^store.{name} takes a plain function, not {what}"
            ):
                await call(one)
    assert await store.count() == 0
    with pytest.raises(TypeError, match=r"^store.read takes a function, not NoneType$"):
        await store.read(None)


async def test_what_the_error_for_a_commit_advises_is_public_and_works(store):
    with pytest.raises(StoreError, match=r"use `with Audit\._meta\.database\.atomic\(\)`"):
        await store.write(lambda: Audit._meta.database.commit())

    def write():
        sync.create("https://one.example")
        with suppress(ZeroDivisionError), Audit._meta.database.atomic():
            sync.create("https://two.example")
            raise ZeroDivisionError

    await store.write(write)
    assert [audit.url for audit in (await store.history()).items] == ["https://one.example"]
