"""Instances made from plain rows are those that Peewee would make."""

import pytest

from tests.support.invariants import check_invariants
from veritas_peewee import Audit, AuditEvent, AuditFinding, AuditScreenshot, connect, sync
from veritas_peewee.database.instances import models_of
from veritas_peewee.database.statements import execute, text_of, whole

MODELS = (Audit, AuditFinding, AuditScreenshot, AuditEvent)


@pytest.fixture
def audit(tmp_path):
    with connect(tmp_path / "audits.db"):
        audit = sync.create("https://example.com", options={"a": [1, None]})
        findings = [{"pattern_type": f"p{n}", "severity": "high"} for n in range(130)]
        sync.record_many(audit.id, [{"type": "finding", "finding": one} for one in findings])
        yield audit
        check_invariants()


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 128, 130])
def test_each_row_gives_one_instance_in_order(audit, count):
    rows = execute(text_of(whole(AuditFinding)), ())[:count]
    made = models_of(AuditFinding, rows)
    assert [one.pattern_type for one in made] == [f"p{n}" for n in range(count)]
    assert [one.audit_id for one in made] == [audit.id] * count


def test_they_have_what_peewees_own_have(audit):
    for model in MODELS:
        made = models_of(model, execute(text_of(whole(model)), ()))
        own = list(model.select().order_by(model.id))
        assert [one.__data__ for one in made] == [one.__data__ for one in own]
        assert [vars(one).keys() | {"_dirty"} for one in made] == [vars(one).keys() for one in own]
        assert made == own


def test_a_row_of_too_few_or_too_many_columns_is_refused(audit):
    (row, *_) = execute(text_of(whole(AuditEvent)), ())
    for wrong in (row[:-1], (*row, 1)):
        with pytest.raises(TypeError):
            models_of(AuditEvent, [wrong])


def test_children_name_their_owner(audit):
    found = sync.get(audit.id)
    assert len(found.findings) == 130
    for one in found.findings:
        assert one.audit is found
        assert one.audit_id == audit.id
    assert found.findings[0].__data__ == AuditFinding.select().first().__data__


def test_an_instance_knows_what_of_it_was_changed(audit):
    found = sync.get(audit.id)
    assert not found.is_dirty()
    assert not found.findings[0].is_dirty()
    found.narrative = "changed"
    assert found.dirty_fields == [Audit.narrative]
    found.save()
    assert not found.is_dirty()
    assert sync.get(audit.id).narrative == "changed"
    another = sync.get(audit.id)
    assert not another.is_dirty()  # it is not the class that remembers
