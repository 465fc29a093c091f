"""The older system's own models, on SQLAlchemy, with a file that was upgraded: it can be read; what
they write is refused, or named by `verify`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session

from tests.support.database_files import verified
from tests.support.older_models import (
    OlderAudit,
    OlderEvent,
    OlderFinding,
    OlderScreenshot,
    OlderStatus,
    write_with_the_older_code,
)
from veritas_peewee import connect, sync

COMPLETED, FAILED = "vrts_00000000002", "vrts_00000000003"
WHOLE = {
    "url": "https://new.example/", "audit_tier": "quick_scan", "verdict_mode": "expert",
    "security_results": {}, "pages_scanned": 0, "elapsed_seconds": 0.0,
    "created_at": datetime(2026, 1, 1), "updated_at": datetime(2026, 1, 1),
}  # fmt: skip


@pytest.fixture
def upgraded(tmp_path: Path) -> Path:
    path = tmp_path / "audits.db"
    write_with_the_older_code(path)
    with connect(path):
        pass
    return path


@pytest.fixture
def session(upgraded: Path) -> Iterator[Session]:
    engine = sqlalchemy.create_engine(f"sqlite:///{upgraded}")
    with Session(engine) as opened:
        yield opened
    engine.dispose()


def test_its_other_models_read_what_they_wrote(session: Session) -> None:
    assert len(session.scalars(sqlalchemy.select(OlderFinding)).all()) == 10
    shots = session.scalars(sqlalchemy.select(OlderScreenshot)).all()
    assert {shot.label for shot in shots} == {"t0", "t1", "t2", "t3"}
    events = session.scalars(sqlalchemy.select(OlderEvent)).all()
    assert [event.data for event in events[:2]] == [{"n": 1}, None]


def test_a_status_is_refused_by_its_enum_and_not_misread(session: Session) -> None:
    with pytest.raises(LookupError, match="'queued' is not among the defined enum values"):
        session.scalars(sqlalchemy.select(OlderAudit)).all()


def test_with_an_enum_by_values_all_of_an_audit_is_read(session: Session) -> None:
    class Base(DeclarativeBase):
        pass

    by_value = sqlalchemy.Enum(OlderStatus, values_callable=lambda kind: [m.value for m in kind])
    table = OlderAudit.__table__.to_metadata(Base.metadata)
    table.c.status.type = by_value

    class Current(Base):
        __table__ = table

    query = sqlalchemy.select(Current).where(table.c.status == OlderStatus.COMPLETED)
    (audit,) = session.scalars(query).all()
    assert audit.id == COMPLETED
    assert audit.created_at == datetime(2025, 1, 3, 12, 0, 0, 123)
    assert (audit.signal_scores, audit.narrative) == ({"visual": 20.0}, "éé")


def test_an_audit_that_it_adds_half_empty_is_refused(session: Session, upgraded: Path) -> None:
    session.add(OlderAudit(id="new", url="https://new.example/"))
    with pytest.raises(IntegrityError, match=r"NOT NULL constraint failed: audits\.audit_tier"):
        session.commit()
    session.rollback()
    assert verified(upgraded).problems == []


def write(session: Session, what: str) -> None:
    if what == "an audit is added":
        session.add(OlderAudit(id="new", status=OlderStatus.QUEUED, **WHOLE))
    elif what == "an audit is changed":
        query = sqlalchemy.update(OlderAudit).where(OlderAudit.id == COMPLETED)
        session.execute(query.values(trust_score=1.0))
    else:
        session.add(OlderEvent(audit_id=FAILED, event_type="log_entry", data={"n": 2}))
    session.commit()


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("an audit is added", "audit new has no seal: it was not written by this library"),
        ("an audit is changed", f"audit {COMPLETED}: its row was altered"),
        ("an event is added", f"event 11 of audit {FAILED} was not written by this library"),
    ],
)
def test_what_it_writes_is_stored_and_named_and_stops_nobody(
    session: Session, upgraded: Path, what: str, named: str
) -> None:
    write(session, what)
    assert any(named in problem for problem in verified(upgraded).problems)
    with connect(upgraded):
        audit = sync.create("https://ours.example/")
        sync.record(FAILED, {"type": "log_entry", "message": "goes on"})
        assert sync.get(audit.id).url == "https://ours.example/"
    assert any(named in problem for problem in verified(upgraded).problems)


def test_what_it_removes_is_remembered_as_removed(session: Session, upgraded: Path) -> None:
    """By triggers, which every program obeys."""
    for model in (OlderEvent, OlderFinding, OlderScreenshot):
        session.execute(sqlalchemy.delete(model).where(model.audit_id == COMPLETED))
    gone: Any = session.execute(sqlalchemy.delete(OlderAudit).where(OlderAudit.id == COMPLETED))
    assert gone.rowcount == 1
    session.commit()
    assert verified(upgraded).problems == []
    with connect(upgraded) as database:
        rows = database.execute_sql("SELECT audit_id, events FROM removed").fetchall()
        assert rows == [(COMPLETED, 2)]
