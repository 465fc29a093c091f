"""Many outputs in one transaction: each is stored whole or not at all, and answered once it is
committed."""

from __future__ import annotations

import json
from contextlib import closing

import anyio
import pytest

from tests.support.invariants import check_invariants
from tests.support.writes import outcome
from veritas_peewee import Audit, InvalidAudit, StoreError, connect, sync
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.recording import many, whole
from veritas_peewee.recording.many import ingest_each
from veritas_peewee.testing import make_audit


def output(number, **options):
    return make_audit(f"https://shop{number}.example/", **options)


@pytest.fixture
def files(tmp_path):
    """Five files: the first two whole, one that is no output, one that is the second again, and
    one more."""
    made = []
    events = [output(number, screenshots=1) for number in range(3)]
    events[1][-1]["audit_id"] = "twice"
    for number, one in enumerate([*events[:2], None, events[1], events[2]]):
        path = tmp_path / f"{number}.json"
        path.write_text("no output" if one is None else json.dumps(one))
        made.append(path)
    return made


def images(folder):
    return sorted(file.parent.name for file in (folder / "screenshots").glob("*/*"))


def test_each_that_fails_does_so_alone_with_the_words_it_has_alone(tmp_path, files):
    with connect(tmp_path / "audits.db"):
        found = list(ingest_each(files))
        assert [one.source for one in found] == files
        assert [one.audit is None for one in found] == [False, False, True, True, False]
        for one in (found[2], found[3]):
            with pytest.raises(StoreError) as alone:
                sync.ingest(one.source)
            assert one.notes == [str(alone.value)]
        stored = [one.audit for one in found if one.audit is not None]
        assert images(tmp_path) == sorted(audit.id for audit in stored)
        for audit in stored:
            assert audit.named() == sync.get(audit.id).named()
        check_invariants()


def test_they_share_one_transaction_and_are_answered_after_its_end(tmp_path):
    path = tmp_path / "audits.db"
    statements = []
    with connect(path) as database, closing(driver.connect(path)) as other:
        database.raw.set_trace_callback(statements.append)
        for number, one in enumerate(ingest_each([output(number) for number in range(40)])):
            (seen,) = other.execute("SELECT COUNT(*) FROM audits").fetchone()
            assert seen == (32 if number < 32 else 40)
            assert one.audit is not None
        assert statements.count("COMMIT") == 2
        check_invariants()


def test_if_the_transaction_fails_each_is_stored_by_itself(tmp_path, files, monkeypatch):
    insert = whole.insert

    def failing(audits):
        made = insert(audits)
        if len(audits) > 1:
            raise ValueError("after all was inserted")
        return made

    monkeypatch.setattr(whole, "insert", failing)
    with connect(tmp_path / "audits.db"):
        found = list(ingest_each(files))
        assert [one.audit is None for one in found] == [False, False, True, True, False]
        assert len(images(tmp_path)) == Audit.select().count() == 3
        check_invariants()


def test_what_is_interrupted_leaves_no_image(tmp_path, files, monkeypatch):
    def interrupted(audits):
        raise KeyboardInterrupt

    monkeypatch.setattr(whole, "insert", interrupted)
    with connect(tmp_path / "audits.db"):
        with pytest.raises(KeyboardInterrupt):
            list(ingest_each(files))
        assert Audit.select().count() == 0
        assert images(tmp_path) == []


def test_an_interrupt_just_after_the_commit_leaves_the_images(tmp_path, files, monkeypatch):
    write = many._write_new

    def interrupted(prepared):
        write(prepared)
        raise KeyboardInterrupt

    monkeypatch.setattr(many, "_write_new", interrupted)
    with connect(tmp_path / "audits.db"):
        with pytest.raises(KeyboardInterrupt):
            list(ingest_each(files))
        assert len(images(tmp_path)) == Audit.select().count() == 3
        check_invariants()


async def test_of_many_callers_at_once_only_those_at_fault_fail(store):
    outputs = [output(number, screenshots=1) for number in range(20)]
    for number in (3, 11):
        outputs[number][-1]["audit_id"] = "same"
    results = {}
    async with anyio.create_task_group() as tasks:
        for number, one in enumerate(outputs):
            tasks.start_soon(outcome, results, number, store.ingest, one)
    failed = [number for number in range(20) if isinstance(results[number], Exception)]
    assert len(failed) == 1
    assert failed[0] in (3, 11)
    assert isinstance(results[failed[0]], InvalidAudit)
    assert "is in the store already" in str(results[failed[0]])
    for number, audit in results.items():
        if number not in failed:
            assert audit.named() == (await store.get(audit.id)).named()
    await store.write(check_invariants)
    assert await store.count() == 19
