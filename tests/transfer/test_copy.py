"""A store copied into another: what is the same then, what interrupts a copy, what is refused."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from peewee import fn

from tests.support.amount import amount, one_in
from tests.support.audits import fill
from tests.support.command_line import run_here
from tests.support.database_files import by_hand
from tests.support.invariants import check_invariants
from tests.support.places import Databases
from tests.support.processes import KILLED, start
from veritas_peewee import Audit, AuditEvent, AuditScreenshot, connect, copy_store, sync
from veritas_peewee.config import locate
from veritas_peewee.database.current import current_database
from veritas_peewee.database.statements import execute
from veritas_peewee.errors import StoreError
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AbsentImage
from veritas_peewee.queries.images import current_images
from veritas_peewee.testing import make_png
from veritas_peewee.transfer import stores
from veritas_peewee.transfer.whole import ids_of, read_wholes

PAIRS = [("file", "server"), ("server", "file"), ("file", "file"), ("server", "server")]
ACROSS = PAIRS[:2]
BESIDE = ("removed_events", "removed_audits", "store_changes", "store_heads", "import_heads",
          "absent_images")  # fmt: skip
New = Callable[[str], str]


@pytest.fixture
def new(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[New]:
    """Makes the name of a database of a kind that does not exist yet, or is empty."""
    made: list[str] = []
    with ExitStack() as stack:

        def make(kind: str) -> str:
            if kind == "file":
                made.append(str(tmp_path / f"{len(made)}" / "audits.db"))
            else:
                server: Databases = request.getfixturevalue("server")
                made.append(server.running.new_database())
                stack.callback(server.running.drop_database, made[-1])
            return made[-1]

        yield make


def shot(number: int) -> dict[str, Any]:
    data = base64.b64encode(make_png(number)).decode()
    return {"type": "screenshot", "index": number, "label": "x", "data": data}


def filled(name: str, audits: int = 40) -> str:
    """Fill a store: with removed audits, absent images and heads; returns its head."""
    with connect(name):
        brought = io.BytesIO()
        first = sync.create("https://first.example").id
        sync.record(first, shot(1))
        sync.export(brought, images=False)
        sync.delete(first)
        sync.import_(io.BytesIO(brought.getvalue()))
        ids = fill(5)
        sync.delete(ids[1])
        with current_database().atomic():
            for number in range(audits):
                one = sync.create(f"https://shop.example/{number}").id
                sync.record_many(one, [{"type": "log_entry", "message": str(number)}] * 30)
            sync.record(one, shot(number))
        assert AbsentImage.select().count() == 1
        check_invariants()
        return str(sync.head())


def contents(name: str) -> dict[str, Any]:
    """All that a copy must have: rows with their ids, images, and what is beside the audits."""
    with connect(name, read_only=True) as database:
        found: dict[str, Any] = {}
        for some in ids_of(database):
            for wholes in read_wholes(database, some):
                found |= {whole.stored.id: whole for whole in wholes}
        absent = AbsentImage.select(AbsentImage.screenshot)
        for row in AuditScreenshot.select().where(AuditScreenshot.id.not_in(absent)):
            found[row.file_path] = current_images().read(row.file_path)
        for table in BESIDE:
            found[table] = sorted(execute(f"SELECT * FROM {table}", ()))
        return found


def checked(name: str, head: str) -> None:
    """The store is sound, and holds all that it held when another one had this head."""
    with connect(name, read_only=True):
        check_invariants()
        assert verify(against=head).problems == []
        assert str(sync.head()) == head


@pytest.mark.parametrize(("kind", "other"), PAIRS)
def test_a_copy_is_the_same_in_all(new: New, kind: str, other: str) -> None:
    source, target = new(kind), new(other)
    head = filled(source)
    before = contents(source)
    report = copy_store(source, target)
    assert report.problems == []
    assert (str(report.head), report.complete, report.audits) == (head, True, 46)
    assert contents(target) == before
    checked(target, head)
    # Once more: all is compared, and nothing is written.
    again = copy_store(source, target)
    assert (again.ok, again.audits, again.skipped, again.complete) == (True, 0, 46, True)
    checked(target, head)
    assert contents(source) == before


@pytest.mark.parametrize(("kind", "other"), ACROSS)
def test_a_copy_goes_on_where_the_store_was(new: New, kind: str, other: str) -> None:
    source, target = new(kind), new(other)
    head = filled(source)
    copy_store(source, target)
    with connect(source, read_only=True):
        newest = sync.head().position
        running = [one.id for one in sync.history(status="running").items]
        completed = sync.history(status="completed").items[0].id
        words = [hit.audit.id for hit in sync.search("shop0").items]
    assert words
    with connect(target):
        # Who ran it is not alive here.
        assert [sync.get(one).status for one in running] == ["disconnected"]
        assert sync.events(running[0])[-1].id == newest + 1
        audit = sync.create("https://next.example").id
        assert sync.record(audit, {"type": "log_entry"}) == newest + 2
        finding = {"id": "f", "category": "urgency", "severity": "low", "confidence": 0.5,
                   "description": "x"}  # fmt: skip
        sync.record_many(audit, [{"type": "finding", "finding": finding}, shot(3)])
        sync.update(completed, risk_level="trusted")
        assert [hit.audit.id for hit in sync.search("shop0").items] == words
        check_invariants()
        assert verify(against=head).problems == []


@pytest.mark.parametrize(
    ("kind", "other", "when", "number"),
    one_in(
        3,
        [
            (*pair, *at)
            for at in (("insert", 1), ("insert", 2), ("inserted", 1), ("compare", 1), ("rest", 1))
            for pair in ACROSS
        ],
    ),
)
def test_a_killed_copy_is_sound_and_is_continued(
    new: New, kind: str, other: str, when: str, number: int
) -> None:
    source, target = new(kind), new(other)
    head = filled(source)
    with start("copy_until_killed.py", source, target, when, number) as process:
        process.communicate(timeout=60)
        assert process.returncode == KILLED
    with connect(target, read_only=True):
        there = Audit.select().count()
        assert verify().problems == []
    assert there == {"insert": 32 * (number - 1), "inserted": 32}.get(when, 46)
    report = copy_store(source, target)
    assert (report.problems, report.skipped, report.audits) == ([], there, 46 - there)
    checked(target, head)
    assert contents(target) == contents(source)


@pytest.mark.parametrize(("kind", "other"), ACROSS)
def test_many_audits_come_over_through_two_kills(new: New, kind: str, other: str) -> None:
    source, target = new(kind), new(other)
    number_of_audits = amount(200, 1000)
    head = filled(source, number_of_audits)
    first, second = number_of_audits // 5, number_of_audits * 7 // 10
    for number in (first, second):
        with start("copy_until_killed.py", source, target, "", 0) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line.split()[1]) >= number:
                    process.kill()
                    break
            process.stdout.read()
        assert process.returncode == KILLED
    report = copy_store(source, target)
    assert (report.problems, report.audits + report.skipped) == ([], number_of_audits + 6)
    assert second <= report.skipped < number_of_audits + 6
    checked(target, head)


def interrupted(source: str, target: str) -> None:
    def stop(what: str, done: int, total: int | None) -> None:
        raise KeyError(done)

    with pytest.raises(KeyError):
        copy_store(source, target, progress=stop)


@pytest.mark.parametrize(("kind", "other"), ACROSS)
def test_what_is_no_interrupted_copy_is_refused_and_differences_are_named(
    new: New, kind: str, other: str, tmp_path: Path
) -> None:
    source, target = new(kind), new(other)
    filled(source)
    with connect(target):
        own = sync.create("https://own.example").id
    with pytest.raises(StoreError, match=rf"has 1 audits that .* does not have \({own}\)"):
        copy_store(source, target)
    with connect(target):
        sync.record(own, {"type": "log_entry"})
        before = str(sync.head())
    with pytest.raises(StoreError, match="is neither empty nor a copy that was interrupted"):
        copy_store(source, target)
    with connect(target):
        assert str(sync.head()) == before
    target = new(other)
    interrupted(source, target)
    with connect(target):
        changed, shorter = list(Audit.select().order_by(Audit.id).limit(2))
        Audit.update(risk_level="trusted").where(Audit.id == changed.id).execute()
        last = AuditEvent.select(fn.MAX(AuditEvent.id)).where(AuditEvent.audit == shorter)
        AuditEvent.delete().where(AuditEvent.id == last).execute()
    report = copy_store(source, target)
    assert (report.ok, report.complete, report.skipped) == (False, False, 32)
    assert [text.partition(": differs")[0] for text in report.problems] == [
        f"audit {changed.id}", f"audit {shorter.id}"]  # fmt: skip
    assert "its row is not the same" in report.problems[0]
    assert "its log has" in report.problems[1]


def test_an_audit_that_is_removed_while_it_is_copied_is_not_a_lost_image(
    new: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are in the snapshot that is copied, and its images are files."""
    source, target = new("file"), new("file")
    filled(source, 2)
    with connect(source, read_only=True):
        absent = AbsentImage.select(AbsentImage.screenshot)
        gone = AuditScreenshot.select().where(AuditScreenshot.id.not_in(absent)).get().audit_id

    def remove() -> None:
        with connect(source):
            sync.delete(gone)

    copying = stores._Copy._copy_audits

    def late(copy: stores._Copy) -> None:
        other = threading.Thread(target=remove)
        other.start()
        other.join()
        copying(copy)

    monkeypatch.setattr(stores._Copy, "_copy_audits", late)
    report = copy_store(source, target)
    monkeypatch.undo()
    assert not report.complete
    assert f"audit {gone}: was removed from {source} while it was copied" in str(report.problems)
    Path(target).unlink()
    assert copy_store(source, target).ok


def test_no_folder_of_images_is_that_of_a_store_and_its_copy(tmp_path: Path) -> None:
    """What one of them removes the other one would miss."""
    source, beside = tmp_path / "a.db", tmp_path / "b.db"
    head = filled(str(source), 2)
    (tmp_path / "link").symlink_to(tmp_path / "screenshots")
    for folder in (None, tmp_path / "screenshots", tmp_path / "link"):
        with pytest.raises(StoreError, match="would have the folder of images of"):
            copy_store(source, beside, target_screenshots=folder)
        assert not beside.exists()
    assert copy_store(source, beside, target_screenshots=tmp_path / "own").ok
    with connect(source):
        for audit in Audit.select():
            sync.delete(audit.id)
    with connect(beside, screenshots=tmp_path / "own", read_only=True):
        assert verify(against=head).problems == []


def test_a_store_is_not_copied_into_itself_or_out_of_memory(new: New, tmp_path: Path) -> None:
    path = new("file")
    filled(path)
    (tmp_path / "link.db").symlink_to(path)
    for name in (path, str(tmp_path / "link.db"), f"sqlite:///{path}"):
        with pytest.raises(StoreError, match="is not copied into itself"):
            copy_store(path, name)
    for names in ((":memory:", path), (path, ":memory:")):
        with pytest.raises(StoreError, match="in memory"):
            copy_store(*names)
    with pytest.raises(StoreError, match=r"none\.db"):
        copy_store(tmp_path / "none.db", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("other", ["file", "server"])
def test_an_empty_store_is_copied_too(new: New, other: str) -> None:
    source, target = new("file"), new(other)
    with connect(source):
        head = str(sync.head())
    assert copy_store(source, target).complete
    checked(target, head)
    with connect(source):
        sync.create("https://a.example")
    assert copy_store(source, target).audits == 1


@pytest.mark.parametrize("other", ["file", "server"])
def test_an_altered_audit_is_named_and_all_others_are_copied(new: New, other: str) -> None:
    source, target = new("file"), new(other)
    filled(source)
    with connect(source):
        altered, odd = [one.id for one in sync.history(limit=2).items]
    by_hand(Path(source), f"UPDATE audits SET trust_score = 99 WHERE id = '{altered}'")
    by_hand(Path(source), f"UPDATE audits SET narrative = x'00ff' WHERE id = '{odd}'")
    report = copy_store(source, target)
    assert (report.ok, report.complete, report.audits) == (False, False, 44)
    assert sorted(text.split(":")[0] for text in report.problems) == sorted(
        [f"audit {altered}", f"audit {odd}"]
    )
    with connect(source):
        sync.delete(altered)
        sync.delete(odd)
        head = str(sync.head())
    report = copy_store(source, target)
    assert (report.problems, report.skipped, report.audits) == ([], 44, 0)
    checked(target, head)


@pytest.mark.parametrize("other", ["file", "server"])
def test_an_id_that_is_no_text_is_named(new: New, other: str) -> None:
    source, target = new("file"), new(other)
    filled(source)
    for odd in ("x'6100'", "CAST(x'7aff' AS TEXT)"):
        by_hand(Path(source), f"UPDATE audits SET id = {odd} WHERE id = "
                              "(SELECT MAX(id) FROM audits WHERE typeof(id) = 'text')")  # fmt: skip
    report = copy_store(source, target)
    assert (report.complete, report.audits) == (False, 44)
    assert len([text for text in report.problems if "its id is not valid text" in text]) == 2


@pytest.mark.parametrize("other", ["file", "server"])
def test_an_image_that_is_missing_or_altered_there_is_named_and_the_copy_is_whole(
    new: New, other: str
) -> None:
    source, target = new("file"), new(other)
    head = filled(source)
    with connect(source, read_only=True):
        absent = AbsentImage.select(AbsentImage.screenshot)
        rows = list(AuditScreenshot.select().where(AuditScreenshot.id.not_in(absent)).limit(3))
    folder = locate(source).screenshots
    assert folder is not None
    (folder / rows[0].file_path).unlink()
    (folder / rows[1].file_path).write_bytes(b"x")
    (folder / rows[2].file_path).write_bytes(make_png(99))
    report = copy_store(source, target)
    assert (report.ok, report.complete) == (False, True)
    assert len(report.problems) == 3
    for row in rows:
        (text,) = [text for text in report.problems if row.file_path in text]
        assert text.startswith(f"audit {row.audit_id}: as in {source}")
    with connect(target, read_only=True):
        assert str(sync.head()) == head
        assert len(verify().problems) == 3
    # One that is lost in the copy alone is another matter.
    with connect(target, read_only=True):
        named = [row.file_path for row in rows]
        query = AuditScreenshot.select().where(AuditScreenshot.file_path.not_in(named))
        lost = query.where(AuditScreenshot.id.not_in(absent)).first()
    if other == "file":
        copied = locate(target).screenshots
        assert copied is not None
        (copied / lost.file_path).unlink()
    else:
        with psycopg.connect(target) as program:
            program.execute("DELETE FROM store_images WHERE file_path = %s", (lost.file_path,))
    report = copy_store(source, target)
    assert (report.complete, len(report.problems)) == (False, 4)
    (text,) = [text for text in report.problems if lost.file_path in text]
    assert text.endswith(f"in {locate(target).name}")


@pytest.mark.parametrize(("kind", "other"), ACROSS)
def test_what_is_written_meanwhile_is_not_in_the_copy(new: New, kind: str, other: str) -> None:
    source, target = new(kind), new(other)
    head = filled(source)
    done: list[str] = []

    def write(what: str, number: int, total: int | None) -> None:
        assert total == 46
        if what not in done:
            done.append(what)
            with start("record_events.py", source, 3) as process:
                process.communicate(timeout=60)

    report = copy_store(source, target, progress=write)
    assert done == ["copied", "compared"]
    assert (report.problems, str(report.head)) == ([], head)
    checked(target, head)


@pytest.mark.parametrize(("kind", "other"), [("file", "server"), ("server", "server")])
def test_a_folder_of_images_may_be_named_on_either_side(
    new: New, kind: str, other: str, tmp_path: Path
) -> None:
    first, second, third = new(kind), new(other), new("server")
    head = filled(first)
    copy_store(first, second, target_screenshots=tmp_path / "shared")
    with connect(second, screenshots=tmp_path / "shared", read_only=True):
        check_invariants()
        assert execute("SELECT COUNT(*) FROM store_images", ()) == [(0,)]
    assert copy_store(second, third, source_screenshots=tmp_path / "shared").ok
    checked(third, head)


def test_the_command_says_what_was_copied_and_what_is_wrong(
    new: New, capfd: pytest.CaptureFixture[str]
) -> None:
    source, target = new("file"), new("server")
    head = filled(source)
    done = run_here(capfd, "copy", source, target)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("copied 46 audits, ")
    assert f"head: {head}\n" in done.out
    again = run_here(capfd, "copy", source, target, "--json")
    found = again.json
    assert (again.code, found["ok"], found["skipped"], found["head"]) == (0, True, 46, head)
    with connect(target):
        sync.create("https://own.example")
    refused = run_here(capfd, "copy", source, target)
    assert (refused.code, refused.out, refused.err.count("\n")) == (1, "", 1)
    assert "is neither empty nor a copy that was interrupted" in refused.err
    other = new("file")
    by_hand(
        Path(source), "UPDATE audits SET trust_score = 9 WHERE id = (SELECT MAX(id) FROM audits)"
    )
    wrong = run_here(capfd, "copy", source, other, "--json")
    assert (wrong.code, json.loads(wrong.out)["complete"]) == (1, False)
    assert "its row was altered" in wrong.err
    assert run_here(capfd, "copy", source, "mysql://x/y").code == 2
