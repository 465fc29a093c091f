"""An export of a store on a server is imported into a file as it was, and the other way round."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.audits import fill
from tests.support.command_line import run_here
from tests.support.invariants import check_invariants
from veritas_peewee import AuditStore, connect, sync
from veritas_peewee.database.current import current_database
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditScreenshot, ImportHead
from veritas_peewee.queries import images
from veritas_peewee.testing import make_png

ACROSS = [("file", "server"), ("server", "file"), ("server", "server")]
New = Callable[[str], str]


@pytest.fixture
def new(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[New]:
    """Makes a new store of a kind, and checks it at the end."""
    made: list[str] = []
    with ExitStack() as stack:

        def make(kind: str) -> str:
            if kind == "file":
                made.append(str(tmp_path / f"{len(made)}" / "audits.db"))
            else:
                made.append(stack.enter_context(request.getfixturevalue("server").new()))
            return made[-1]

        yield make
        for name in made:
            with connect(name):
                check_invariants()


def exported(name: str, **options: Any) -> bytes:
    target = io.BytesIO()
    with connect(name, read_only=True):
        report = sync.export(target, **options)
    assert report.problems == []
    return target.getvalue()


def filled(name: str) -> bytes:
    """Fill a store; returns its export, oldest first."""
    with connect(name):
        fill(5)
    with connect(name):  # the one that was running is disconnected
        pass
    return exported(name, order="oldest")


@pytest.mark.parametrize(("kind", "other"), ACROSS)
def test_what_was_exported_is_the_same_after_an_import(new: New, kind: str, other: str) -> None:
    source, target = new(kind), new(other)
    lines = filled(source)
    with connect(target):
        report = sync.import_(io.BytesIO(lines))
        assert (report.problems, report.audits, report.screenshots, report.new_ids) == ([], 6, 6, 0)
        head = str(sync.head())
    assert exported(target, order="oldest") == lines
    with connect(target):
        again = sync.import_(io.BytesIO(lines), skip_existing=True)
        assert (again.ok, again.skipped) == (True, 6)
        # Ids go on after those that were brought, and the head of the import stays known.
        newest = sync.head().position
        audit = sync.create("https://next.example").id
        assert sync.record(audit, {"type": "log_entry"}) == newest + 1
        assert verify(against=head).problems == []
    # In a store that has events of its own they get other ids.
    third = new(other)
    with connect(third):
        sync.record(sync.create("https://own.example").id, {"type": "log_entry"})
        report = sync.import_(io.BytesIO(lines))
        assert (report.ok, report.audits, report.new_ids) == (True, 6, report.events)
    wanted = [json.loads(line) for line in lines.splitlines()]
    found = [json.loads(line) for line in exported(third, order="oldest").splitlines()]
    for one in (*wanted, *found):
        for event in one["events"]:
            del event["id"]
    own = {"https://own.example/", "https://own.example"}
    assert [one for one in found if one["audit"]["url"] not in own] == wanted


@pytest.mark.parametrize("other", ["file", "server"])
def test_an_audit_that_is_refused_leaves_the_others_and_no_gap(new: New, other: str) -> None:
    source, target = new("file"), new(other)
    lines = filled(source).splitlines(keepends=True)
    shot = json.loads(lines[2])["screenshots"][0]["file_path"]
    with connect(target):  # a row of another audit has that image's path
        holder = sync.create("https://b.example").id
        with current_database().atomic():
            AuditScreenshot.create(audit=holder, file_path=shot, label="x", index_num=0)
            place = images.current_images()
            if place.with_rows:
                images.insert([(shot, make_png(9))])
            else:
                place.keep(shot, make_png(9))
        for some in (lines[:3], lines[3:]):
            report = sync.import_(io.BytesIO(b"".join(some)))
            if some == lines[:3]:
                assert (report.audits, report.refused) == (2, 1)
                assert report.problems[0].startswith("line 3: ")
                assert "another image has that name here" in report.problems[0]
            else:
                assert (report.audits, report.refused) == (3, 0)
        numbers = [row.id for row in ImportHead.select().order_by(ImportHead.id)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert sync.screenshot(shot) == make_png(9)
        assert verify().problems == []


async def test_the_store_exports_and_imports_on_a_server(
    new: New, tmp_path: Path, anyio_backend: Any
) -> None:
    file = tmp_path / "all.jsonl.gz"
    data = base64.b64encode(make_png(1)).decode()
    async with AuditStore.open(new("server")) as store:
        for number in range(3):
            audit = await store.create(f"https://shop{number}.example")
            event = {"type": "screenshot", "index": 0, "label": "x", "data": data}
            await store.record(audit.id, event)
        assert (await store.export(file)).screenshots == 3
        head = await store.head()
    async with AuditStore.open(new("server")) as store:
        seen: list[int] = []
        report = await store.import_(file, progress=lambda done, *_: seen.append(done))
        assert (report.ok, report.audits, report.new_ids, seen) == (True, 3, 0, [3])
        shot = (await store.get(audit.id)).screenshots[0]
        assert await store.screenshot(shot.file_path) == make_png(1)
        assert (await store.head()).position == head.position


def test_the_commands_take_a_server(
    new: New, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, target = new("server"), new("server")
    lines = filled(source)
    file = tmp_path / "all.jsonl"
    done = run_here(capfd, "export", "--order", "oldest", "--output", file, "--database", source)
    assert (done.code, done.err, file.read_bytes()) == (0, "", lines)
    done = run_here(capfd, "import", file, "--database", target)
    assert (done.code, done.out, done.err) == (0, "imported 6 audits\n", "")
    done = run_here(capfd, "import", file, "--skip-existing", "--json", "--database", target)
    assert (done.code, done.json["skipped"]) == (0, 6)
    one = json.loads(lines.splitlines()[0])["audit"]["id"]
    page = run_here(capfd, "export", one, "--format", "html", "--database", target)
    assert (page.code, "data:image/png" in page.out) == (0, True)
