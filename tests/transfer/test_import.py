"""What `export_jsonl` wrote and `import_jsonl` stored is the same, or is refused by its line."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import subprocess
import sys
import threading
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.support.audits import fill, insert_screenshot
from tests.support.database_files import files_below, verified
from tests.support.events import event, result
from tests.support.processes import KILLED, environment
from veritas_peewee import AuditStore, StoreError, connect
from veritas_peewee.database import current
from veritas_peewee.database.current import current_database
from veritas_peewee.ledger.heads import newest_head
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import Audit, AuditEvent, AuditScreenshot, StoreHead
from veritas_peewee.queries import history, lookups
from veritas_peewee.recording import ingest, operations, recorder, removal
from veritas_peewee.testing import make_event, make_png
from veritas_peewee.transfer import importing
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl

TABLES = ("audits", "audit_findings", "audit_screenshots", "audit_events")


def rows(*, ids: bool = True) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the current database as they are on disk, in the order of what they tell."""
    found = {}
    for table in TABLES:
        cursor = current_database().execute_sql(f"SELECT * FROM {table} ORDER BY id")
        names = [column[0] for column in cursor.description]
        keep_id = table == "audits" or (table == "audit_events" and ids)
        start = 0 if keep_id else 1
        assert names[0] == "id"
        found[table] = sorted((row[start:] for row in cursor), key=repr)
    return found


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return tmp_path / "other" / "audits.db"


@pytest.fixture
def exported(path: Path, ids: list[str], tmp_path: Path) -> Path:
    target = tmp_path / "audits.jsonl"
    with connect(path, read_only=True):
        assert export_jsonl(target).ok
    return target


def lines(exported: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in exported.read_bytes().splitlines()]


def write(exported: Path, *changed: Any) -> Path:
    exported.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in changed))
    return exported


@contextmanager
def checked(database: Path) -> Any:
    """An open database in which all is sound at the end."""
    with connect(database) as opened:
        yield opened
        assert verify().problems == []


# ---- the same again ----


@pytest.mark.parametrize("name", ["audits.jsonl", "audits.jsonl.gz"])
def test_an_import_into_an_empty_store_gives_the_same_rows_files_and_seals(
    path, ids, other, tmp_path, name
):
    with connect(path):
        before, images, head = (
            rows(),
            files_below(current.screenshot_folder().root),
            newest_head(),
        )
        report = export_jsonl(tmp_path / name)
    assert (report.audits, report.findings, report.screenshots, report.events) == (4, 8, 4, 31)
    with checked(other):
        done = import_jsonl(tmp_path / name)
        assert done.ok
        assert (done.audits, done.events, done.screenshots) == (4, 31, 4)
        assert (done.new_ids, done.without_image, done.skipped) == (0, 0, 0)
        assert rows() == before
        assert files_below(current.screenshot_folder().root) == images
        assert newest_head().position == head.position
        recorder.record(ids[3], {"type": "phase_start"})  # and it goes on from there
        assert lookups.events(ids[3])[-1].id == head.position + 1
    assert verified(other).notes == []


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A store to record into and where its exports go."""
    with connect(tmp_path_factory.mktemp("pair") / "audits.db") as source:
        yield source


@settings(
    max_examples=amount(20, 60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(event, max_size=12), result)
def test_any_log_exported_and_imported_gives_the_same_rows_and_seals(pair, events, told):
    audit = operations.create("https://example.com")
    for one in events:
        recorder.record(audit.id, one, lenient=True)
    told = {**told, "url": "https://example.com", "judge_decision": {}}
    wanted = [audit.id, ingest.ingest(told).id]
    exported = io.BytesIO()
    assert export_jsonl(exported, ids=wanted).ok
    for text in exported.getvalue().splitlines():
        json.loads(text, parse_constant=pytest.fail)
    before = {table: [row for row in found if set(row) & set(wanted)]
              for table, found in rows().items()}  # fmt: skip
    exported.seek(0)
    with connect(":memory:"):
        done = import_jsonl(exported)
        assert (done.problems, done.audits) == ([], 2)
        assert rows() == before
        assert verify().problems == []
    for audit_id in wanted:
        removal.delete(audit_id)


def test_the_text_of_json_columns_comes_back_to_the_byte(tmp_path, other):
    texts = ['{"b":1,"a":2}', '{"a": 1}', '{"a":1e5}', '{"a":1.0,"b":0.1}', '{"a":1,"a":2}',
             '{"$text":"x"}', '{"a":"\\u00e9\\u2028"}', '{"a":"é\u2028"}', "{}", None,
             '{"n":123456789012345678901234567890}', '{"a":"<\\/script>"}',
             f'{{"a":{"[" * 199}{"]" * 199}}}']  # fmt: skip
    exported = tmp_path / "x.jsonl"
    with connect(tmp_path / "s" / "audits.db") as database:
        audit_id = operations.create("https://example.com").id
        for text in texts:
            database.execute_sql(
                "INSERT INTO audit_events (audit_id, event_type, data, timestamp) "
                "VALUES (?, 'x', ?, '2026-01-02 03:04:05.000000')",
                (audit_id, text),
            )
        database.execute_sql("UPDATE audits SET signal_scores = '{\"visual\" : 46.50}'")
        assert verify().problems == []
        assert export_jsonl(exported).ok
        before = rows()
    with checked(other):
        assert import_jsonl(exported).problems == []
        assert rows() == before


def test_a_store_that_has_events_gives_others_and_says_how_many(exported, other, path):
    with connect(path):
        before = rows(ids=False)
    with checked(other):
        own = operations.create("https://own.example")
        recorder.record(own.id, {"type": "phase_start"})
        done = import_jsonl(exported)
        assert (done.audits, done.new_ids) == (4, 31)
        after = rows(ids=False)
        for table in TABLES:
            assert set(before[table]) < set(after[table]) or table in TABLES[1:3]
        assert [event.id for event in AuditEvent.select().order_by(AuditEvent.id)] == [
            *range(1, 33)
        ]
        head = str(newest_head())
    assert verified(other, against=head).ok


def test_an_audit_that_was_running_is_disconnected_at_the_next_opening(path, other):
    exported = io.BytesIO()
    with connect(path):
        running = fill(0)[0]
        assert lookups.get(running).status == "running"
        export_jsonl(exported)
        exported.seek(0)
        with checked(other):
            assert import_jsonl(exported).ok
            assert lookups.get(running).status == "running"
        assert lookups.get(running).status == "running"
    with checked(other):
        assert lookups.get(running).status == "disconnected"


def test_a_part_of_a_store_can_be_taken_along(path, ids, tmp_path, other):
    with connect(path):
        recorder.record(ids[0], {"type": "phase_start"})
        assert export_jsonl(tmp_path / "two.jsonl", ids=[ids[2], ids[0]]).audits == 2
        assert export_jsonl(tmp_path / "done.jsonl", status="completed", min_score=51).audits == 2
        told = [event.id for event in lookups.events(ids[0])]
    with checked(other):
        assert import_jsonl(tmp_path / "two.jsonl").audits == 2
        assert [event.id for event in lookups.events(ids[0])] == told
        assert import_jsonl(tmp_path / "done.jsonl", skip_existing=True).audits == 1
        assert str(verify(against=str(newest_head())).problems) == "[]"


# ---- again, and interrupted ----


def test_an_audit_that_is_there_is_refused_or_skipped(exported, other):
    with checked(other):
        import_jsonl(exported)
        before, head = rows(), newest_head()
        done = import_jsonl(exported)
        assert (done.audits, done.refused) == (0, 4)
        assert "line 1: audit" in done.problems[0]
        assert "is there already" in done.problems[0]
        done = import_jsonl(exported, skip_existing=True)
        assert (done.ok, done.audits, done.skipped, done.refused) == (True, 0, 4, 0)
        assert (rows(), newest_head()) == (before, head)


KILLED_IMPORT = """
import os, signal, sys
from veritas_peewee import connect
from veritas_peewee.transfer import importing
importing.UNIT_AUDITS = 1
point, path, exported = sys.argv[1:]
def die(*args):
    os.kill(os.getpid(), 9)
with connect(path):
    if point == "files":
        steps = iter(range(2))
        store = importing.Importer.store
        importing.Importer.store = lambda *args: store(*args) if next(steps, None) == 0 else die()
    importing.import_jsonl(exported, progress=lambda done, *rest: die() if done == 2 else None)
"""


@pytest.mark.parametrize("point", ["files", "commit"])
def test_an_import_that_was_killed_left_whole_audits_and_is_completed(path, exported, other, point):
    done = subprocess.run(
        [sys.executable, "-c", KILLED_IMPORT, point, str(other), str(exported)],
        env=environment(),
        timeout=60,
    )
    assert done.returncode == KILLED
    report = verified(other)
    assert (report.problems, report.audits) == ([], 1 if point == "files" else 2)
    assert any("an import or a copy is under way" in note for note in report.notes)
    with connect(path):
        before, images = rows(), files_below(current.screenshot_folder().root)
    with checked(other):
        done = import_jsonl(exported, skip_existing=True)
        assert (done.problems, done.skipped + done.audits, done.new_ids) == ([], 4, 0)
        assert rows() == before
        assert files_below(current.screenshot_folder().root) == images
    assert verified(other).notes == []


def test_what_was_removed_between_two_attempts_comes_back_with_other_ids(
    exported, other, monkeypatch
):
    monkeypatch.setattr(importing, "UNIT_AUDITS", 1)

    def interrupted(done: int, *_: object) -> None:
        if done == 2:
            removal.delete(history.history(limit=1).items[0].id)
            raise ZeroDivisionError

    with checked(other):
        with pytest.raises(ZeroDivisionError):
            import_jsonl(exported, progress=interrupted)
        monkeypatch.undo()
        done = import_jsonl(exported, skip_existing=True)
        assert (done.problems, done.audits, done.skipped) == ([], 3, 1)
        assert 0 < done.new_ids < 31
        assert (verify().problems, verify().notes) == ([], [])
        head = str(newest_head())
        recorder.record_many(Audit.get().id, [{"type": "log_entry", "message": "x"}] * 1100)
    assert verified(other, against=head).ok


@pytest.mark.parametrize("skip", [True, False])
def test_audits_that_another_import_stored_just_now_are_there_already(
    exported, other, skip, monkeypatch
):
    take_images = importing.Importer.take_images

    def late(self: importing.Importer, unit: list[importing.Incoming]) -> Any:
        monkeypatch.undo()
        assert import_jsonl(exported).ok
        return take_images(self, unit)

    monkeypatch.setattr(importing.Importer, "take_images", late)
    with checked(other):
        done = import_jsonl(exported, skip_existing=skip)
        assert (done.audits, done.skipped, done.refused) == (0, 4 if skip else 0, 0 if skip else 4)
        assert all("is there already" in text for text in done.problems)
        assert len(files_below(current.screenshot_folder().root)) == 4


def test_others_can_write_while_events_keep_their_ids(exported, other, monkeypatch):
    monkeypatch.setattr(importing, "UNIT_AUDITS", 1)
    own = []

    def meanwhile(*_: object) -> None:
        assert verify().problems == []
        own.append(operations.create("https://own.example").id)
        recorder.record_many(own[-1], [{"type": "log_entry", "message": "x"}] * 3)
        assert verify().problems == []

    with checked(other):
        done = import_jsonl(exported, progress=meanwhile)
        assert (done.problems, done.audits) == ([], 4)
        assert done.new_ids < 31
        assert StoreHead.select().count() == 1
        recorder.record_many(own[0], [{"type": "log_entry", "message": "x"}] * 1100)


def test_an_image_that_is_there_already_is_not_written_again(exported, other):
    with checked(other):
        import_jsonl(exported)
        kept = files_below(current.screenshot_folder().root)
        times = {name: os.stat(current.screenshot_folder().root / name).st_mtime_ns
                 for name in kept}  # fmt: skip
        for audit in list(Audit.select()):
            Audit.delete().where(Audit.id == audit.id).execute()  # the files stay
        done = import_jsonl(exported)
        assert (done.problems, done.audits) == ([], 4)
        for name, when in times.items():
            assert os.stat(current.screenshot_folder().root / name).st_mtime_ns == when


# ---- what is refused ----


def change(line: dict[str, Any], place: str, value: Any) -> None:
    *way, last = place.split(".")
    found: Any = line
    for step in way:
        found = found[int(step) if step.isdigit() else step]
    key = int(last) if last.isdigit() else last
    if value is KeyError:
        del found[key]
    else:
        found[key] = value


PNG = make_event("screenshot", data=make_png(7))["data"]
REFUSED = [
    ("audit.trust_score", 99.0, "its row was altered"),
    ("audit.trust_score", 99, "its row was altered"),
    ("audit.trust_score", True, "trust_score"),
    ("audit.url", "https://x.example", "its row was altered"),
    ("audit.url", "a\0b", "NUL"),
    ("audit.url", "\ud800", "surrogate"),
    ("audit.url", None, "url: cannot be empty"),
    ("audit.id", "../x", "id: must be 1 to 16 letters"),
    ("audit.id", "a\nb", "id: must be 1 to 16 letters"),
    ("audit.id", 5, "id"),
    ("audit.status", "odd", "status: must be one of queued"),
    ("audit.seal", None, "its row was altered"),
    ("audit.seal", "0" * 64, "its row was altered"),
    ("audit.sealed_events", 2, "its row was altered"),
    ("audit.sealed_events", None, "never sealed"),
    ("audit.sealed_events", 2**70, "sealed_events"),
    ("audit.screenshots_count", 7, "screenshots_count is not 1"),
    ("audit.extra", 1, "'extra' is no column"),
    ("audit.narrative", KeyError, "'narrative' is missing"),
    ("audit.signal_scores", {"$blob": "eA=="}, "signal_scores"),
    ("audit.signal_scores", {"a": "\0"}, "signal_scores"),
    ("audit", [], "audit: is not an object"),
    ("findings.0.severity", "low", "finding 1 was altered"),
    ("findings.0.confidence", {"$real": "inf"}, "confidence"),
    ("findings.0", KeyError, "or a finding"),
    ("findings", None, "findings: is not a list"),
    ("findings.0.digest", "xy", "is no SHA-256"),
    ("events.1.data", {}, "event 2 of its log was altered"),
    ("events.1.timestamp", "2026", "event 2: timestamp"),
    ("events.0", KeyError, "event 1 of its log was altered"),
    ("events.7", KeyError, "the end of its log is missing"),
    ("events.1.id", 1, "event 2: id 1 is not after"),
    ("events.1.id", 2**62, "or too large"),
    ("events.0.id", -1, "is not after 0"),
    ("screenshots.0.image", PNG, "is not the one that its row tells of"),
    ("screenshots.0.image", "%%%", "is not base64"),
    ("screenshots.0.image", 5, "is not base64"),
    ("screenshots.0.label", "x", "screenshot 1 was altered"),
    ("format", "other", "is no audit that"),
    ("version", 2, "has version 2"),
]


@pytest.mark.parametrize(
    ("place", "value", "told"), REFUSED, ids=[f"{p}={v!s:.10}" for p, v, _ in REFUSED]
)
def test_a_line_that_is_not_as_it_was_written_is_refused_with_nothing_kept(
    exported, other, place, value, told
):
    good, bad, *_ = lines(exported)
    if bad["audit"]["sealed_events"] is None:
        good, bad = bad, good
    change(bad, place, value)
    exported.write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\n")
    with checked(other):
        done = import_jsonl(exported)
        assert (done.audits, done.refused) == (1, 1), done.problems
        (problem,) = done.problems
        assert problem.startswith("line 2: ")
        assert told in problem
        assert [audit.id for audit in Audit.select()] == [good["audit"]["id"]]
        assert len(files_below(current.screenshot_folder().root)) == 1


RAW = [b"{", b"[]", b"null", b"\xff\xfe", b'{"format":NaN}', b"[" * 100_000, b"1" * 5000, b"x,y"]


@pytest.mark.parametrize("raw", RAW, ids=[f"{raw[:8]!r}" for raw in RAW])
def test_a_line_that_is_none_of_ours_is_refused_and_the_rest_taken(exported, other, raw):
    good = exported.read_bytes().splitlines()
    exported.write_bytes(b"\n".join([good[0], raw, b"", good[1], good[2][:50]]))
    with checked(other):
        done = import_jsonl(exported)
        assert (done.audits, done.refused) == (2, 2)
        assert [text.split(":")[0] for text in done.problems] == ["line 2", "line 5"]


def test_a_file_that_is_none_of_ours_is_told_at_its_first_line(tmp_path, other):
    wrong = tmp_path / "x.jsonl"
    with checked(other):
        for raw in (*RAW, make_png(), b'{"id": 1}\n'):
            wrong.write_bytes(raw)
            with pytest.raises(StoreError, match=r"x\.jsonl: line 1"):
                import_jsonl(wrong)
        with pytest.raises(StoreError, match="cannot be read"):
            import_jsonl(tmp_path / "absent.jsonl")
        with pytest.raises(StoreError, match="cannot be read"):
            import_jsonl(tmp_path)
        wrong.write_bytes(b"")
        assert import_jsonl(wrong).audits == 0
        wrong.write_bytes(b"\x1f\x8b")
        with pytest.raises(StoreError, match="damaged or cut off"):
            import_jsonl(wrong)


def test_a_packed_file_that_is_cut_off_gives_what_came_before_and_says_so(exported, other):
    packed = gzip.compress(exported.read_bytes())
    exported.write_bytes(packed[: len(packed) - 20])
    with checked(other):
        done = import_jsonl(exported)
        assert not done.ok
        assert "damaged or cut off" in done.problems[-1]
        assert done.audits + done.refused >= 1


def test_a_line_that_never_ends_is_not_held_in_memory(exported, other, monkeypatch):
    good = exported.read_bytes().splitlines()
    longest = max(map(len, good)) + 1
    monkeypatch.setattr("veritas_peewee.transfer.files.MAX_LINE", longest)
    exported.write_bytes(b"\n".join([good[0], b"x" * longest * 7, good[1]]))
    with checked(other):
        done = import_jsonl(exported)
        assert (done.audits, done.problems) == (2, [f"line 2: is longer than {longest} bytes"])


def test_a_line_that_does_not_end_ends_the_import(exported, other, monkeypatch):
    good = exported.read_bytes().splitlines()
    monkeypatch.setattr("veritas_peewee.transfer.files.MAX_LINE", max(map(len, good)) + 1)
    monkeypatch.setattr("veritas_peewee.transfer.files.MAX_SKIPPED", 3 << 20)
    exported.write_bytes(b"\n".join([good[0], b"{" * (9 << 20), good[1]]))
    with checked(other):
        done = import_jsonl(exported)
    assert done.audits == 1
    assert "line 2 is longer than" in done.problems[-1]
    assert done.problems[-1].endswith("nothing behind it was read; what comes before was imported")


def test_a_device_that_never_ends_is_no_export(other):
    with checked(other), pytest.raises(StoreError, match="/dev/zero: line 1 is cut off, or is no"):
        import_jsonl("/dev/zero")


def test_a_small_packed_file_costs_little_memory(tmp_path, other):
    bomb = tmp_path / "bomb.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    with checked(other):
        tracemalloc.start()
        try:
            with pytest.raises(StoreError, match="line 1 is cut off, or is no JSON"):
                import_jsonl(bomb)
            assert tracemalloc.get_traced_memory()[1] < 30 << 20
        finally:
            tracemalloc.stop()


def test_a_short_line_of_very_many_values_is_not_made_into_them(exported, other, monkeypatch):
    good, *_ = exported.read_bytes().splitlines()
    many = len(good)
    monkeypatch.setattr("veritas_peewee.transfer.files.MAX_PARTS", many)
    exported.write_bytes(b"\n".join([b"[" + b"{}," * many + b"{}]", good]))
    with checked(other):
        done = import_jsonl(exported)
        assert (done.audits, done.problems) == (1, [f"line 1: holds more than {many} values"])


@pytest.mark.parametrize("limit", ["MAX_LINE", "MAX_PARTS"])
def test_an_export_tells_of_a_line_that_an_import_refuses(path, ids, tmp_path, limit, monkeypatch):
    monkeypatch.setattr(f"veritas_peewee.transfer.files.{limit}", 50)
    with connect(path):
        report = export_jsonl(tmp_path / "x.jsonl", ids=ids[:1])
    assert (report.audits, report.ok) == (1, False)
    assert report.problems[0].startswith(f"audit {ids[0]}: its line ")


def test_a_source_that_is_none_is_told(exported, other):
    with checked(other), exported.open() as text:
        for wrong in (text, io.StringIO("x"), None, 5, b"x.jsonl"):
            with pytest.raises(StoreError, match="neither a path nor a stream of bytes"):
                import_jsonl(wrong)
            with pytest.raises(StoreError, match="neither a path nor a stream of bytes"):
                export_jsonl(wrong)


def test_how_far_it_is_in_a_pipe_is_told_too(exported, other):
    steps: list[tuple[int, int, int | None]] = []
    read, write = os.pipe()
    with os.fdopen(read, "rb") as source, os.fdopen(write, "wb") as target:
        pump = threading.Thread(
            target=lambda: (target.write(exported.read_bytes()), target.close())
        )
        pump.start()
        with checked(other):
            import_jsonl(source, progress=lambda *step: steps.append(step))
        pump.join()
    assert steps == [(4, exported.stat().st_size, None)]


# ---- hostile paths ----


def hostile(exported: Path, file: str, image: bytes | None) -> None:
    """An audit whose screenshot has this path, with all seals as they must be."""
    store = exported.with_name(f"{exported.stem}-hostile") / "audits.db"
    with connect(store):
        audit_id = operations.create("https://evil.example").id
        columns = dict.fromkeys(("file_size_bytes", "media_type", "sha256"))
        insert_screenshot(audit_id, {**columns, "file_path": file, "label": "x", "index_num": 0})
        recorder.record(audit_id, {"type": "audit_complete"})
        target = io.BytesIO()
        export_jsonl(target)
    line = json.loads(target.getvalue())
    line["screenshots"][0]["image"] = None if image is None else base64.b64encode(image).decode()
    exported.write_text(json.dumps(line) + "\n")


PATHS = [
    "../evil.png", "/tmp/evil.png", "a/../../evil.png", "a//b.png", "", ".", "..", "a/..",
    "./a.png",
    "a\\b.png", "..\\evil.png", "a/b.html", "a/.htaccess", "a/.png", "evil", "a/b.png/", "a\nb.png",
    "a/\x1b[2J.png", "x" * 300 + ".png", "/".join("a" * 20) + "/b.png", "a/\u202egnp.png",
    "link/b.png",
    "link.png", "file.png/b.png", "~/b.svg",
]  # fmt: skip


@pytest.mark.parametrize("file", PATHS, ids=[ascii(path)[:20] for path in PATHS])
def test_a_hostile_path_is_refused_and_nothing_is_written(tmp_path, other, file):
    exported = tmp_path / "x.jsonl"
    hostile(exported, file, make_png())
    outside = tmp_path / "outside"
    outside.mkdir()
    with checked(other):
        root = current.screenshot_folder().root
        root.mkdir()
        (root / "link").symlink_to(outside)
        (root / "link.png").symlink_to(outside / "evil.png")
        (root / "file.png").write_bytes(b"x")
        before = sorted(tmp_path.rglob("*.png"))
        done = import_jsonl(exported)
        assert (done.audits, done.refused) == (0, 1)
        assert Audit.select().count() == 0
        assert list(outside.iterdir()) == []
        assert sorted(tmp_path.rglob("*.png")) == before


def test_another_audits_image_is_never_replaced_or_removed(tmp_path, exported, other, ids):
    with checked(other):
        import_jsonl(exported)
        kept = files_below(current.screenshot_folder().root)
        victim = next(iter(kept))
        hostile(exported, victim, make_png(250))
        done = import_jsonl(exported)
        assert (done.audits, done.refused) == (0, 1)
        assert "another image has that name" in done.problems[0]
        assert files_below(current.screenshot_folder().root) == kept
        hostile(exported.with_name("second.x.jsonl"), victim, kept[victim])
        assert import_jsonl(exported.with_name("second.x.jsonl")).ok  # the same image: it is shared
        (shown,) = AuditScreenshot.select().where(AuditScreenshot.sha256.is_null())
        removal.delete(shown.audit_id)
        assert files_below(current.screenshot_folder().root) == kept


@pytest.mark.parametrize("image", [b"<script>", b"", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_not_stored(tmp_path, other, image):
    hostile(tmp_path / "x.jsonl", "a/b.png", image)
    with checked(other):
        done = import_jsonl(tmp_path / "x.jsonl")
        assert (done.audits, done.refused) == (0, 1)
        assert files_below(current.screenshot_folder().root) == {}


def test_audits_of_one_unit_stand_and_fall_alone(exported, other):
    good = lines(exported)
    clash = json.loads(json.dumps(good[0]))
    clash["audit"]["id"] = "other"
    with checked(other):
        # The same event ids twice: each audit has its own seal, so this needs an honest twin.
        first = write(exported, good[0])
        import_jsonl(first)
        removal.delete(good[0]["audit"]["id"])
        done = import_jsonl(write(exported, *good))
        assert (done.problems, done.audits) == ([], 4)


# ---- the facade ----


async def test_the_facade_exports_and_imports(store, tmp_path):
    for number in range(3):
        audit = await store.create(f"https://shop{number}.example")
        await store.record(audit.id, make_event("screenshot", label="home"))
        await store.record(audit.id, {"type": "audit_complete"})
    target = tmp_path / "all.jsonl.gz"
    steps: list[int] = []
    told = await store.export(target, progress=lambda done, _: steps.append(done))
    assert (told.ok, told.audits, steps) == (True, 3, [1, 2, 3])
    assert (await store.export(tmp_path / "none.jsonl", status="queued")).audits == 0
    async with AuditStore.open(tmp_path / "new" / "audits.db") as new:
        done = await new.import_(target)
        assert (done.ok, done.audits, done.screenshots, done.new_ids) == (True, 3, 3, 0)
        assert await new.read(rows) == await store.read(rows)
        assert (await new.import_(target, skip_existing=True)).skipped == 3
        assert (await new.read(verify)).problems == []
        page = await new.report(audit.id)
        assert page.startswith("<!doctype html>")
