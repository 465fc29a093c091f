"""What a caller's own TEMP trigger changes while the store writes is sealed with what it wrote."""

from __future__ import annotations

import pytest

from veritas_peewee import AuditStore, InvalidAudit, connect, sync
from veritas_peewee.database.current import current_database
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.testing import make_event, make_finding

WHOLE = [
    make_event("phase_start"),
    make_event("finding", finding=make_finding(1)),
    make_event("screenshot", index=1),
    make_event("stats_update", stats={"pages_scanned": 3}),
    make_event("log_entry"),
    make_event("security_result"),
    make_event("audit_result"),
    make_event("finding", finding=make_finding(2, description="two")),
    make_event("screenshot", index=2),
    make_event("audit_complete"),
    make_event("log_entry"),
    make_event("finding", finding=make_finding(3, description="three")),
]
AFTER = [
    "INSERT ON main.audits", "INSERT ON main.audit_events", "INSERT ON main.audit_findings",
    "INSERT ON main.audit_screenshots", "INSERT ON main.audit_runners",
    "UPDATE OF status ON main.audits", "UPDATE OF pages_scanned ON main.audits",
    "UPDATE OF screenshots_count ON main.audits",
]  # fmt: skip
CHANGES = [
    "UPDATE audits SET narrative = coalesce(narrative, '') || 'x' WHERE id = {audit}",
    "UPDATE audits SET narrative = coalesce(narrative, '') || 'x' WHERE id <> {audit}",
    "UPDATE audits SET url = 'https://t.example/' WHERE id = {audit}",
    "UPDATE audit_findings SET plain_english = 't' WHERE audit_id = {audit}",
    "INSERT INTO audit_findings (audit_id, pattern_type, severity, confidence, description) "
    "SELECT {audit}, 'p', 'low', 0.5, 'by trigger' "
    "WHERE (SELECT count(*) FROM audit_findings WHERE audit_id = {audit}) < 2",
    "DELETE FROM audit_screenshots WHERE audit_id = {audit}",
    "UPDATE audits SET status = 'completed' WHERE id = {audit} AND status = 'running'",
]


def trigger(after: str, change: str) -> str:
    audit = "NEW.id" if after.endswith("audits") else "NEW.audit_id"
    return f"CREATE TEMP TRIGGER mine AFTER {after} BEGIN {change.format(audit=audit)}; END"


@pytest.mark.parametrize("at_once", [1, 5])
@pytest.mark.parametrize("after", AFTER)
async def test_each_audit_stays_as_it_is_sealed(tmp_path, after, at_once):
    for number, change in enumerate(CHANGES):
        async with AuditStore.open(tmp_path / f"{number}.db") as store:

            def make(sql: str = trigger(after, change)) -> None:
                current_database().execute_sql(sql)

            await store.create("https://other.example/", id="b")
            await store.write(make)
            await store.create("https://example.com", id="a")
            for start in range(0, len(WHOLE), at_once):
                if at_once == 1:
                    await store.record("a", WHOLE[start])
                else:
                    await store.record_many("a", WHOLE[start : start + at_once])
                assert [await store.verify(one) for one in "ab"] == [[], []], (change, start)


def test_also_in_a_script_and_of_a_trigger_that_is_gone_with_its_transaction(path):
    with connect(path) as opened:
        opened.execute_sql(trigger(AFTER[0], CHANGES[0]))
        sync.create("https://example.com", id="a")
        opened.execute_sql("DROP TRIGGER mine")
        with opened.atomic():
            opened.execute_sql(
                trigger(AFTER[0], CHANGES[0]).replace("TEMP ", "").replace("main.", "")
            )
            sync.create("https://example.com", id="b")
            opened.execute_sql("DROP TRIGGER mine")
        for one in "ab":
            assert sync.get(one).narrative == "x"
            sync.record(one, WHOLE[0])
        assert verify().problems == []


def test_one_that_refuses_an_audit_does_not_say_that_there_is_one(path):
    refuses = (
        "CREATE TEMP TRIGGER mine BEFORE INSERT ON main.audits BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with connect(path) as opened:
        opened.execute_sql(refuses)
        with pytest.raises(Exception, match=r"\bno\b") as told:
            sync.create("https://example.com", id="a")
        assert not isinstance(told.value, InvalidAudit)
