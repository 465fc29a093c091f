"""A user's program for type checkers; nobody runs it.

Both of them must refuse the lines that end in `# refused`, and no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack, assert_type

from peewee import Expression, fn

from veritas_peewee import (
    Audit,
    AuditChanges,
    AuditEvent,
    AuditFinding,
    AuditScreenshot,
    AuditStatus,
    AuditStore,
    Comparison,
    Facets,
    Filters,
    Hit,
    Page,
    Severity,
    Trend,
    connect,
)
from veritas_peewee.queries import history
from veritas_peewee.recording import operations


async def backend(events: list[dict[str, Any]], result: Mapping[str, Any]) -> None:
    async with AuditStore.open() as store:
        audit = await store.create("https://example.com")
        assert_type(audit, Audit)
        started = {"type": "phase_start", "phase": "scout", "message": "…", "pct": 0}
        assert_type(await store.record(audit.id, started), int)
        assert_type(await store.record_many(audit.id, events), list[int])
        assert_type(await store.ingest(dict(result)), Audit)
        assert_type(await store.ingest(Path("result.json")), Audit)
        audit = await store.get(audit.id)
        audit = await store.update(audit.id, trust_score=44.0)
        audit = await store.update(audit.id, trust_score=44, risk_level=None, errors=["late"])
        audit = await store.update(audit.id, status=AuditStatus.ERROR, completed_at=None)
        audit = await store.update(audit.id, status="completed", signal_scores={"visual": 12})
        await store.update_status(audit.id, AuditStatus.ERROR, error_message="…")
        await store.update_status(audit.id, "error")
        page = await store.history(
            status="completed", risk_level=None, url=None, site_type=None,
            min_score=None, max_score=None, since=None, until=None,
            limit=20, cursor=None,
        )  # fmt: skip
        assert_type(page, Page[Audit])
        assert_type(page.items[0].trust_score, float | None)
        page = await store.history(status=AuditStatus.QUEUED, min_severity=Severity.HIGH)
        page = await store.history(since="7d", until=datetime.now(UTC), order="lowest")

        assert_type(await store.compare([audit.id, "vrts_0"]), Comparison)
        assert_type(await store.trend(url="https://example.com"), Trend)
        hits = await store.search('"hidden cancel" -newsletter', min_severity="high", cursor=None)
        assert_type(hits, Page[Hit])
        assert_type(await store.count(status="completed"), int)
        assert_type(await store.facets(), Facets)
        async for event in store.follow(audit.id, after=None):
            assert_type(event, AuditEvent)
            assert_type(event.id, int)
            assert_type(event.data, dict[str, Any] | None)
        assert_type(await store.events(audit.id), list[AuditEvent])
        await store.export("audits.jsonl", status="completed", order="oldest")

        await store.write(
            lambda: Audit.update(risk_level="trusted").where(Audit.trust_score >= 90).execute()
        )
        rows = await store.read(
            lambda: list(Audit.select().where(Audit.url.contains("example")))
        )  # fmt: skip
        assert_type(rows, list[Audit])
        await store.delete(audit.id)

        await store.update(audit.id, trust_scoer=3)  # refused
        await store.update(audit.id, trust_score="44")  # refused
        await store.update(audit.id, status="compleeted")  # refused
        await store.update(audit.id, url=None)  # refused
        await store.update(audit.id, created_at=datetime.now(UTC))  # refused
        await store.update_status(audit.id, "compleeted")  # refused
        await store.history(status="compleeted")  # refused
        await store.history(statsu="completed")  # refused
        await store.history(min_severity="grave")  # refused
        await store.history(min_score="40")  # refused
        await store.history(order="newst")  # refused
        await store.search("cancel", status="compleeted")  # refused
        await store.count(status="compleeted")  # refused
        await store.facets(min_severity="grave")  # refused
        await store.export("audits.jsonl", status="compleeted")  # refused


def attributes(audit: Audit, finding: AuditFinding, shot: AuditScreenshot) -> None:
    assert_type(audit.id, str)
    assert_type(audit.status, AuditStatus)
    assert_type(audit.trust_score, float | None)
    assert_type(audit.narrative, str | None)
    assert_type(audit.signal_scores, dict[str, float])
    assert_type(audit.errors, list[str])
    assert_type(audit.pages_scanned, int)
    assert_type(audit.started_at, datetime | None)
    assert_type(audit.created_at, datetime)
    assert_type(finding.id, int)
    assert_type(finding.severity, Severity)
    assert_type(finding.audit, Audit)
    assert_type(finding.audit_id, str)
    assert_type(finding.digest, bytes | None)
    assert_type(shot.file_size_bytes, int | None)
    if audit.status == "completed" and audit.trust_score is not None:
        print(audit.trust_score + 1, f"{audit.created_at:%Y}", finding.severity.upper())

    text: str = audit.trust_score  # refused
    number: int = audit.created_at  # refused
    print(audit.trust_score + 1)  # refused
    print(audit.started_at.year)  # refused
    print(audit.trust_scoer)  # refused
    print(finding.audit.sttaus)  # refused
    audit.trust_score = "44"  # refused
    audit.narrative = 3  # refused
    audit.created_at = None  # refused
    audit.errors = ["late", 3]  # refused
    shot.index_num = "0"  # refused
    print(text, number)


def rows(audit: Audit) -> None:
    for finding in audit.findings:
        assert_type(finding, AuditFinding)
    assert_type(audit.findings[0], AuditFinding)
    assert_type(audit.screenshots[:3], list[AuditScreenshot])
    assert_type(len(audit.findings), int)
    worst = sorted(audit.findings, key=lambda row: row.confidence)
    audit.findings = worst
    if not audit.findings:
        audit.findings = []
    for event in audit.events:
        assert_type(event.timestamp, datetime | None)

    print(audit.findings[0].severty)  # refused
    print(audit.findings.confidence)  # refused
    audit.findings = 3  # refused
    audit.findings = [Audit()]  # refused


def script() -> None:
    with connect("data/veritas_audits.db"):
        completed = Audit.select().where(Audit.status == AuditStatus.COMPLETED)
        for audit in completed.order_by(Audit.created_at.desc()):
            assert_type(audit, Audit)
            print(audit.url, audit.trust_score, audit.findings.count())
            for finding in audit.findings.where(AuditFinding.severity == "high"):
                assert_type(finding, AuditFinding)
        assert_type(Audit.get_by_id("vrts_0"), Audit)
        assert_type(Audit.get_or_none(Audit.id == "vrts_0"), Audit | None)
        assert_type(Audit.select().count(), int)
        audit = Audit.create(
            url="https://example.com", status="queued", created_at=datetime.now(UTC)
        )
        assert_type(audit, Audit)
        audit.status = AuditStatus.RUNNING
        audit.save()
        finding = AuditFinding(
            audit=audit, pattern_type="nagging", severity="low", confidence=1, description="nags"
        )
        finding.save()
        assert_type(AuditScreenshot.create(audit_id=audit.id, file_path="x.png"), AuditScreenshot)
        assert_type(Audit.trust_score >= 90, Expression)
        query = Audit.select(Audit.site_type, fn.AVG(Audit.trust_score).alias("mean"))
        query = query.where(
            Audit.status.in_(["completed", "error"])
            & (Audit.trust_score.is_null() | ~(Audit.url == "https://example.com"))
        )
        print(list(query.join(AuditFinding).group_by(Audit.site_type).tuples()))
        Audit.update(risk_level="trusted").where(Audit.trust_score >= 90).execute()
        Audit.delete().where(Audit.created_at < datetime.now(UTC)).execute()

        created = operations.create("https://example.com")
        operations.update(created.id, trust_score=44)
        operations.update_status(created.id, "completed")
        assert_type(history.history(status="completed"), Page[Audit])

        operations.update(created.id, trust_scoer=3)  # refused
        operations.update_status(created.id, "compleeted")  # refused
        history.history(status="compleeted")  # refused
        print(Audit.trust_scoer >= 90)  # refused
        print(Audit.trust_score.descend())  # refused
        print(Audit.get_by_id("vrts_0").sttaus)  # refused
        Audit(urll="https://example.com")  # refused
        Audit.create(url="https://example.com", trust_score="44")  # refused
        AuditFinding(audit=3)  # refused
        AuditFinding.create(audit=audit, severity="grave")  # refused
        AuditEvent.create(audit=audit, data="{}")  # refused


async def wrapped(store: AuditStore, id: str, **changes: Unpack[AuditChanges]) -> Audit:
    changes["trust_score"] = "44"  # refused
    return await store.update(id, **changes)


async def counted(store: AuditStore, **filters: Unpack[Filters]) -> int:
    filters["status"] = "compleeted"  # refused
    return await store.count(**filters)
