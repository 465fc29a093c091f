"""A seal is renewed only from a state that was right: what others did is not sealed by us."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from contextlib import nullcontext

import pytest

from tests.support.audits import add_screenshot, fill
from tests.support.database_files import by_hand, select, verified
from tests.support.processes import start
from veritas_peewee import Audit, AuditStore, StoreError, connect
from veritas_peewee.ledger.heads import newest_head
from veritas_peewee.maintenance.repair import repair
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditFinding, AuditScreenshot
from veritas_peewee.recording import operations, recorder, removal
from veritas_peewee.testing import make_png
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl

ENTRY = {"type": "log_entry", "message": "x"}
_number = iter(range(10**9))


def finding() -> dict:
    number = next(_number)
    return {"type": "finding", "finding": {"id": f"n{number}", "category": "c", "severity": "low",
            "confidence": 0.5, "description": f"d{number}"}}  # fmt: skip


COPY = (
    "INSERT INTO audit_findings (audit_id, pattern_type, category, severity, confidence, "
    "description, plain_english, screenshot_index, created_at, digest) "
    "SELECT audit_id, pattern_type, category, severity, confidence, description, plain_english, "
    "screenshot_index, created_at, digest FROM audit_findings WHERE audit_id = '{0}' LIMIT 1"
)
BY_OTHERS = {
    "a finding copied": COPY,
    "a finding removed": "DELETE FROM audit_findings WHERE audit_id = '{0}' AND id % 2",
    "a screenshot removed": "DELETE FROM audit_screenshots WHERE audit_id = '{0}'",
    "two findings swapped":
        "UPDATE audit_findings SET id = 1000 - id WHERE audit_id = '{0}'",
    "a finding of another audit":
        "UPDATE audit_findings SET audit_id = '{0}' WHERE audit_id = '{1}' AND id % 2",
    "the row altered": "UPDATE audits SET url = 'https://x.example' WHERE id = '{0}'",
    "a column that is written again": "UPDATE audits SET updated_at = created_at WHERE id = '{0}'",
    "the seal removed": "UPDATE audits SET seal = NULL WHERE id = '{0}'",
    "the seal altered": "UPDATE audits SET seal = 'x' WHERE id = '{0}'",
    "a text that cannot be read":
        "UPDATE audits SET site_type = CAST(x'ff' AS TEXT) WHERE id = '{0}'",
    "sealed by hand": "UPDATE audits SET sealed_events = 2 WHERE id = '{0}'",
    "sealed with a text": "UPDATE audits SET sealed_events = 'x' WHERE id = '{0}'",
    "sealed with a fraction": "UPDATE audits SET sealed_events = 2.5 WHERE id = '{0}'",
}  # fmt: skip


def named(audit_id: str, problems: list[str]) -> bool:
    return any(f"audit {audit_id}" in text for text in problems)


def two_audits() -> list[str]:
    ids = [operations.create(f"https://shop{number}.example/").id for number in range(2)]
    for audit_id in ids:
        recorder.record(audit_id, {"type": "phase_start", "phase": "scout"})
        recorder.record_many(audit_id, [finding(), finding(), ENTRY])
        add_screenshot(audit_id, 0, make_png())
    return ids


@pytest.mark.parametrize("statement", BY_OTHERS.values(), ids=BY_OTHERS)
@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
def test_what_another_program_did_is_named_ever_after(path, caplog, statement, ended):
    with connect(path):
        altered, other = two_audits()
        if ended:
            recorder.record(altered, {"type": "audit_complete", "elapsed": 1})
            recorder.record(other, {"type": "audit_complete", "elapsed": 1})
        by_hand(path, statement.format(altered, other))
        assert named(altered, verify().problems)
        before = len(caplog.records)
        readable = "cannot be read" not in str(verify().problems)
        for event in (ENTRY, finding(), ENTRY, finding()):
            recorder.record(altered, event)
            recorder.record(other, event)
            assert named(altered, verify().problems)
        if readable:
            operations.update(altered, narrative="told later")
            assert Audit.get_by_id(altered).narrative == "told later"
            recorder.record(altered, {"type": "audit_complete", "elapsed": 2})
            assert Audit.get_by_id(altered).status == "completed"
        assert named(altered, verify().problems)
        told = [r for r in caplog.records[before:] if altered in r.getMessage()]
        assert [record.levelno for record in told] == [logging.WARNING]
        if "another audit" not in next(k for k, v in BY_OTHERS.items() if v == statement):
            assert not named(other, verify().problems)
    with connect(path):  # a connection that remembers nothing
        recorder.record(altered, ENTRY)
        recorder.record(altered, finding())
        assert named(altered, verify().problems)
    assert named(altered, verified(path).problems)


@pytest.mark.parametrize("statement", BY_OTHERS.values(), ids=BY_OTHERS)
def test_it_is_named_also_if_the_next_change_is_by_peewee_code(path, statement):
    with connect(path) as database:
        altered, other = two_audits()
        by_hand(path, statement.format(altered, other))
        with database.atomic():
            AuditFinding.create(audit=altered, pattern_type="p", severity="low", confidence=1.0,
                                description="")  # fmt: skip
        assert named(altered, verify().problems)
        AuditFinding.delete().where(AuditFinding.audit == altered).execute()
        AuditScreenshot.update(label="x").where(AuditScreenshot.audit == altered).execute()
        Audit.update(narrative="x").where(Audit.id == altered).execute()
        assert named(altered, verify().problems)


def test_a_finding_that_another_program_altered_is_not_sealed_with_the_next_change_of_it(path):
    with connect(path):
        altered, _ = two_audits()
        by_hand(path, "UPDATE audit_findings SET description = 'other' WHERE id = 1")
        AuditFinding.update(severity="high").where(AuditFinding.audit == altered).execute()
        assert AuditFinding.get_by_id(1).severity == "high"
        problems = verify().problems
        assert f"finding 1 of audit {altered} was altered" in problems
        assert f"finding 2 of audit {altered} was altered" not in problems


def test_a_new_finding_with_the_number_of_one_that_was_altered_has_its_own_digest(path):
    with connect(path):
        two_audits()
        row = AuditFinding.select().order_by(AuditFinding.id.desc()).get()
        by_hand(path, f"UPDATE audit_findings SET description = 'x' WHERE id = {row.id}")
        is_row = AuditFinding.id == row.id
        AuditFinding.update(category="y").where(is_row).execute()
        assert any(f"finding {row.id}" in text for text in verify().problems)
        AuditFinding.delete().where(is_row).execute()
        values = {"pattern_type": "p", "category": "c", "description": "d", "plain_english": "e"}
        AuditFinding.create(id=row.id, audit=row.audit_id, severity="low", confidence=0.5, **values)
        assert not any(f"finding {row.id}" in text for text in verify().problems)


def test_an_audit_that_another_program_added_is_not_sealed_by_us(path):
    with connect(path):
        two_audits()
        by_hand(path, "INSERT INTO audits (id, url, created_at, updated_at) "
                      "VALUES ('mine', 'https://x.example', '', '')")  # fmt: skip
        recorder.record("mine", ENTRY)
        recorder.record("mine", finding())
        told = "audit mine has no seal: it was not written by this library"
        assert told in verify().problems


async def test_a_row_added_to_a_running_audit_is_named_also_after_its_end(
    tmp_path, anyio_backend_name
):
    path = tmp_path / "audits.db"
    async with AuditStore.open(path) as store:
        audits = [await store.create(f"https://{name}.example/") for name in "ab"]
        for audit in audits:
            await store.record_many(audit.id, [finding(), finding()])
        by_hand(path, COPY.format(audits[0].id))
        for audit in audits:
            await store.record(audit.id, finding())
            await store.record(audit.id, {"type": "audit_complete", "elapsed": 1})
        problems = (await store.read(verify)).problems
        assert named(audits[0].id, problems)
        assert not named(audits[1].id, problems)
        assert (await store.get(audits[0].id)).status == "completed"


def test_what_is_put_back_as_it_was_is_right_again(path):
    with connect(path):
        audit_id, _ = two_audits()
        by_hand(path, COPY.format(audit_id))
        ((copy,),) = select(path, "SELECT MAX(id) FROM audit_findings")
        recorder.record(audit_id, finding())
        assert named(audit_id, verify().problems)
        by_hand(path, f"DELETE FROM audit_findings WHERE id = {copy}")
        assert verify().problems == []
        recorder.record(audit_id, {"type": "audit_complete", "elapsed": 1})
        assert verify().problems == []


# ---- what this library does is right, whoever does it in which order ----


def test_two_processes_record_to_one_audit(path):
    with connect(path):
        audit_id, other = two_audits()
        code = (
            "import sys; from veritas_peewee import connect\n"
            "from veritas_peewee.recording import recorder\n"
            "with connect(sys.argv[1]):\n"
            "    for n in range(3):\n"
            "        recorder.record(sys.argv[2], {'type': 'finding', 'finding': {'id': f's{n}',"
            "'category': 'c', 'severity': 'low', 'confidence': 0.5, 'description': f's{n}'}})\n"
        )
        for last in (False, True):
            recorder.record(audit_id, finding())
            run_code(code, path, audit_id)
            recorder.record(audit_id, finding())
            recorder.record(other, finding())
            if last:
                recorder.record(audit_id, {"type": "audit_complete", "elapsed": 1})
                run_code(code, path, audit_id)
                recorder.record(audit_id, finding())
            assert verify().problems == []


def run_code(code: str, *args: object) -> None:
    subprocess.run([sys.executable, "-c", code, *map(str, args)], check=True)


@pytest.mark.parametrize("database", ["memory", "file"])
@pytest.mark.parametrize("how", ["unit", "atomic"])
def test_parts_that_are_undone_leave_seals_right(path, database, how):
    with connect(":memory:" if database == "memory" else path) as opened:
        part = getattr(opened, how)
        audit_id, other = two_audits()
        before = newest_head()

        def undone(*what: str) -> None:
            with pytest.raises(LookupError), part():
                for one in what:
                    if one == "finding":
                        recorder.record(audit_id, finding())
                    elif one == "peewee":
                        AuditFinding.delete().where(AuditFinding.audit == audit_id).execute()
                    elif one == "sealed":
                        operations.update(audit_id, narrative="never")
                    elif one == "removed":
                        removal.delete(audit_id)
                    elif one == "again":
                        operations.create("https://again.example/", id=audit_id)
                        recorder.record(audit_id, finding())
                raise LookupError

        undone("finding")
        undone("peewee", "sealed")
        undone("removed", "again")
        assert str(newest_head()) == str(before)
        with opened.unit():
            recorder.record(audit_id, finding())
            undone("finding", "sealed", "finding")
            undone("removed", "again", "sealed")
            recorder.record(audit_id, finding())
            undone("peewee")
            AuditFinding.update(severity="high").where(AuditFinding.audit == other).execute()
            undone("sealed", "peewee")
            recorder.record(audit_id, finding())
        assert verify().problems == []
        assert newest_head().changes == before.changes + 2  # two audits, sealed once
        recorder.record(audit_id, {"type": "audit_complete", "elapsed": 1})
        undone("finding", "sealed")
        recorder.record(audit_id, finding())  # also after its end, it is found and sealed
        assert verify().problems == []


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize("how", ["unit", "atomic"])
def test_rows_of_a_part_that_is_undone_are_not_taken_for_rows_of_the_audit(path, outer, how):
    with connect(path) as opened:
        audit_id, _ = two_audits()
        with opened.unit() if outer else nullcontext():
            with pytest.raises(LookupError), getattr(opened, how)():
                recorder.record(audit_id, finding())
                raise LookupError
            recorder.record(audit_id, finding())
        assert verify().problems == []


def test_the_first_findings_of_a_new_audit_are_sealed_without_reading_its_row(path):
    with connect(path) as opened:
        audit_id = operations.create("https://example.com/ä", audit_tier="quick_scan").id
        statements = []
        opened.raw.set_trace_callback(statements.append)
        recorder.record(audit_id, finding())
        opened.raw.set_trace_callback(None)
        assert [text for text in statements if 'UPDATE "audits" SET "seal"' in text]
        assert [text for text in statements if 'FROM "audits"' in text] == []
        assert verify().problems == []


@pytest.mark.parametrize("how", ["unit", "atomic"])
def test_a_change_of_the_row_is_sealed_also_if_a_part_that_had_sealed_it_is_undone(path, how):
    with connect(path) as opened:
        audit_id, _ = two_audits()
        with opened.unit():
            Audit.update(narrative="stays").where(Audit.id == audit_id).execute()
            with pytest.raises(LookupError), getattr(opened, how)():
                operations.update(audit_id, risk_level="never")
                raise LookupError
            recorder.record(audit_id, finding())
        assert verify().problems == []
        assert Audit.get_by_id(audit_id).narrative == "stays"


def test_a_part_that_is_undone_after_another_program_s_change_does_not_seal_it(path):
    with connect(path) as opened:
        audit_id, _ = two_audits()
        by_hand(path, COPY.format(audit_id))
        with opened.unit():
            recorder.record(audit_id, finding())
            with pytest.raises(LookupError), opened.atomic():
                recorder.record(audit_id, finding())
                operations.update(audit_id, narrative="never")
                raise LookupError
            recorder.record(audit_id, {"type": "audit_complete", "elapsed": 1})
        assert named(audit_id, verify().problems)


def test_an_audit_that_ended_after_a_failed_write_can_be_changed_again(path):
    with connect(path):
        audit_id, _ = two_audits()
        with pytest.raises(StoreError):
            recorder.record("nobody", finding())
        recorder.record(audit_id, {"type": "audit_complete", "elapsed": 1})
        operations.update(audit_id, narrative="later")
        assert verify().problems == []


def test_audits_made_by_peewee_code_and_by_imports_are_sealed(path, tmp_path):
    with connect(path):
        Audit.create(id="own", url="https://own.example")
        AuditFinding.create(audit="own", pattern_type="p", severity="low", confidence=1.0,
                            description="")  # fmt: skip
        recorder.record("own", finding())
        fill(1)
        target = io.BytesIO()
        export_jsonl(target)
        assert verify().problems == []
    with connect(tmp_path / "new" / "audits.db"):
        assert import_jsonl(io.BytesIO(target.getvalue())).ok
        for audit in Audit.select():
            recorder.record(audit.id, finding())
        assert verify().problems == []


def test_an_audit_whose_count_was_wrong_is_right_once_it_is_repaired(path):
    with connect(path):
        audit_id, _ = two_audits()
        by_hand(path, f"UPDATE audits SET screenshots_count = 9 WHERE id = '{audit_id}'")
        assert named(audit_id, verify().problems)
        repair()
        assert verify().problems == []
        by_hand(path, f"UPDATE audits SET screenshots_count = 9, url = 'https://x.example' "
                      f"WHERE id = '{audit_id}'")  # fmt: skip
        repair()
        assert named(audit_id, verify().problems)


def test_a_removed_audit_s_rows_are_not_read(path, monkeypatch):
    """A removal needs no look at what is removed."""
    with connect(path):
        audit_id, _ = two_audits()
    with connect(path):
        monkeypatch.setattr("veritas_peewee.ledger.keeping.look", None)
        monkeypatch.setattr("veritas_peewee.ledger.keeping.look_at_rows", None)
        removal.delete(audit_id)
        monkeypatch.undo()
        assert verify().problems == []


def test_a_process_that_is_killed_leaves_seals_right(path):
    with connect(path):
        audit_id, _ = two_audits()
    with start("record_until_killed.py", path, "asyncio") as program:
        for _ in range(20):
            program.stdout.readline()
        program.kill()
    with connect(path):
        recorder.record(audit_id, finding())
        assert verify().problems == []


@pytest.mark.parametrize("by_peewee", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_a_part_that_is_undone_does_not_make_a_right_audit_look_altered(
    tmp_path, caplog, by_peewee, known
):
    """What is known of a running audit by what was added to it is not lost with the part."""
    with connect(tmp_path / "audits.db") as database:
        ids = [operations.create(f"https://s{number}.example/").id for number in range(3)]
        for audit_id in ids:
            recorder.record(audit_id, finding())
        if not known:
            by_hand(tmp_path / "audits.db", "CREATE TABLE theirs (id)")  # others wrote
        with database.atomic():
            recorder.record(ids[0], finding())
            operations.update(ids[1], status="error")
            if by_peewee:
                with pytest.raises(ZeroDivisionError), database.atomic():
                    recorder.record(ids[0], finding())
                    _ = 1 / 0
            else:
                database.execute_sql("SAVEPOINT part")
                recorder.record(ids[0], finding())
                database.execute_sql("ROLLBACK TO part")
        for audit_id in ids:
            operations.update(audit_id, status="completed")
        assert verify().problems == []
        assert [len(list(Audit.get_by_id(one).findings)) for one in ids] == [2, 1, 1]
    assert "not as it was sealed" not in caplog.text
