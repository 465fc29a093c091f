"""Heads of events that an import takes over with their ids: each is known ever after."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.audits import fill
from tests.support.database_files import by_hand, select, verified, with_texts_twice
from veritas_peewee import Audit, AuditStore, connect
from veritas_peewee.ledger import seals
from veritas_peewee.ledger.heads import HEAD_EVERY, head_digest, newest_head
from veritas_peewee.ledger.kept_ids import PLACEHOLDER, can_keep
from veritas_peewee.maintenance.repair import repair
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import StoreHead
from veritas_peewee.recording import operations, recorder, removal
from veritas_peewee.transfer import importing
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl

ENTRY = {"type": "log_entry", "message": "x"}
KEPT = "the head that was kept was printed while an import was under way"


@pytest.fixture
def exported(path: Path, tmp_path: Path) -> Path:
    target = tmp_path / "x.jsonl"
    with connect(path):
        fill(4)
        export_jsonl(target)
    return target


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(importing, "UNIT_AUDITS", 1)
    return tmp_path / "other" / "audits.db"


def interrupted(exported: Path, after: int = 2) -> list[str]:
    """Import until some audits are stored; the heads that were printed before and after each."""
    heads = [str(newest_head())]

    def stop(done: int, *_: object) -> None:
        heads.append(str(newest_head()))
        if done == after:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        import_jsonl(exported, progress=stop)
    return heads


def test_every_head_of_an_import_is_known_ever_after(exported, other):
    with connect(other):
        heads = interrupted(exported)
        assert len(set(heads)) == 3
        report = verify(against=heads[-1])
        assert report.problems == []
        assert ["interrupted" in note for note in report.notes] == [True]
        done = import_jsonl(exported, skip_existing=True)
        assert (done.audits, done.new_ids, done.problems) == (3, 0, [])
        heads.append(str(newest_head()))
        recorder.record_many(Audit.get().id, [ENTRY] * (HEAD_EVERY + 5))
        heads.append(str(newest_head()))
    for number, head in enumerate(heads):
        report = verified(other, against=head)
        assert report.problems == []
        assert [note.startswith(KEPT) for note in report.notes] == [True] * (number in (1, 2))


@pytest.mark.parametrize("event", [1, 12, 30])
def test_a_loss_is_named_also_against_a_head_of_an_import(exported, other, event):
    with connect(other):
        heads = interrupted(exported)
        assert import_jsonl(exported, skip_existing=True).ok
        heads.append(str(newest_head()))
        recorder.record(Audit.get().id, ENTRY)
        heads.append(str(newest_head()))
    by_hand(
        other,
        "DROP TRIGGER remember_removed_event",
        f"DELETE FROM audit_events WHERE id = {event}",
    )
    for head in (None, *heads):
        problems = verified(other, against=head).problems
        assert any("up to event" in text for text in problems), problems


def test_what_is_lost_during_an_import_is_named_before_it_is_completed(exported, other):
    with connect(other):
        head = interrupted(exported)[-1]
    ((audit_id,),) = select(other, "SELECT id FROM audits LIMIT 1")
    by_hand(other, "PRAGMA foreign_keys = ON", "DROP TRIGGER remember_removed_event",
            "DROP TRIGGER remember_removed_audit",
            f"DELETE FROM audits WHERE id = '{audit_id}'")  # fmt: skip
    assert any("up to event" in text for text in verified(other).problems)
    problems = verified(other, against=head).problems
    assert any("1 audits that were there" in text for text in problems), problems


def test_a_head_of_zeros_hides_nothing(exported, other):
    with connect(other):
        assert import_jsonl(exported).ok
    ((audit_id,),) = select(other, "SELECT id FROM audits LIMIT 1")
    by_hand(
        other,
        "PRAGMA foreign_keys = ON",
        "DROP TRIGGER remember_removed_event",
        "DROP TRIGGER remember_removed_audit",
        f"DELETE FROM audits WHERE id = '{audit_id}'",
        "DELETE FROM store_heads",
        f"INSERT INTO store_heads SELECT MAX(id), '{PLACEHOLDER}' FROM audit_events",
        f"UPDATE import_heads SET digest = '{PLACEHOLDER}', open = 1",
    )
    assert any("up to event" in text for text in verified(other).problems)
    with connect(other):
        import_jsonl(exported, skip_existing=True)
        recorder.record_many(Audit.get().id, [ENTRY] * HEAD_EVERY)
    assert any("is not what it was" in text for text in verified(other).problems)


CHANGES = [
    "UPDATE import_heads SET position = 'x' WHERE id = 3",
    "UPDATE import_heads SET position = position + 1 WHERE id = 3",
    "UPDATE import_heads SET position = -1 WHERE id = 3",
    "UPDATE import_heads SET digest = CAST(x'ff' AS TEXT) WHERE id = 3",
    "UPDATE import_heads SET digest = 5 WHERE id = 1",
    "UPDATE import_heads SET total = '5' WHERE id = 5",
    "UPDATE import_heads SET total = 'x' WHERE id = 2",
    "UPDATE import_heads SET total = upper(total) WHERE id = 2",
    "UPDATE import_heads SET total = total || ' ' WHERE id = 2",
    "UPDATE import_heads SET total = X'00' WHERE id = 2",
    "UPDATE import_heads SET open = 'x' WHERE id = 2",
    "UPDATE import_heads SET open = 7 WHERE id = 5",
    "UPDATE import_heads SET open = 0 WHERE id = 2",
    "UPDATE import_heads SET id = 77 WHERE id = 2",
    "DELETE FROM import_heads WHERE id = 2",
    "DELETE FROM import_heads WHERE id = 5",
    "INSERT INTO import_heads SELECT 6, position, digest, total, 1 FROM import_heads WHERE id = 1",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_what_another_program_changed_of_the_heads_of_imports_is_named(exported, other, statement):
    with connect(other):
        assert import_jsonl(exported).ok
        assert verify().problems == []
    by_hand(other, statement)
    with connect(other):
        before = verify()
        assert before.problems != []
        recorder.record_many(Audit.get().id, [ENTRY] * HEAD_EVERY)
        assert str(newest_head())
        assert before.problems[0] in verify().problems
        assert import_jsonl(exported, skip_existing=True).ok


def test_ids_are_kept_only_until_the_store_has_events_of_its_own(exported, other):
    with connect(other):
        assert can_keep()
        interrupted(exported, after=1)
        assert can_keep()
        own = operations.create("https://own.example").id
        recorder.record(own, ENTRY)
        assert not can_keep()
        head = str(newest_head())
        done = import_jsonl(exported, skip_existing=True)
        assert (done.audits, done.problems) == (4, [])
        assert done.new_ids > 0
        assert not can_keep()
        assert verify(against=head).problems == []
        removal.delete(own)
        assert verify(against=head).problems == []
    with connect(other.with_name("second.db")):
        assert import_jsonl(exported).new_ids == 0
        assert not can_keep()  # it is complete: a head that was printed since covers these ids


def test_an_interrupted_import_needs_no_repair(exported, other):
    with connect(other):
        head = interrupted(exported)[-1]
        assert repair() == []
        assert verify().problems == []
        assert can_keep()
        assert verify(against=head).problems == []


async def test_an_import_of_the_facade_is_known_too(exported, tmp_path, anyio_backend_name):
    async with AuditStore.open(tmp_path / "new.db") as store:
        assert (await store.import_(exported)).new_ids == 0
        head = str(await store.read(newest_head))
        audit = await store.create("https://own.example")
        await store.record(audit.id, ENTRY)
        assert (await store.read(lambda: verify(against=head))).problems == []


# ---- files of earlier versions ----


def as_it_was_released(path: Path, *statements: str) -> None:
    """Make a file as the version before this table left it."""
    with_texts_twice(path)
    by_hand(
        path,
        *statements,
        "DROP TABLE import_heads",
        "DROP TABLE absent_images",
        "DROP VIEW latest_audit_of_each_site",
        "DELETE FROM veritas_migrations WHERE name >= '0007_evidence'",
    )


@pytest.mark.parametrize("later", [0, 5, 2 * HEAD_EVERY])
def test_the_placeholder_of_an_earlier_version_is_replaced(exported, other, later):
    with connect(other):
        interrupted(exported)
    ((position,),) = select(other, "SELECT MAX(id) FROM audit_events")
    as_it_was_released(
        other,
        "DELETE FROM store_heads",
        f"INSERT INTO store_heads VALUES ({position}, '{PLACEHOLDER}')",
    )
    kept = f"{position}-2-0-{PLACEHOLDER}"
    if later:  # with the heads that followed it
        ((audit_id,),) = select(other, "SELECT id FROM audits LIMIT 1")
        with connect(other):
            recorder.record_many(audit_id, [ENTRY] * later)
        rows = select(other, f"SELECT id, digest FROM audit_events WHERE id > {position}")
        before, start = PLACEHOLDER, position
        statements = [f"INSERT INTO store_heads VALUES ({position}, '{PLACEHOLDER}')"]
        for at in range(HEAD_EVERY, position + later, HEAD_EVERY):
            before = head_digest(before, [one for number, one in rows if start < number <= at])
            statements.append(f"UPDATE store_heads SET digest = '{before}' WHERE event_id = {at}")
            start = at
        as_it_was_released(other, *statements)
    with connect(other):
        report = verify(against=kept)
        assert report.problems == []
        assert any(note.startswith(KEPT) for note in report.notes)
        done = import_jsonl(exported, skip_existing=True)
        assert (done.ok, done.audits) == (True, 3)
        assert verify().problems == []
        assert StoreHead.select().where(StoreHead.digest == PLACEHOLDER).count() == 0


def test_a_head_over_all_events_that_an_earlier_version_made_stays_valid(exported, other):
    with connect(other):
        assert import_jsonl(exported).ok
    rows = select(other, "SELECT id, digest FROM audit_events ORDER BY id")
    whole = head_digest(head_digest("", []), [digest for _, digest in rows])
    as_it_was_released(
        other,
        "DELETE FROM store_heads",
        f"INSERT INTO store_heads VALUES ({rows[-1][0]}, '{whole}')",
    )
    with connect(other):
        assert verify().problems == []
        head = str(newest_head())
        recorder.record_many(Audit.get().id, [ENTRY] * HEAD_EVERY)
        assert not can_keep()
    assert verified(other, against=head).problems == []
    by_hand(other, "DROP TRIGGER remember_removed_event", "DELETE FROM audit_events WHERE id = 3")
    assert any("up to event" in text for text in verified(other).problems)


@pytest.mark.parametrize("right", [True, False])
def test_seals_of_running_audits_of_an_earlier_version_are_made_anew_if_they_are_right(
    path, exported, right
):
    with connect(path):
        audit_id = operations.create("https://running.example").id
        finding = {"id": "f", "category": "c", "severity": "low", "confidence": 0.5}
        recorder.record(audit_id, {"type": "finding", "finding": finding})
        *values, _, _, _ = seals.stored_audit(audit_id)
        older = seals.digest_of(values).hex()
        as_it_was_released(
            path,
            f"UPDATE audits SET seal = '{older}' WHERE id = '{audit_id}'",
            *(() if right else (f"UPDATE audits SET narrative = 'x' WHERE id = '{audit_id}'",)),
        )
    with connect(path):
        assert any(audit_id in text for text in verify().problems) == (not right)
        by_hand(path, f"DELETE FROM audit_findings WHERE audit_id = '{audit_id}'")
        assert any(audit_id in text for text in verify().problems)


def test_a_seal_of_an_earlier_version_is_not_one_in_a_file_of_this_version(path):
    with connect(path):
        audit_id = fill(0)[0]
        *values, _, _, _ = seals.stored_audit(audit_id)
        older = seals.digest_of(values).hex()
        by_hand(path, f"UPDATE audits SET seal = '{older}' WHERE id = '{audit_id}'")
        assert any(audit_id in text for text in verify().problems)


def test_an_exported_running_audit_of_an_earlier_version_is_taken_and_sealed(path, tmp_path, other):
    target = tmp_path / "x.jsonl"
    with connect(path):
        audit_id = fill(0)[0]
        *values, _, _, _ = seals.stored_audit(audit_id)
        export_jsonl(target)
    line = json.loads(target.read_text())
    assert line["audit"]["seal"] != seals.digest_of(values).hex()
    line["audit"]["seal"] = seals.digest_of(values).hex()
    target.write_text(json.dumps(line))
    with connect(other):
        assert import_jsonl(target).ok
        assert verify().problems == []
