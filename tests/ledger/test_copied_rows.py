"""What a script copies by the models gets digests and seals of its own, and what it replaces is
noted as removed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from veritas_peewee import Audit, connect, sync
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditEvent, AuditFinding, AuditScreenshot, RemovedAudit
from veritas_peewee.testing import make_event, make_finding


def copied(row):
    return {name: value for name, value in row.__data__.items() if name != "id"} | {"audit": "b"}


WAYS = {
    "insert": lambda model, row: model.insert(copied(row)).execute(),
    "insert by names": lambda model, row: model.insert(**copied(row)).execute(),
    "insert by fields": lambda model, row: model.insert(
        {model._meta.fields[key]: one for key, one in copied(row).items()}
    ).execute(),
    "create": lambda model, row: model.create(**copied(row)),
    "many": lambda model, row: model.insert_many([copied(row), copied(row)]).execute(),
    "many one by one": lambda model, row: model.insert_many(iter([copied(row)])).execute(),
    "many values": lambda model, row: model.insert_many(
        [tuple(copied(row).values())], fields=[model._meta.fields[key] for key in copied(row)]
    ).execute(),
    "bulk": lambda model, row: model.bulk_create([model(**copied(row))]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", [AuditFinding, AuditScreenshot, AuditEvent])
def test_a_copy_of_another_audit_s_row_is_sealed_as_the_row_that_it_is(script, model, way):
    for one in "ab":
        sync.create("https://example.com", id=one)
        sync.record(one, make_event("finding", finding=make_finding(1)))
        sync.record(one, make_event("screenshot"))
    WAYS[way](model, model.select().where(model.audit == "a").get())
    sync.record("b", make_event("audit_complete"))
    assert verify().problems == []


@pytest.mark.parametrize("then", ["later", "at once"])
def test_an_audit_that_replaces_another_has_a_log_of_its_own(path, then):
    with connect(path) as opened:
        sync.create("https://example.com", id="a")
        sync.record("a", make_event("finding", finding=make_finding(1)))
        now = datetime.now(UTC)
        with opened.atomic():
            Audit.replace(
                id="a", url="https://x.example/", created_at=now, updated_at=now
            ).execute()
            if then == "at once":
                sync.record("a", make_event("phase_start"))
        sync.record("a", make_event("audit_complete"))
        assert verify().problems == []
        assert [one.audit_id for one in RemovedAudit.select()] == ["a"]
