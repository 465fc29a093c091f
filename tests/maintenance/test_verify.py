"""`verify`: whatever is altered, missing or added past the library is named; all else is not."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.audits import fill
from tests.support.database_files import by_hand, verified
from veritas_peewee import Audit, AuditStore, DatabaseCorrupt, StoreError, connect
from veritas_peewee.cli.app import run
from veritas_peewee.database import current
from veritas_peewee.database.current import current_database
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.ledger.checking import problem_of
from veritas_peewee.ledger.heads import HEAD_EVERY, newest_head, parse_head
from veritas_peewee.ledger.problems import Problems
from veritas_peewee.ledger.stored import read_stored
from veritas_peewee.maintenance.repair import repair, repairing
from veritas_peewee.maintenance.verify import Report, verify
from veritas_peewee.models import AuditEvent, AuditFinding, AuditScreenshot, AuditStatus
from veritas_peewee.recording import ingest, operations, recorder, removal
from veritas_peewee.testing import make_png


def kept_head(path: Path) -> str:
    with connect(path, read_only=True):
        return str(newest_head())


# ---- what is whole ----


def test_a_store_is_whole_after_every_kind_of_write(path, ids):
    report = verified(path, against=kept_head(path))
    assert report.problems == []
    assert (report.audits, report.files) == (4, 4)
    assert report.events == 4 * 6 + 3 * 2


def test_an_empty_store_is_whole_and_has_a_head(path):
    with connect(path):
        pass
    head = kept_head(path)
    assert head.startswith("0-0-0-")
    assert verified(path, against=head).ok


def test_changes_by_peewee_code_of_ones_own_are_sealed_too(path, ids):
    with connect(path) as database:
        Audit.update(risk_level="trusted").where(Audit.trust_score >= 50).execute()
        AuditFinding.update(severity="low").where(AuditFinding.audit == ids[0]).execute()
        AuditFinding.delete().where(AuditFinding.audit == ids[1]).execute()
        AuditScreenshot.update(label="start").execute()
        AuditEvent.create(audit=ids[2], event_type="note", data={"by": "hand"})
        recorder.record(ids[2], {"type": "log_entry", "message": "after it"})
        with database.atomic():
            audit = Audit.get_by_id(ids[3])
            audit.status = AuditStatus.COMPLETED
            audit.save()
            AuditEvent.insert_many([(ids[3], "note", {"n": 1}), (ids[3], "note", {"n": 2})],
                                   fields=[AuditEvent.audit, AuditEvent.event_type,
                                           AuditEvent.data]).execute()  # fmt: skip
        assert verify().problems == []
    assert verified(path).problems == []


async def test_changes_through_the_facade_s_way_out_are_sealed_too(file_store):
    audit = await file_store.ingest({"url": "https://example.com/", "status": "completed"})

    def change() -> None:
        Audit.update(narrative="by hand").where(Audit.id == audit.id).execute()
        AuditFinding.create(
            audit=audit.id, pattern_type="p", severity="low", confidence=1.0, description=""
        )

    await file_store.write(change)
    assert (await file_store.read(verify)).problems == []


def test_what_was_undone_leaves_no_trace(path, ids):
    with connect(path) as database:
        before = str(newest_head())
        with pytest.raises(RuntimeError), database.atomic():
            recorder.record(ids[0], {"type": "log_entry", "message": "never"})
            Audit.update(narrative="never").execute()
            raise RuntimeError
        with database.atomic() as outer:
            recorder.record(ids[0], {"type": "log_entry", "message": "never"})
            outer.rollback()
        assert str(newest_head()) == before
        recorder.record(ids[0], {"type": "log_entry", "message": "kept"})
    assert verified(path, against=before).ok


def test_removing_an_audit_is_no_loss(path, ids):
    head = kept_head(path)
    with connect(path):
        removal.delete(ids[1])
        Audit.delete().where(Audit.id == ids[0]).execute()
        operations.create("https://again.example/", id=ids[1])
        recorder.record(ids[1], {"type": "log_entry", "message": "a new log"})
    assert verified(path, against=head).problems == []


def test_a_damaged_head_is_refused(path, ids):
    for text in ("", "5", "5-5-5-abc", kept_head(path)[:-1] + "x", "-" * 70):
        with pytest.raises(StoreError, match="is no head"):
            parse_head(text)


def test_heads_are_kept_and_any_of_them_can_be_checked(path):
    heads = []
    with connect(path):
        audit_id = operations.create("https://example.com/").id
        for size in (1, HEAD_EVERY - 2, 1, 1, 1, 2 * HEAD_EVERY, 5):
            recorder.record_many(audit_id, [{"type": "log_entry"}] * size)
            heads.append(newest_head())
    assert [head.position for head in heads] == [1, 999, 1000, 1001, 1002, 3002, 3007]
    for head in heads:
        assert verified(path, against=head).problems == []
    with connect(path):  # a connection that remembers nothing
        recorder.record_many(audit_id, [{"type": "log_entry"}] * HEAD_EVERY)
    for head in heads:
        assert verified(path, against=head).problems == []


# ---- what is not ----

ALTERED = [
    ("UPDATE audits SET trust_score = 99 WHERE rowid = 2", "audit {1}: its row was altered"),
    ("UPDATE audits SET url = 'https://x.example' WHERE rowid = 4", "audit {3}: its row"),
    ("UPDATE audits SET updated_at = created_at WHERE rowid = 1", "audit {0}: its row"),
    ("UPDATE audits SET seal = NULL WHERE rowid = 1", "audit {0} has no seal"),
    ("UPDATE audits SET sealed_events = 2 WHERE rowid = 1", "audit {0}: its row"),
    ("UPDATE audits SET sealed_events = NULL WHERE rowid = 1", "audit {0}: its row"),
    ("UPDATE audits SET screenshots_count = 7 WHERE rowid = 3", "screenshots_count is not 1"),
    ("UPDATE audit_findings SET severity = 'low' WHERE id = 3", "finding 3 of audit {1}"),
    ("UPDATE audit_findings SET confidence = 0.51 WHERE id = 7", "finding 7 of audit {3}"),
    ("UPDATE audit_findings SET digest = NULL WHERE id = 3", "finding 3 of audit {1}"),
    ("UPDATE audit_screenshots SET label = 'x' WHERE id = 2", "screenshot 2 of audit {1}"),
    ("UPDATE audit_events SET data = '{{}}' WHERE id = 2", "event 2 of audit {0} was altered"),
    ("UPDATE audit_events SET event_type = 'x' WHERE id = 3", "event 3 of audit {0}"),
    ("UPDATE audit_events SET timestamp = '' WHERE id = 4", "event 4 of audit {0}"),
    ("UPDATE audit_events SET audit_id = '{1}' WHERE id = 4", "of audit {0} was altered, or one"),
    ("UPDATE audit_events SET digest = x'00' WHERE id = 4", "event 4 of audit {0}"),
    ("UPDATE store_heads SET digest = 'x'", "up to event 0 the log is not what it was"),
    ("DELETE FROM audit_findings WHERE id = 3", "audit {1}: its row was altered, or a finding"),
    ("DELETE FROM audit_screenshots WHERE id = 3", "audit {2}: its row was altered, or"),
    ("DELETE FROM audit_events WHERE id = 2", "event 2 of audit {0} was removed by itself"),
    ("DELETE FROM audit_events WHERE id = 30", "event 30 of audit {3} was removed by itself"),
    ("DROP INDEX idx_audits_status", "the index idx_audits_status is missing"),
    ("DROP TRIGGER remember_removed_audit", "the trigger remember_removed_audit is missing"),
    ("INSERT INTO audit_events (audit_id, event_type) VALUES ('{0}', 'x')",
     "event 31 of audit {0} was not written by this library"),
    ("INSERT INTO audit_findings (audit_id, pattern_type, severity, confidence, description) "
     "VALUES ('{0}', 'x', 'low', 1, '')", "finding 9 of audit {0} was not written"),
    ("UPDATE sqlite_sequence SET seq = 500", "SQLite's counter of them is not"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "told"), ALTERED, ids=[one[0] for one in ALTERED])
def test_what_another_program_changed_is_named(path, ids, statement, told):
    assert verified(path).problems == []
    by_hand(path, statement.format(*ids))
    problems = verified(path).problems
    assert any(told.format(*ids) in problem for problem in problems), problems


OTHERWISE = ("was removed by itself", "entry in the catalog", "host is not")
"""What `verify` names of an audit besides its chain, its rows and its seal."""


@pytest.mark.parametrize("statement", [one[0] for one in ALTERED])
def test_what_verify_names_of_an_audit_an_import_would_refuse(path, ids, statement):
    by_hand(path, statement.format(*ids))
    with connect(path, read_only=True):
        problems = [text for text in verify().problems if not any(map(text.count, OTHERWISE))]
        for audit_id in ids:
            named = any(f"audit {audit_id}" in text for text in problems)
            assert named == (problem_of(read_stored(audit_id)) is not None)


def test_of_very_many_problems_the_first_are_listed():
    problems = Problems()
    for number in range(Problems.MOST + 2):
        problems.add(str(number))
    assert problems[-2:] == [str(Problems.MOST - 1), "… and more"]
    assert len(problems) == Problems.MOST + 1


def test_an_audit_that_another_program_removed_without_a_trace_is_named(path, ids):
    head = kept_head(path)
    by_hand(
        path,
        "DROP TRIGGER remember_removed_event",
        "DROP TRIGGER remember_removed_audit",
        "PRAGMA foreign_keys = ON",
        f"DELETE FROM audits WHERE id = '{ids[1]}'",
    )
    problems = verified(path, against=head).problems
    assert "event 9 to 16: missing from the store" in problems
    assert any("1 audits that were there" in problem for problem in problems)


@pytest.mark.parametrize("size", ["half", "none"])
def test_newest_writes_that_are_gone_are_told_by_a_head(tmp_path, size):
    """A WAL that is cut is read up to the cut, and all that is left of the store is sound."""
    live = tmp_path / "live" / "audits.db"
    with connect(live) as database:
        audit_id = operations.create("https://example.com/").id
        database.pragma("wal_checkpoint(TRUNCATE)")
        for number in range(50):
            recorder.record(audit_id, {"type": "log_entry", "message": str(number)})
        head = str(newest_head())
        shutil.copytree(live.parent, tmp_path / "copy")  # as a kill leaves it
    copy = tmp_path / "copy" / "audits.db"
    wal = Path(f"{copy}-wal")
    os.truncate(wal, wal.stat().st_size // 2 if size == "half" else 0)
    Path(f"{copy}-shm").unlink()
    assert verified(copy).problems == []
    problems = verified(copy, against=head).problems
    assert any("to 50 are gone" in problem for problem in problems), problems
    with connect(copy):  # and other events get the ids of those that are gone
        recorder.record_many(audit_id, [{"type": "log_entry", "message": "new"}] * 60)
    problems = verified(copy, against=head).problems
    assert any("not what it was when the head was kept" in problem for problem in problems)


@pytest.mark.parametrize("change", ["delete", "update", "remove a row"])
def test_a_change_that_no_event_tells_and_that_is_gone_is_told_by_a_head(tmp_path, change):
    live = tmp_path / "live" / "audits.db"
    with connect(live) as database:
        ids = fill(2)
        database.pragma("wal_checkpoint(TRUNCATE)")
        if change == "delete":
            removal.delete(ids[0])
        elif change == "update":
            Audit.update(narrative="x").where(Audit.id == ids[0]).execute()
        else:
            AuditFinding.delete().where(AuditFinding.audit == ids[0]).execute()
        head = newest_head()
        shutil.copytree(live.parent, tmp_path / "copy")
    copy = tmp_path / "copy" / "audits.db"
    assert verified(copy, against=head, files=False).problems == []
    Path(f"{copy}-wal").unlink()
    Path(f"{copy}-shm").unlink()
    problems = verified(copy, against=head, files=False).problems
    assert any("changes and removals of rows" in problem for problem in problems), problems


def test_a_schema_that_another_program_changed_is_named(path, ids):
    by_hand(
        path,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = replace(sql, 'COUNT(*)', 'COUNT(1)') "
        "WHERE name = 'count_screenshots_delete'",
    )
    assert verified(path).problems == [
        "the schema of count_screenshots_delete is not that of this version"
    ]


def test_an_emptied_file_is_not_taken_for_a_new_store(tmp_path):
    live = tmp_path / "live" / "audits.db"
    with connect(live):
        fill(1)
        shutil.copytree(live.parent, tmp_path / "copy")
    copy = tmp_path / "copy" / "audits.db"
    os.truncate(copy, 0)
    before = Path(f"{copy}-wal").read_bytes()
    for read_only in (True, False):
        with pytest.raises(DatabaseCorrupt, match="WAL"), connect(copy, read_only=read_only):
            pass
    assert Path(f"{copy}-wal").read_bytes() == before


def test_a_screenshot_that_is_altered_missing_or_a_link_is_named(path, ids):
    with connect(path):
        folder = current.screenshot_folder()
        files = [row.file_path for row in AuditScreenshot.select().order_by(AuditScreenshot.id)]
    first, second, third, _ = (folder.root / file for file in files)
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    second.unlink()
    third.rename(third.with_suffix(".moved"))
    third.symlink_to(third.with_suffix(".moved"))
    problems = verified(path).problems
    assert {problem.split(":")[0] for problem in problems} == {
        f"screenshot {number + 1} of audit {ids[number]}" for number in range(3)
    }
    assert verified(path, files=False).ok


def test_a_page_that_cannot_be_read_does_not_hide_the_rest(path, ids):
    with connect(path):
        fill(60)
    with closing(driver.connect(path)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'audit_findings'"
        ).fetchone()
    data = bytearray(path.read_bytes())
    data[(root - 1) * 4096 : (root - 1) * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    report = verified(path)
    assert report.audits == 65
    assert any("cannot be read" in problem for problem in report.problems)


# ---- fixing ----


def test_what_can_be_made_again_is(path, ids):
    by_hand(
        path,
        "DROP INDEX idx_audits_status",
        "DROP TRIGGER count_screenshots_delete",
        "UPDATE audits SET screenshots_count = 5",
    )
    with connect(path, read_only=True):
        stray = current.screenshot_folder().root / ids[0] / "000-home-00000000.png"
        stray.write_bytes(make_png())
        os.utime(stray, (0, 0))
        new = stray.with_name("new.png")
        new.write_bytes(make_png())
    with repairing(path) as done:
        assert "the index idx_audits_status was missing, and is made again" in done
        assert "the trigger count_screenshots_delete was missing, and is made again" in done
        assert f"audit {ids[0]}: screenshots_count is 1" in done
        assert not stray.exists()
        assert new.exists()  # its row may be on the way
        assert repair() == []
    assert verified(path).problems == []


def test_files_that_may_be_another_database_s_are_left_alone(path, ids):
    with connect(path):
        root = current.screenshot_folder().root
        strays = [root / ids[0] / "000-x-00000000.png", root / "vrts_elsewhere" / "000-x.png"]
        for stray in strays:
            stray.parent.mkdir(exist_ok=True)
            stray.write_bytes(make_png())
            os.utime(stray, (0, 0))
        with connect(path.with_name("other.db")):
            pass
        assert repair() == []
        path.with_name("other.db").unlink()
        repair()
        assert [stray.exists() for stray in strays] == [False, True]


def test_what_a_killed_process_was_writing_is_removed_whichever_audit_it_was_of(path, ids):
    with connect(path):
        folder = current.screenshot_folder().root / "vrts_elsewhere"
        folder.mkdir()
        names = [".0123456789abcdef.tmp", ".000-home-01234567.png.tmp", ".x.tmp", "x.png"]
        for name in (*names, ".fedcba9876543210.tmp"):
            (folder / name).touch()
        for name in names:
            os.utime(folder / name, (0, 0))
        repair()
    left = [".fedcba9876543210.tmp", ".x.tmp", "x.png"]  # the first may still be written
    assert sorted(file.name for file in folder.iterdir()) == left


def test_fixing_does_not_make_an_altered_row_look_right(path, ids):
    by_hand(path, "UPDATE audit_findings SET severity = 'low' WHERE id = 3")
    with connect(path):
        repair()
    assert verified(path).problems == [f"finding 3 of audit {ids[1]} was altered"]


# ---- the command line ----


def test_the_commands_verify_and_head(path, ids, tmp_path, capsys):
    assert run(["head", "--database", str(path)]) == 0
    kept = tmp_path / "head.txt"
    kept.write_text(capsys.readouterr().out)
    assert run(["verify", "--database", str(path), "--against", str(kept)]) == 0
    assert "4 audits, 30 events and 4 screenshots checked" in capsys.readouterr().out
    by_hand(path, "UPDATE audit_findings SET severity = 'low' WHERE id = 3")
    assert run(["verify", "--database", str(path), "--json"]) == 1
    assert f"finding 3 of audit {ids[1]} was altered" in capsys.readouterr().out
    assert run(["verify", "--database", str(path), "--against", "5-5-x"]) == 2
    assert run(["verify", "--database", str(path), "--fix"]) == 1
    assert run(["verify", "--database", str(tmp_path / "none.db")]) == 1
    assert not (tmp_path / "none.db").exists()


def test_verifying_changes_nothing(path, ids):
    before = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    assert run(["verify", "--database", str(path)]) == 0
    after = {file: file.read_bytes() for file in path.parent.rglob("*") if file.is_file()}
    assert before == {file: data for file, data in after.items() if file in before}


async def test_writers_go_on_while_a_store_is_verified(file_store):
    audit = await file_store.create("https://example.com/")
    await file_store.record_many(audit.id, [{"type": "log_entry"}] * 500)

    def check() -> Report:
        report = verify()
        assert current_database().role == "reader"
        return report

    report = await file_store.read(check)
    await file_store.record(audit.id, {"type": "log_entry"})
    assert report.ok


def test_an_ingested_result_is_sealed(path):
    with connect(path):
        audit_id = ingest.ingest({"url": "https://example.com/", "status": "completed"}).id
        assert Audit.get_by_id(audit_id).sealed_events == 1
    by_hand(path, "UPDATE audits SET narrative = 'x'")
    assert not verified(path).ok


async def test_an_audit_s_seal_is_part_of_what_the_facade_returns(store: AuditStore):
    audit = await store.create("https://example.com/")
    running = await store.get(audit.id)
    assert running.seal == audit.seal
    assert running.sealed_events is None
    done = await store.update_status(audit.id, "completed")
    done = await store.get(audit.id)
    assert done.seal != audit.seal
    assert done.sealed_events == 1
