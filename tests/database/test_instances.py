"""Instances made from plain rows are those that Peewee would make."""

import gc

import pytest
from peewee import ModelSelect, fn

from tests.support.invariants import check_invariants
from veritas_peewee import Audit, AuditEvent, AuditFinding, AuditScreenshot, connect, sync
from veritas_peewee.database.instances import models_of
from veritas_peewee.database.statements import execute, text_of, whole


def peewees_own(model, *fields):
    """A query whose rows Peewee itself makes instances."""
    return ModelSelect(model, fields or model._meta.sorted_fields, is_default=not fields)


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
        own = list(peewees_own(model).order_by(model.id))
        assert [one.__data__ for one in made] == [one.__data__ for one in own]
        assert [vars(one).keys() | {"_dirty"} for one in made] == [vars(one).keys() for one in own]
        assert made == own


@pytest.mark.parametrize(
    "fields",
    [
        lambda: (),
        lambda: (AuditFinding.severity, AuditFinding.audit, AuditFinding.id),
        lambda: (AuditFinding.audit_id, AuditFinding.created_at),
        # What follows is left to Peewee.
        lambda: (AuditFinding.id, AuditFinding.id),
        lambda: (AuditFinding.id, AuditFinding.severity.alias("level")),
        lambda: (AuditFinding.id, AuditFinding.created_at.converter(str)),
        lambda: (fn.COUNT(AuditFinding.id).alias("count"), AuditFinding.audit),
    ],
)
def test_the_rows_of_a_query_are_what_peewee_makes_of_them(audit, fields):
    ours = list(AuditFinding.select(*fields()).order_by(AuditFinding.id))
    own = list(peewees_own(AuditFinding, *fields()).order_by(AuditFinding.id))
    assert [one.__data__ for one in ours] == [one.__data__ for one in own]
    assert [vars(one).keys() | {"_dirty"} for one in ours] == [
        vars(one).keys() | {"_dirty"} for one in own
    ]
    assert not any(one.is_dirty() for one in ours)


def test_a_joined_query_gives_both_models(audit):
    query = AuditFinding.select(AuditFinding, Audit).join(Audit)
    assert {one.audit.url for one in query} == {"https://example.com"}
    other = Audit.alias()
    (found,) = Audit.select(Audit.id, other.url).join(other, on=(Audit.id == other.id))
    assert found.id == audit.id


def test_a_row_leaves_the_instance_and_its_columns_to_the_garbage_collection(audit):
    list(AuditFinding.select().limit(2))
    gc.collect()
    before = len(gc.get_objects())
    found = list(AuditFinding.select())
    assert len(gc.get_objects()) - before < 2.5 * len(found)


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
