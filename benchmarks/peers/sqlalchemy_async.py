"""SQLAlchemy 2 with asyncio and aiosqlite: ORM models, a session and a commit per operation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import eq, ge, le, lt
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import JSON, ForeignKey, func, insert, select, text, tuple_
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload

from benchmarks import effects
from benchmarks.history import PAGE, HistoryQuery
from benchmarks.peers.base import Peer, PragmaConnection
from benchmarks.sample import Row, WholeAudit, audit_row, event_row

_SIGNS: dict[str, Any] = {"=": eq, ">=": ge, "<=": le, "<": lt}


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {dict[str, Any]: JSON, list[str]: JSON}


class Audit(Base):
    __tablename__ = "audits"
    id: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str]
    status: Mapped[str]
    audit_tier: Mapped[str]
    verdict_mode: Mapped[str]
    trust_score: Mapped[float | None]
    risk_level: Mapped[str | None]
    signal_scores: Mapped[dict[str, Any]]
    narrative: Mapped[str | None]
    site_type: Mapped[str | None]
    site_type_confidence: Mapped[float | None]
    security_results: Mapped[dict[str, Any]]
    pages_scanned: Mapped[int]
    screenshots_count: Mapped[int]
    elapsed_seconds: Mapped[float]
    errors: Mapped[list[str]]
    error_message: Mapped[str | None]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    findings: Mapped[list[AuditFinding]] = relationship(order_by="AuditFinding.id")
    screenshots: Mapped[list[AuditScreenshot]] = relationship(order_by="AuditScreenshot.index_num")
    events: Mapped[list[AuditEvent]] = relationship()


class AuditFinding(Base):
    __tablename__ = "audit_findings"
    id: Mapped[int] = mapped_column(primary_key=True)
    audit_id: Mapped[str] = mapped_column(ForeignKey("audits.id"))
    pattern_type: Mapped[str]
    category: Mapped[str | None]
    severity: Mapped[str]
    confidence: Mapped[float]
    description: Mapped[str]
    plain_english: Mapped[str | None]
    screenshot_index: Mapped[int | None]
    created_at: Mapped[datetime | None]


class AuditScreenshot(Base):
    __tablename__ = "audit_screenshots"
    id: Mapped[int] = mapped_column(primary_key=True)
    audit_id: Mapped[str] = mapped_column(ForeignKey("audits.id"))
    file_path: Mapped[str]
    label: Mapped[str]
    index_num: Mapped[int]
    file_size_bytes: Mapped[int | None]
    media_type: Mapped[str | None]
    sha256: Mapped[str | None]
    created_at: Mapped[datetime | None]


class AuditEvent(Base):
    __tablename__ = "audit_events"
    id: Mapped[int] = mapped_column(primary_key=True)
    audit_id: Mapped[str] = mapped_column(ForeignKey("audits.id"))
    event_type: Mapped[str]
    data: Mapped[dict[str, Any]]
    timestamp: Mapped[datetime | None]


class SQLAlchemyAsync(Peer):
    name: ClassVar[str] = "sqlalchemy"

    async def open(self, path: Path) -> None:
        self.engine = create_async_engine(
            f"sqlite+aiosqlite:///{path}", connect_args={"factory": PragmaConnection}
        )
        self.session = async_sessionmaker(self.engine, expire_on_commit=False)

    async def close(self) -> None:
        await self.engine.dispose()

    async def create(self, audit_id: str, url: str) -> None:
        async with self.session() as session:
            session.add(Audit(**audit_row(audit_id, url)))
            await session.commit()

    async def record(self, audit_id: str, event: Row) -> None:
        taken = await self.taken(audit_id, event)
        async with self.session() as session:
            session.add(AuditEvent(**taken.row(audit_id)))
            if taken.effect is not None:
                audit = await session.get_one(Audit, audit_id)
                effects.apply(audit, taken)
                session.add_all(AuditScreenshot(**row) for row in taken.effect.screenshots)
                if taken.effect.findings:
                    query = select(AuditFinding.pattern_type, AuditFinding.description)
                    found = await session.execute(query.where(AuditFinding.audit_id == audit_id))
                    known = {(kind, text) for kind, text in found}
                    new = effects.missing(taken.effect, known)
                    session.add_all(AuditFinding(**row) for row in new)
            await session.commit()

    async def write_event(self, audit_id: str, event: Row) -> None:
        async with self.session() as session:
            session.add(AuditEvent(**event_row(audit_id, event)))
            await session.commit()

    async def write_events(self, audit_id: str, events: Sequence[Row]) -> None:
        async with self.session() as session:
            await session.execute(insert(AuditEvent), [event_row(audit_id, one) for one in events])
            await session.commit()

    async def write_audit(self, whole: WholeAudit) -> None:
        async with self.session() as session:
            session.add(
                Audit(
                    **whole.audit,
                    findings=[AuditFinding(**row) for row in whole.findings],
                    screenshots=[AuditScreenshot(**row) for row in whole.screenshots],
                    events=[AuditEvent(**row) for row in whole.events],
                )
            )
            await session.commit()

    async def read_audit(self, audit_id: str) -> int:
        load = selectinload(Audit.findings), selectinload(Audit.screenshots)
        async with self.session() as session:
            query = select(Audit).where(Audit.id == audit_id).options(*load)
            audit = (await session.scalars(query)).one()
            return len(audit.findings) + len(audit.screenshots)

    async def history(self, query: HistoryQuery, after: Any = None) -> int:
        statement = select(Audit).order_by(Audit.created_at.desc(), Audit.id.desc())
        for column, sign, value in query.conditions():
            if column == "created_at":
                value = datetime.fromisoformat(value)
            statement = statement.where(_SIGNS[sign](getattr(Audit, column), value))
        if after is not None:
            statement = statement.where(tuple_(Audit.created_at, Audit.id) < after)
        async with self.session() as session:
            found = (await session.scalars(statement.limit(PAGE + 1))).all()
        return min(len(found), PAGE)

    async def count(self, status: str) -> int:
        async with self.session() as session:
            query = select(func.count()).select_from(Audit).where(Audit.status == status)
            return int(await session.scalar(query) or 0)

    async def series(self, url: str) -> int:
        query = select(Audit.created_at, Audit.trust_score).where(Audit.url == url)
        async with self.session() as session:
            found = await session.execute(query.order_by(Audit.created_at, Audit.id))
            return len(found.all())

    async def query(self, sql: str) -> None:
        async with self.session() as session:
            (await session.execute(text(sql))).all()

    async def load(self, limit: int) -> int:
        async with self.session() as session:
            return len((await session.scalars(select(Audit).limit(limit))).all())


KINDS = (SQLAlchemyAsync,)
