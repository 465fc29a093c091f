"""An import takes what the store's own writes would have stored, and an export names the rest."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.support.audits import fill
from tests.support.forging import forged
from tests.support.older_store import ONE_AUDIT
from veritas_peewee import InvalidAudit, connect
from veritas_peewee.database import current
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.ledger.stored import AUDIT, EVENT, FINDING, SCREENSHOT
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot
from veritas_peewee.queries import lookups
from veritas_peewee.recording import operations, recorder, removal
from veritas_peewee.testing import make_png
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl

BLOB, REAL = {"$blob": "AP8="}, {"$real": "inf"}
DEEP = "[" * 201 + "]" * 201
TEXTS = [5, 1.5, True, [], BLOB, REAL, "a\0b", "\ud800"]
MOMENTS = [
    "hello", "", "2026", "2026-01-31", "2026-01-31 18:00:00", "2026-01-31T18:00:00.000000",
    "2026-01-31 18:00:00.000000+00:00", "2026-01-31 18:00:00.000000Z",
    "2026-13-31 18:00:00.000000", "0000-01-01 00:00:00.000000", "10000-01-01 00:00:00.000000",
    "1769882400", 5, 1.5, True, [], BLOB, REAL,
]  # fmt: skip
JSON = [
    5, "x", True, BLOB, REAL, {"$text": "[" * 100_000}, {"$text": "not json"}, {"$text": ""},
    {"$text": '{"a":NaN}'}, {"$text": '{"a":1e999}'}, {"$text": '{"a":"\\u0000"}'},
    {"$text": '{"a":"\\ud800"}'}, {"$text": f'{{"a":{DEEP}}}'}, {"$text": f"[{DEEP}]"},
    {"$text": 5}, {"$other": 1}, {"$text": "5"}, {"$text": '{"a":' + "1" * 5000 + "}"},
]  # fmt: skip
OWN: dict[str, list[Any]] = {
    "id": ["", ".x", "a/b", "a b", "a\nb", "..", "x" * 17, "é"],
    "url": ["", "x", "javascript:alert(1)", "data:text/html,x", "//x.example", "http://",
            "https://a b.example", "https://[x", "ftp://x.example"],
    "signal_scores": [{"a": 101}, {"a": -1}, {"a": "x"}, {"a": None}, {"a": True}, [1]],
    "errors": [{"a": "b"}, [5], [None], ["a\0b"], {"$text": "{}"}],
    "security_results": [[1]],
    "data": [[1]],
    "event_type": [""],
    "severity": ["evil", "HIGH", ""],
    "status": ["odd", "COMPLETED", ""],
    "media_type": ["text/html", "image/svg+xml", "image/gif", "IMAGE/PNG", ""],
    "sha256": ["", "x" * 64, "A" * 64, "0" * 63],
    "file_path": ["", "/etc/passwd", "../a.png", "a/../../b.png", "a\\b.png", "a/b.html",
                  "a/.png", "a\nb.png", "a" * 1000 + ".png"],
    "trust_score": [1e308, 101.0, -0.5], "site_type_confidence": [1.5, -1.0],
    "confidence": [-7.0, 1.01], "elapsed_seconds": [-1.0], "pages_scanned": [-1],
    "screenshots_count": [-1], "screenshot_index": [-2], "index_num": [-1],
    "file_size_bytes": [-1],
}  # fmt: skip
PARTS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "audit": (Audit, AUDIT[:-2]),
    "findings": (AuditFinding, FINDING[1:-1]),
    "screenshots": (AuditScreenshot, SCREENSHOT[1:-1]),
    "events": (AuditEvent, EVENT[1:-1]),
}


def bad_values(field: Any) -> Iterator[Any]:
    """Values that no write of the store would store in a column."""
    if isinstance(field, peewee.JSONField):
        yield from JSON
    elif isinstance(field, peewee.DateTimeField):
        yield from MOMENTS
    elif isinstance(field, peewee.FloatField):
        yield from ("5", True, [], BLOB, REAL)  # 5 is 5.0, as SQLite has it in such a column
    elif isinstance(field, peewee.IntegerField):
        yield from ("5", True, [], BLOB, REAL, 1.5, 2**63)
    else:
        yield from TEXTS
        if longest := getattr(field, "max_length", None):
            yield "x" * (longest + 1)
    yield from OWN.get(field.name, ())
    if not field.null:
        yield None


CASES = [
    pytest.param(part, name, value, id=f"{part}.{name}={value!a:.24}")
    for part, (model, names) in PARTS.items()
    for name in names
    for value in bad_values(model._meta.fields[name])
]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with connect(tmp_path_factory.mktemp("source") / "audits.db"):
        (ended, _) = fill(1)
        target = io.BytesIO()
        assert export_jsonl(target, ids=[ended]).ok
    found: dict[str, Any] = json.loads(target.getvalue())
    return found


@pytest.fixture(scope="module")
def emptied() -> Iterator[Any]:
    """A store that is empty before each import."""
    with connect(":memory:") as opened:
        yield opened


@pytest.mark.parametrize(("part", "name", "value"), CASES)
def test_what_no_write_would_store_is_refused_by_its_column(emptied, line, part, name, value):
    def change(found: dict[str, Any]) -> None:
        (found["audit"] if part == "audit" else found[part][0])[name] = value

    done = import_jsonl(io.BytesIO(forged(line, change)))
    assert (done.audits, done.refused) == (0, 1)
    (problem,) = done.problems
    assert (
        name.removesuffix("_path").replace("file", "screenshot path") in problem or name in problem
    )
    assert Audit.select().count() == 0


def test_a_line_that_was_forged_with_sound_values_is_taken(emptied, line):
    done = import_jsonl(io.BytesIO(forged(line, lambda found: found["audit"].update(id="x"))))
    assert (done.problems, done.audits) == ([], 1)
    removal.delete("x")


def test_an_image_of_another_type_than_its_row_states_is_refused(emptied, line):
    def change(found: dict[str, Any]) -> None:
        found["screenshots"][0]["media_type"] = "image/webp"

    (problem,) = import_jsonl(io.BytesIO(forged(line, change))).problems
    assert "media_type: image/webp, but its image is image/png" in problem


# ---- ids of events ----


def test_an_id_without_room_for_later_ones_is_not_kept(emptied, line):
    def change(found: dict[str, Any]) -> None:
        found["audit"]["id"] = "late"
        found["events"][-1]["id"] = 2**53

    done = import_jsonl(io.BytesIO(forged(line, change)))
    assert (done.problems, done.new_ids) == ([], len(line["events"]))
    later = operations.create("https://later.example").id
    recorder.record(later, {"type": "phase_start"})
    again = io.BytesIO()
    assert export_jsonl(again).ok
    again.seek(0)
    with connect(":memory:"):
        assert import_jsonl(again).ok
    for one in ("late", later):
        removal.delete(one)


def test_an_id_with_room_is_kept(line):
    def change(found: dict[str, Any]) -> None:
        found["events"][-1]["id"] = 2**52

    with connect(":memory:"):
        assert import_jsonl(io.BytesIO(forged(line, change))).new_ids == 0
        assert lookups.events(line["audit"]["id"])[-1].id == 2**52


# ---- both sides of the door agree ----


odd_text = st.text(max_size=20) | st.sampled_from(["https://x.example", "javascript:x", "", "a.b"])
number = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 2**63 - 1)
moment = st.datetimes(timezones=st.just(UTC))
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | odd_text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(odd_text, inner, max_size=2),
    max_leaves=6,
)
json_object = st.dictionaries(odd_text, json_value, max_size=2)


def columns(**values: Any) -> Any:
    return st.fixed_dictionaries({}, optional=values)


@settings(max_examples=amount(20, 60), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    columns(
        id=st.text("abc./ é", min_size=1, max_size=4), url=odd_text, status=st.sampled_from(
            ["queued", "completed", "error"]), audit_tier=odd_text, trust_score=number,
        risk_level=odd_text, signal_scores=st.dictionaries(odd_text, number, max_size=2),
        narrative=odd_text, site_type_confidence=number, security_results=json_object,
        pages_scanned=st.integers(-3, 3), elapsed_seconds=number,
        errors=st.lists(json_value, max_size=2), started_at=moment, created_at=moment,
    ),
    columns(pattern_type=odd_text, category=odd_text, severity=st.just("low"),
            confidence=number, description=odd_text, screenshot_index=st.integers(-3, 3)),
    columns(file_path=odd_text, label=odd_text, index_num=st.integers(-1, 3), media_type=odd_text,
            sha256=odd_text, file_size_bytes=st.integers(-1, 3)),
    columns(event_type=odd_text, data=json_object, timestamp=moment),
)  # fmt: skip
def test_an_import_refuses_of_peewee_s_rows_what_the_export_has_named(
    emptied, audit, finding, screenshot, event
):
    with suppress(InvalidAudit, peewee.IntegrityError), emptied.atomic():
        made = Audit.create(**{"url": "https://x.example", **audit})
        AuditFinding.create(
            audit=made,
            **{
                "pattern_type": "x",
                "severity": "low",
                "confidence": 1,
                "description": "",
                **finding,
            },
        )
        AuditScreenshot.create(
            audit=made, **{"file_path": "x.png", "label": "x", "index_num": 0, **screenshot}
        )
        AuditEvent.create(audit=made, **{"event_type": "x", "data": {}, **event})
        recorder.record(made.id, {"type": "note"})
    target = io.BytesIO()
    named = list(export_jsonl(target, images=False).problems)
    assert all("an import will refuse it" in text for text in named)
    target.seek(0)
    with connect(":memory:"):
        done = import_jsonl(target)
        assert done.refused == len(named), (named, done.problems)
        assert verify(files=False).problems == []
    Audit.delete().execute()


def test_an_upgraded_older_file_is_taken_along_or_named(tmp_path):
    path = tmp_path / "older" / "audits.db"
    path.parent.mkdir()
    made = driver.connect(path)
    made.executescript(
        ONE_AUDIT + "INSERT INTO audit_findings (audit_id, pattern_type, severity, confidence, "
        "description) VALUES ('old1', 'urgency', 'HIGH', 0.5, 'x'); "
        "INSERT INTO audit_screenshots (audit_id, file_path, label, index_num) "
        "VALUES ('old1', 'C:\\shots\\home.png', 'home', 0); "
        "INSERT INTO audit_events (audit_id, event_type, data, timestamp) "
        "VALUES ('old1', 'x', '{\"a\": 1}', '2026-01-31T18:00:00+01:00'); "
        "INSERT INTO audits (id, url, status) VALUES ('old2', 'about:blank', 'RUNNING');"
    )
    made.close()
    target = io.BytesIO()
    with connect(path):
        report = export_jsonl(target, images=False)
    (problem,) = report.problems
    assert problem.startswith("audit old2: an import will refuse it: audit: url: ")
    target.seek(0)
    with connect(":memory:"):
        done = import_jsonl(target)
        assert (done.audits, done.refused) == (1, 1)
        assert lookups.get("old1").screenshots[0].file_path == "C:\\shots\\home.png"
        assert lookups.events("old1")[0].timestamp == datetime(2026, 1, 31, 17, tzinfo=UTC)


def test_an_image_that_an_import_refuses_is_named_by_the_export(tmp_path):
    with connect(tmp_path / "audits.db"):
        audit_id = operations.create("https://x.example").id
        root = current.screenshot_folder().root
        (root / "x").mkdir(parents=True)
        (root / "x" / "a.png").write_bytes(b"GIF89a")
        (root / "x" / "b.gif").write_bytes(make_png())
        for name in ("x/a.png", "x/b.gif"):
            AuditScreenshot.delete().execute()
            AuditScreenshot.create(audit=audit_id, file_path=name, label="x", index_num=0)
            target = io.BytesIO()
            (problem,) = export_jsonl(target).problems
            assert "an import will refuse it: screenshot 1" in problem
            target.seek(0)
            with connect(":memory:"):
                assert import_jsonl(target).refused == 1
