"""Questions with odd values are answered, or refused by name, on a server as in a file."""

from __future__ import annotations

from typing import Any

import pytest

from veritas_peewee import Audit, InvalidAudit, sync
from veritas_peewee.queries.counting import count, facets
from veritas_peewee.queries.history import history
from veritas_peewee.queries.paging import write_cursor
from veritas_peewee.recording import operations, recorder
from veritas_peewee.testing import make_event, make_finding


@pytest.mark.parametrize("score", [2**70, -(2**70), 1e300, -1e300])
def test_a_bound_on_scores_may_be_any_finite_number(script: Any, score: float) -> None:
    audit_id = operations.create("https://example.com").id
    operations.update(audit_id, trust_score=50)
    for filters, found in (({"min_score": score}, score < 0), ({"max_score": score}, score > 0)):
        assert len(history(**filters).items) == found
        assert count(**filters) == facets(**filters).total == found


@pytest.mark.parametrize("position", [[5, "x"], ["x", 5], [1e9, "a"], [{"$blob": "ff"}, "a"]])
def test_a_cursor_of_values_of_other_types_is_read_or_refused(script: Any, position: Any) -> None:
    """In a file another program can have stored any type, so a page can have ended there."""
    operations.create("https://example.com")
    if script.backend == "sqlite":
        assert len(history(cursor=write_cursor(position)).items) < 2
    else:
        with pytest.raises(InvalidAudit, match="cursor: is not one"):
            history(cursor=write_cursor(position))


@pytest.mark.parametrize("position", [["a\0", "b"], [1.5, "a\0", "b"], ["x", "y", "z"]])
def test_a_cursor_of_texts_that_are_none_is_read_or_refused(script: Any, position: Any) -> None:
    operations.create("https://example.com")
    order: Any = "highest" if len(position) > 2 else "newest"
    if script.backend == "sqlite":
        assert len(history(cursor=write_cursor(position), order=order).items) < 2
    else:
        with pytest.raises(InvalidAudit, match="cursor: is not one"):
            history(cursor=write_cursor(position), order=order)


def test_a_finding_s_own_id_may_be_as_long_as_any(script: Any) -> None:
    """An index of a server holds a few thousand bytes of it."""
    audit_id = operations.create("https://example.com").id
    # What compresses badly, for a server compresses an entry of an index.
    long = "".join(chr(33 + number * 7919 % 50_000) for number in range(9000))
    for own in (long, long, long[:-1] + "!", "short"):
        recorder.record(audit_id, make_event("finding", finding=make_finding(1, id=own)))
    told = make_finding(1, id=long, description="in other words")
    recorder.record(audit_id, make_event("finding", finding=told))
    by_its_words = {one.description for one in sync.get(audit_id).findings}
    assert "in other words" not in by_its_words


def test_texts_of_any_length_are_stored_and_found(script: Any) -> None:
    host = "a." * 300 + "example"
    for url in (f"https://{host}/", "https://example.com/" + "\u00e9" * 20_000):
        audit_id = operations.create(url).id
        assert [one.id for one in history(url=url).items] == [audit_id]
        assert count(url=url) == 1
    assert count(host=host) == 1


def test_a_moment_in_a_caller_s_own_sql_has_the_stored_form(script: Any) -> None:
    audit = operations.create("https://example.com")
    Audit.update(status="completed").where(Audit.id == audit.id).execute()
    (stored,) = script.execute_sql("SELECT completed_at FROM audits").fetchone()
    assert len(stored) == len("2026-01-31 10:00:00.000000")
    assert Audit.select().where(Audit.created_at <= sync.get(audit.id).completed_at).count() == 1
