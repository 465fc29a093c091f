"""The models of the older SQLAlchemy code, and a file as it wrote one with them."""

from __future__ import annotations

import enum
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class OlderStatus(enum.Enum):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    ERROR = "error"
    DISCONNECTED = "disconnected"


class Older(DeclarativeBase):
    pass


class OlderAudit(Older):
    __tablename__ = "audits"
    id: Mapped[str] = mapped_column(sqlalchemy.String(16), primary_key=True)
    url: Mapped[str] = mapped_column(sqlalchemy.Text)
    status: Mapped[OlderStatus] = mapped_column(
        sqlalchemy.Enum(OlderStatus), default=OlderStatus.QUEUED
    )
    audit_tier: Mapped[str | None] = mapped_column(sqlalchemy.String(50))
    verdict_mode: Mapped[str | None] = mapped_column(sqlalchemy.String(20))
    trust_score: Mapped[float | None] = mapped_column(sqlalchemy.Float)
    risk_level: Mapped[str | None] = mapped_column(sqlalchemy.String(50))
    signal_scores: Mapped[Any | None] = mapped_column(sqlalchemy.JSON, default=dict)
    narrative: Mapped[str | None] = mapped_column(sqlalchemy.Text)
    site_type: Mapped[str | None] = mapped_column(sqlalchemy.String(50))
    site_type_confidence: Mapped[float | None] = mapped_column(sqlalchemy.Float)
    security_results: Mapped[Any | None] = mapped_column(sqlalchemy.JSON)
    pages_scanned: Mapped[int | None]
    screenshots_count: Mapped[int | None] = mapped_column(default=0)
    elapsed_seconds: Mapped[float | None] = mapped_column(sqlalchemy.Float)
    errors: Mapped[Any | None] = mapped_column(sqlalchemy.JSON, default=list)
    error_message: Mapped[str | None] = mapped_column(sqlalchemy.Text)
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    created_at: Mapped[datetime | None]
    updated_at: Mapped[datetime | None]
    findings: Mapped[list[OlderFinding]] = relationship(cascade="all, delete-orphan")
    screenshots: Mapped[list[OlderScreenshot]] = relationship(cascade="all, delete-orphan")
    events: Mapped[list[OlderEvent]] = relationship(cascade="all, delete-orphan")
    __table_args__ = (
        sqlalchemy.Index("idx_audits_status", "status"),
        sqlalchemy.Index("idx_audits_trust_score", "trust_score"),
        sqlalchemy.Index("idx_audits_created_at", "created_at"),
        sqlalchemy.Index("idx_audits_url", "url"),
    )


def of_audit() -> Any:
    return mapped_column(
        sqlalchemy.String(16), sqlalchemy.ForeignKey("audits.id", ondelete="CASCADE")
    )


class OlderFinding(Older):
    __tablename__ = "audit_findings"
    id: Mapped[int] = mapped_column(primary_key=True)
    audit_id: Mapped[str] = of_audit()
    pattern_type: Mapped[str] = mapped_column(sqlalchemy.String(100))
    category: Mapped[str | None] = mapped_column(sqlalchemy.String(50))
    severity: Mapped[str] = mapped_column(sqlalchemy.String(20))
    confidence: Mapped[float] = mapped_column(sqlalchemy.Float)
    description: Mapped[str] = mapped_column(sqlalchemy.Text)
    plain_english: Mapped[str | None] = mapped_column(sqlalchemy.Text)
    screenshot_index: Mapped[int | None]
    created_at: Mapped[datetime | None]
    __table_args__ = (
        sqlalchemy.Index("idx_findings_audit_id", "audit_id"),
        sqlalchemy.Index("idx_findings_pattern_type", "pattern_type"),
    )


class OlderScreenshot(Older):
    __tablename__ = "audit_screenshots"
    id: Mapped[int] = mapped_column(primary_key=True)
    audit_id: Mapped[str] = of_audit()
    file_path: Mapped[str] = mapped_column(sqlalchemy.Text)
    label: Mapped[str] = mapped_column(sqlalchemy.Text)
    index_num: Mapped[int]
    file_size_bytes: Mapped[int | None]
    created_at: Mapped[datetime | None]
    __table_args__ = (sqlalchemy.Index("idx_screenshots_audit_id", "audit_id"),)


class OlderEvent(Older):
    __tablename__ = "audit_events"
    id: Mapped[int] = mapped_column(primary_key=True)
    audit_id: Mapped[str] = of_audit()
    event_type: Mapped[str] = mapped_column(sqlalchemy.String(100))
    data: Mapped[Any | None] = mapped_column(sqlalchemy.JSON)
    timestamp: Mapped[datetime | None]
    __table_args__ = (sqlalchemy.Index("idx_events_audit_id", "audit_id"),)


def write_with_the_older_code(path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    Older.metadata.create_all(engine)
    with Session(engine) as session:
        for number, status in enumerate(OlderStatus):
            audit = OlderAudit(
                id=f"vrts_{number:011d}",
                url=f"https://example.com/{number}",
                status=status,
                signal_scores={"visual": number * 10.0},
                narrative="é" * number,
                created_at=datetime(2025, 1, 1 + number, 12, 0, 0, 123),
                updated_at=datetime(2025, 1, 1 + number, 13, 0, 0),
            )
            audit.findings = [
                OlderFinding(
                    pattern_type="nagging", severity="medium", confidence=0.5, description="it nags"
                )
                for _ in range(number)
            ]
            audit.screenshots = [
                OlderScreenshot(
                    file_path=f"C:\\data\\screenshots\\{audit.id}\\t{shot}.png",
                    label=f"t{shot}",
                    index_num=shot,
                    file_size_bytes=100,
                )
                for shot in range(number)
            ]
            audit.events = [
                OlderEvent(event_type="log_entry", data={"n": 1}),
                OlderEvent(event_type="log_entry", data=None),
            ]
            session.add(audit)
        session.commit()
    engine.dispose()
