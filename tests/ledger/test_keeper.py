"""The keeper: digests, seals and heads follow what is written on a connection, however it ends."""

import contextlib
import subprocess
import sys

import pytest
from peewee import OperationalError, PeeweeException

from veritas_peewee import Audit, DatabaseCorrupt, StoreError, StoreFull, connect
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.ledger import keeper, keeping
from veritas_peewee.ledger.heads import newest_head
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditEvent, AuditFinding
from veritas_peewee.recording import operations, recorder


def test_each_way_to_begin_a_transaction_looks_for_what_others_wrote(tmp_path):
    """The log is a chain: a remembered end of it is wrong once another process has added to it."""
    path = tmp_path / "audits.db"
    event = {"type": "log_entry", "message": "one"}
    with connect(path) as mine:
        audit = operations.create("https://example.com")
        recorder.record(audit.id, event)
        for begin in (mine.atomic, mine.transaction, mine.unit):
            code = (
                "import sys; from veritas_peewee import connect\n"
                "from veritas_peewee.recording import recorder\n"
                f"with connect(sys.argv[1]): recorder.record(sys.argv[2], {event!r})"
            )
            subprocess.run([sys.executable, "-c", code, path, audit.id], check=True)
            with begin():
                recorder.record(audit.id, event)
        assert verify().problems == []


def test_what_is_written_in_manual_mode_is_sealed_when_it_is_committed(tmp_path):
    with connect(tmp_path / "audits.db") as opened, opened.manual_commit():
        audit = operations.create("https://one.example/")
        Audit.update(risk_level="trusted").where(Audit.id == audit.id).execute()
        code = (
            "import sys; from veritas_peewee import connect\n"
            "from veritas_peewee.maintenance.verify import verify\n"
            "with connect(sys.argv[1], read_only=True): print(verify().problems)"
        )
        command = [sys.executable, "-c", code, tmp_path / "audits.db"]
        assert subprocess.check_output(command, text=True) == "[]\n"


@pytest.mark.parametrize("how", ["unit", "atomic"])
def test_what_a_part_had_sealed_before_it_was_undone_is_sealed_again(tmp_path, how):
    """A part that is undone takes back the seals that it made, also of rows changed before it."""
    with connect(tmp_path / "audits.db") as opened:
        ended = operations.create("https://one.example/").id
        recorder.record(ended, {"type": "audit_complete", "elapsed": 1})
        other = operations.create("https://two.example/").id
        before = newest_head().changes
        with opened.unit():
            Audit.update(narrative="changed").where(Audit.id == ended).execute()
            AuditEvent.create(audit=other, event_type="log_entry", data={"type": "log_entry"})
            AuditFinding.create(
                audit=ended, pattern_type="p", severity="low", confidence=0.5, description="d"
            )
            with contextlib.suppress(LookupError), getattr(opened, how)():
                new = operations.create("https://three.example/").id
                operations.update(new, trust_score=40.0)  # seals all that was changed so far
                raise LookupError
        assert verify().problems == []
        assert newest_head().changes - before == 1  # of the audit that was never, nothing
        assert Audit.get_by_id(ended).narrative == "changed"


def raising(kind, code=None):
    error = kind("told inside")
    if code is not None:
        error.sqlite_errorcode = code

    def look(*_):
        raise error

    return look


@pytest.mark.parametrize(
    ("look", "told"),
    [
        (raising(driver.OperationalError, 13), StoreFull),
        (raising(driver.OperationalError, 14), StoreError),
        (raising(driver.DatabaseError, 11), DatabaseCorrupt),
        (raising(OSError), OSError),
        (raising(KeyboardInterrupt), KeyboardInterrupt),
    ],
)
def test_what_fails_while_a_row_is_changed_is_told_as_what_it_is(tmp_path, monkeypatch, look, told):
    """SQLite says of it only that a function has raised something."""
    path = tmp_path / "audits.db"
    with connect(path):
        operations.create("https://one.example/", id="one")
    with connect(path):
        with monkeypatch.context() as failing:
            failing.setattr(keeping, "look", look)
            with pytest.raises(told, match="told inside"):
                operations.update("one", risk_level="trusted")
            if issubclass(told, StoreError):
                with pytest.raises(PeeweeException, match="told inside"):
                    Audit.update(risk_level="trusted").execute()
        assert Audit.get_by_id("one").risk_level is None
        operations.update("one", risk_level="trusted")
        with pytest.raises(OperationalError, match="no such function"):
            AuditEvent.raw("SELECT veritas_none()").execute()
        assert verify().problems == []


def test_an_interrupt_while_a_statement_is_compiled_is_told_as_one(tmp_path, monkeypatch):
    """SQLite says that the statement was not authorized."""
    with monkeypatch.context() as failing:
        failing.setattr(keeper.LedgerKeeper, "_compiling", raising(KeyboardInterrupt))
        with (
            pytest.raises(KeyboardInterrupt, match="told inside"),
            connect(tmp_path / "audits.db"),
        ):
            operations.create("https://one.example/", id="one")
    with connect(tmp_path / "audits.db"):
        operations.create("https://one.example/", id="one")
        assert verify().problems == []
