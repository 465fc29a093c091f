"""Peewee's own questions to JSON columns, and its changes of part of one, have one answer."""

from __future__ import annotations

from typing import Any

import pytest

from veritas_peewee import Audit, AuditEvent, sync
from veritas_peewee.recording import operations


@pytest.fixture
def audit_id(script: Any) -> str:
    audit = operations.create("https://example.com")
    operations.update(
        audit.id,
        signal_scores={"visual": 53.5, "it's odd": 7.0},
        security_results={"headers": {"score": "12", "missing": ["csp", "hsts"]}, "none": None},
        errors=["one", "two"],
    )
    return audit.id


def test_a_part_is_read_as_the_value_that_it_is(audit_id: str) -> None:
    headers = Audit.security_results["headers"]
    parts = (
        Audit.signal_scores["visual"], Audit.signal_scores["it's odd"], headers["score"],
        headers["missing"], headers["missing"][1], Audit.errors[0], headers["absent"],
        headers["score"].as_text(), Audit.security_results["none"],
    )  # fmt: skip
    (found,) = Audit.select(*(part.alias(f"part{n}") for n, part in enumerate(parts))).tuples()
    assert found == (53.5, 7.0, "12", ["csp", "hsts"], "hsts", "one", None, "12", None)


def test_a_part_is_compared(audit_id: str) -> None:
    headers = Audit.security_results["headers"]
    right = (
        headers["score"] == "12",
        headers["score"] != "13",
        headers["score"].in_(["11", "12"]),
        headers["score"].as_int() > 5,
        Audit.signal_scores["visual"].as_float() > 53.25,
        headers["absent"].is_null(),
        Audit.security_results["none"].is_null(),
        Audit.errors.length() == 2,
        headers["missing"].length() == 2,
        Audit.security_results.has_key("headers"),
        Audit.security_results.has_keys(["headers", "none"]),
        Audit.security_results.has_any_keys(["other", "none"]),
        headers["missing"].contains("csp"),
        Audit.errors.contains(["two"]),
    )
    for number, condition in enumerate(right):
        assert Audit.select().where(condition).count() == 1, number
        assert Audit.select().where(~condition).count() == 0, number
    assert AuditEvent.select().where(AuditEvent.data["type"] == "audit_update").count() == 1


def test_a_part_is_what_rows_are_grouped_by(audit_id: str) -> None:
    kind = AuditEvent.data["type"]
    assert list(AuditEvent.select(kind.as_text()).group_by(kind.as_text()).tuples()) == [
        ("audit_update",)
    ]


def test_a_change_of_a_part_is_sealed(audit_id: str) -> None:
    headers = Audit.security_results["headers"]
    Audit.update(security_results=headers["score"].set("13")).execute()
    Audit.update(security_results=Audit.security_results["none"].remove()).execute()
    Audit.update(security_results=headers["missing"].append("xfo")).execute()
    Audit.update(errors=Audit.errors.append("three")).execute()
    found = sync.get(audit_id)
    assert found.security_results == {"headers": {"score": "13", "missing": ["csp", "hsts", "xfo"]}}
    assert found.errors == ["one", "two", "three"]
    assert sync.verify(audit_id) == []
