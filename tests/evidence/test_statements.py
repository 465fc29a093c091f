"""What the log states of an audit's rows before a checkpoint is signed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.audits import fill
from tests.support.database_files import by_hand, select
from veritas_peewee import (
    Audit,
    AuditFinding,
    Checkpoint,
    InvalidAudit,
    NotProven,
    connect,
    sync,
)
from veritas_peewee.database.statements import execute
from veritas_peewee.evidence import checkpoints, statements
from veritas_peewee.evidence.statements import SEALED, is_stated
from veritas_peewee.ledger.log import link
from veritas_peewee.maintenance.backup import backup
from veritas_peewee.maintenance.repair import repairing
from veritas_peewee.maintenance.restore import restore
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.recording import recorder
from veritas_peewee.recording.output import RESULT_EVENT
from veritas_peewee.testing import make_event
from veritas_peewee.transfer.bags import export_bag
from veritas_peewee.values.plain import encode_json


def signed(key: Path) -> Checkpoint:
    return sync.head(key=key)


def stated(audit_id: str) -> list[Any]:
    return [event.data for event in sync.events(audit_id, types=[SEALED])]


def kinds(audit_id: str) -> list[str]:
    return [event.event_type for event in sync.events(audit_id)]


def test_the_rows_of_each_audit_that_has_ended_are_stated_as_they_are(script, key):
    *ended, running = fill()
    before = {one: kinds(one) for one in (*ended, running)}
    signed(key)
    assert kinds(running) == before[running]
    for one in ended:
        assert kinds(one) == [*before[one], SEALED]
        (found,) = stated(one)
        audit = sync.get(one)
        assert (found["version"], found["seal"]) == (1, audit.seal)
        assert found["sealed_events"] == len(before[one])
        assert found["audit"]["id"] == one
        assert found["audit"]["trust_score"] == audit.trust_score
        assert json.loads(found["audit"]["signal_scores"]) == audit.signal_scores
        assert [one["description"] for one in found["findings"]] == ["finding 0", "finding 1"]
        assert [one["sha256"] for one in found["screenshots"]] == [audit.screenshots[0].sha256]
        assert is_stated(one)
    assert is_stated(running) is None


def test_what_is_stated_is_not_stated_again(script, key):
    ended, *_ = fill()
    first = signed(key)
    assert signed(key).note == first.note
    assert len(stated(ended)) == 1


def test_an_audit_to_which_more_is_recorded_is_stated_again(script, key):
    ended, other, *_ = fill()
    signed(key)
    sync.update(ended, narrative="It was worse.")
    assert is_stated(ended) is False
    signed(key)
    assert [one["audit"]["narrative"] for one in stated(ended)] == [None, "It was worse."]
    assert is_stated(ended)
    assert len(stated(other)) == 1


def test_an_audit_that_ends_while_a_checkpoint_is_signed_is_stated_with_the_next(script, key):
    """The events of its end are before the checkpoint's newest, and nothing comes after them."""
    audit_id = sync.create("https://shop.example/").id
    sync.record(audit_id, {"type": "phase_start"})
    for some in checkpoints.to_state(key):
        statements.state(some)
    sync.record(audit_id, {"type": "audit_complete"})
    made, new_blocks = checkpoints.signed(key)
    checkpoints.remember(new_blocks)
    assert made.size == 2
    assert stated(audit_id) == []
    signed(key)
    assert is_stated(audit_id)


def test_an_audit_that_ends_without_an_event_is_stated_with_the_next_checkpoint(script, key):
    audit_id = sync.create("https://shop.example/").id
    sync.record(audit_id, make_event("phase_start"))
    result = {"url": "https://shop.example/", "status": "completed"}
    sync.record(audit_id, {"type": RESULT_EVENT, "result": result})
    signed(key)
    assert stated(audit_id) == []  # its engine may have more to tell
    assert recorder.end_of_output(audit_id, "it has ended") is False
    signed(key)
    assert is_stated(audit_id)
    assert kinds(audit_id) == ["phase_start", RESULT_EVENT, SEALED]


def test_an_audit_that_was_not_as_it_was_written_is_stated_once_it_is(path, key):
    with connect(path):
        ended, *_ = fill()
    by_hand(path, f"UPDATE audits SET screenshots_count = 7 WHERE id = '{ended}'")
    with connect(path):
        signed(key)
        assert stated(ended) == []
    with repairing(path):
        signed(key)
        assert is_stated(ended)


def test_a_change_without_an_event_is_named_until_an_event_says_why(script, key):
    ended, *_ = fill()
    signed(key)
    AuditFinding.update(description="another").where(AuditFinding.audit == ended).execute()
    (problem,) = verify().problems
    assert problem.startswith(f"audit {ended}: its rows are not those that its log states: ")
    sync.update(ended, narrative="Another word was meant.")
    signed(key)
    assert is_stated(ended)
    assert verify().problems == []


def test_rows_that_were_forged_with_their_seals_differ_from_what_the_log_states(path, key):
    """Whoever can make seals anew cannot make anew what a signed checkpoint covers."""
    with connect(path):
        ended, *_ = fill()
        signed(key)
    with connect(path):  # as one who has this library
        Audit.update(trust_score=99.0).where(Audit.id == ended).execute()
    with connect(path, read_only=True):
        report = verify()
    assert f"audit {ended}: its rows are not those that its log states" in str(report.problems)


FALSE = {"type": SEALED, "version": 1, "audit": {"trust_score": 99}, "findings": []}


def test_nobody_else_records_a_statement(script, key):
    ended, *_, running = fill()
    for audit_id in (ended, running):
        for events in ([FALSE], [make_event("log_entry", message="x"), FALSE]):
            with pytest.raises(InvalidAudit, match="store alone records, got 'audit_sealed'"):
                sync.record_many(audit_id, events)
        with pytest.raises(InvalidAudit, match=r"event\.type"):
            sync.record(audit_id, FALSE)
    assert stated(ended) == stated(running) == []


async def test_an_awaited_statement_is_refused_too(store):
    audit = await store.create("https://shop.example/")
    with pytest.raises(InvalidAudit, match="store alone"):
        await store.record(audit.id, FALSE)
    with pytest.raises(InvalidAudit, match="store alone"):
        await store.record_many(audit.id, [FALSE])
    assert await store.events(audit.id) == []


def test_an_engine_s_statement_is_kept_as_something_unknown_and_noted(script, key, tmp_path):
    output = [{"type": "audit_result", "result": {"url": "https://shop.example/"}},
              {"type": "audit_complete"}, FALSE]  # fmt: skip
    (tmp_path / "out.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in output))
    live = sync.create("https://shop.example/")
    recorder.record_many(live.id, output, lenient=True)
    for audit_id in (live.id, sync.ingest(output).id, sync.ingest(tmp_path / "out.jsonl").id):
        assert kinds(audit_id)[:3] == ["audit_result", "audit_complete", "unknown"]
        kept = sync.events(audit_id)[2].data
        assert kept["audit"] == {"trust_score": 99}
        assert "the store alone records, got 'audit_sealed'" in str(sync.get(audit_id).errors)
        signed(key)
        assert is_stated(audit_id)
        assert stated(audit_id)[0]["audit"]["trust_score"] is None


def with_a_false_statement(exported: Path) -> str:
    """Alter what the log states in an export of one audit, and make its digest anew; its id."""
    audit = json.loads(exported.read_text())
    before, last = audit["events"][-2:]
    last["data"]["audit"]["trust_score"] = 99.0
    last["data"]["findings"] = []
    text = encode_json(last["data"], "event")
    digest = link(bytes.fromhex(before["digest"]), SEALED, last["timestamp"], text)
    last["digest"] = digest.hex()
    exported.write_text(json.dumps(audit, ensure_ascii=False, separators=(",", ":")) + "\n")
    return str(audit["audit"]["id"])


@pytest.fixture
def false(path: Path, tmp_path: Path, key: Path) -> Iterator[str]:
    """An audit that came with a false statement, in a store that is open."""
    with connect(path):
        one, *_ = fill()
        signed(key)
        sync.export(tmp_path / "one.jsonl", ids=[one])
    audit_id = with_a_false_statement(tmp_path / "one.jsonl")
    with connect(tmp_path / "other" / "audits.db"):
        sync.import_(tmp_path / "one.jsonl")
        yield audit_id


def test_a_false_statement_that_was_imported_is_a_problem(false):
    assert is_stated(false) is False
    assert "its rows are not those that its log states" in str(verify().problems)


def test_a_false_statement_keeps_nobody_from_a_backup(false, tmp_path):
    made = backup(tmp_path / "saved")
    assert made.problems == []
    assert "its rows are not those that its log states" in str(made.notes)
    restore(tmp_path / "saved", tmp_path / "again" / "audits.db")
    with connect(tmp_path / "again" / "audits.db"):
        assert "its rows are not those that its log states" in str(verify().problems)


def test_after_a_false_statement_comes_a_right_one(false, key):
    made = signed(key)
    assert [one["audit"]["trust_score"] == 99.0 for one in stated(false)] == [True, False]
    assert is_stated(false)
    assert verify(against=made).problems == []
    assert signed(key).note == made.note


def test_of_a_false_statement_no_bag_is_made(path, tmp_path, false):
    """Whoever only reads signs without stating anything."""
    other, key = tmp_path / "other" / "audits.db", tmp_path / "store.key"
    with connect(other, read_only=True):
        made = signed(key)
        with pytest.raises(NotProven, match="the last event states other rows"):
            export_bag(false, tmp_path / "bag", checkpoint=made)
    assert not (tmp_path / "bag").exists()


def test_which_audits_are_to_be_stated_is_asked_of_the_last_event_of_each_alone(path):
    with connect(path):
        fill()
        rows = execute(f"EXPLAIN QUERY PLAN {statements._ended_sql(one=False)}", (3,))
    plan = [row[-1] for row in rows]
    assert any(step.startswith("SEARCH e USING INDEX idx_events_audit_id") for step in plan), plan
    assert not any(step.startswith("SCAN") for step in plan), plan


def test_replaying_a_log_with_statements_gives_the_same_rows(script, key):
    ended, *_ = fill()
    recorder.record(ended, {"type": "audit_complete", "elapsed": 7})
    signed(key)
    again = sync.create("https://shop0.example/").id
    recorder.replay(again, sync.events(ended))
    for one in ("status", "trust_score", "risk_level", "elapsed_seconds", "narrative", "errors"):
        assert getattr(sync.get(again), one) == getattr(sync.get(ended), one)
    assert len(sync.get(again).findings) == len(sync.get(ended).findings)
    assert not is_stated(again)  # it states the rows of the audit that it was recorded of
    signed(key)
    assert is_stated(again)


def test_statements_go_along_with_an_export(path, tmp_path, key):
    with connect(path):
        ended, *_ = fill()
        signed(key)
        sync.export(tmp_path / "all.jsonl")
        said = stated(ended)
    with connect(tmp_path / "other" / "audits.db"):
        sync.import_(tmp_path / "all.jsonl")
        assert stated(ended) == said
        assert is_stated(ended)
        assert verify().problems == []


def test_an_audit_that_is_not_as_it_was_written_is_not_stated(path, key, caplog):
    with connect(path):
        ended, other, *_ = fill()
    by_hand(path, f"UPDATE audits SET trust_score = 99 WHERE id = '{ended}'")
    with connect(path), caplog.at_level(logging.WARNING):
        signed(key)
        assert (len(stated(ended)), len(stated(other))) == (0, 1)
    assert f"the rows of audit {ended} are not stated in its log" in caplog.text


def test_older_audits_of_an_upgraded_file_are_stated_by_the_first_checkpoint(path, key):
    with connect(path):
        ended, *_ = fill()
    by_hand(path, "DROP TABLE store_tree", "DELETE FROM veritas_migrations WHERE name > '0010'")
    with connect(path):
        assert stated(ended) == []
        signed(key)
        assert len(stated(ended)) == 1
    assert select(path, "SELECT COUNT(*) FROM store_tree") == [(1,)]


def test_who_only_reads_signs_and_states_nothing(path, key):
    with connect(path):
        ended, *_ = fill()
    with connect(path, read_only=True):
        made = signed(key)
        assert stated(ended) == []
    with connect(path, read_only=True):
        assert verify(against=made).problems == []


async def test_the_store_states_in_turns_and_then_signs(store, key, monkeypatch):
    monkeypatch.setattr(statements, "AT_ONCE", 2)
    ids = await store.write(fill)
    made = await store.head(key=key)
    for one in ids[:-1]:
        assert [event.event_type for event in await store.events(one)][-1] == SEALED
    newest = await store.head()
    assert made.head == newest
    assert (await store.head(key=key)).note == made.note


async def test_a_key_that_cannot_sign_states_nothing(store, tmp_path):
    ids = await store.write(fill)
    (tmp_path / "none").write_text("no key")
    with pytest.raises(Exception, match="not a private key"):
        await store.head(key=tmp_path / "none", name="x")
    assert SEALED not in [event.event_type for event in await store.events(ids[0])]
