"""Images in a table of a server: one transaction has them and the rows that name them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import anyio
import psycopg
import pytest

from tests.support.postgres import Server, server
from tests.support.processes import start
from veritas_peewee import AuditEvent, AuditScreenshot, AuditStore, connect, sync
from veritas_peewee.database.current import current_database
from veritas_peewee.database.statements import execute
from veritas_peewee.errors import AuditNotFound, InvalidAudit, ScreenshotNotFound
from veritas_peewee.ledger.checking import image_problem, problem_of
from veritas_peewee.ledger.stored import image_file, read_stored
from veritas_peewee.queries import images
from veritas_peewee.queries.images import current_images
from veritas_peewee.testing import make_png


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server() as opened:
        yield opened


@pytest.fixture
def empty(running: Server) -> Iterator[str]:
    made = running.new_database()
    yield made
    running.drop_database(made)


@pytest.fixture
def url(empty: str) -> Iterator[str]:
    yield empty
    with connect(empty, read_only=True):
        check()


def check() -> None:
    """Each row's image is there, and there is no other."""
    named = set()
    for audit in sync.history(limit=1000).items:
        stored = read_stored(audit.id)
        assert stored is not None
        assert problem_of(stored) is None
        for row in stored.screenshots:
            assert image_problem(row, current_images().read(image_file(row))) is None
            named.add(image_file(row))
    assert {file for (file,) in execute("SELECT file_path FROM store_images", ())} == named


def shot(number: int, **more: Any) -> dict[str, Any]:
    data = base64.b64encode(make_png(number)).decode()
    return {"type": "screenshot", "index": number, "label": f"page {number}", "data": data, **more}


def count() -> int:
    return int(execute("SELECT COUNT(*) FROM store_images", ())[0][0])


async def test_what_is_recorded_at_once_is_read_reported_and_exported(url, tmp_path):
    async with AuditStore.open(url) as store:
        audit = await store.create("https://a.example")
        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(store.record, audit.id, shot(number))
        found = (await store.get(audit.id)).screenshots
        assert [row.index_num for row in found] == list(range(30))
        for row in found:
            assert await store.screenshot(row.file_path) == make_png(row.index_num)
        assert (await store.report(audit.id)).count("data:image/png") == 30
        report = await store.export(tmp_path / "x.jsonl")
        assert (report.ok, report.screenshots) == (True, 30)
        await store.read(check)


async def test_a_write_that_is_refused_leaves_no_image(url):
    async with AuditStore.open(url) as store:
        audit = await store.create("https://a.example")
        with pytest.raises(InvalidAudit):
            await store.record_many(audit.id, [shot(1), {"type": ""}])
        with pytest.raises(KeyError):
            await store.write(lambda: [sync.record(audit.id, shot(2)), {}["no"]])
        with pytest.raises(AuditNotFound):
            await store.ingest([shot(4)], audit_id="nobody")
        assert await store.read(count) == 0
        # Beside one that is refused, the others of its batch are saved with their images.
        results: list[object] = []

        async def record(audit_id: str, number: int) -> None:
            try:
                results.append(await store.record(audit_id, shot(number)))
            except Exception as error:
                results.append(type(error).__name__)

        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(record, "nobody" if number == 3 else audit.id, number)
        assert results.count("AuditNotFound") == 1
        assert await store.read(count) == 7


def test_an_image_goes_with_the_last_row_that_names_it_whoever_removes_that(url):
    with connect(url):
        ids = [sync.create(f"https://{name}.example").id for name in "abc"]
        for audit_id in ids:
            sync.record_many(audit_id, [shot(1), shot(2)])
        sync.delete(ids[0])
        assert count() == 4
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("DELETE FROM audits WHERE id = %s", (ids[1],))
        assert count() == 2
        first, second = AuditScreenshot.select().order_by(AuditScreenshot.id)
        with current_database().atomic() as transaction:
            first.delete_instance()
            assert count() == 1
            transaction.rollback()
        assert count() == 2
        AuditScreenshot.update(file_path=second.file_path).where(
            AuditScreenshot.id == first.id
        ).execute()
        assert count() == 1
        first.delete_instance()
        assert current_images().read(second.file_path) == make_png(2)


def test_an_image_of_any_path_and_size_is_read_as_it_was(url):
    image = make_png(1) + bytes(range(256)) * 20_000
    with connect(url):
        audit_id = sync.create("https://a.example").id
        sync.record(audit_id, shot(1, data=base64.b64encode(image).decode()))
        (row,) = sync.get(audit_id).screenshots
        assert sync.screenshot(row.file_path) == image
        long = f"{audit_id}/" + "\U0001f600" * 970 + "{}.png"
        with current_database().atomic():
            for number in (1, 2):  # no index of whole texts would take them
                images.insert([(long.format(number), make_png(number))])
                AuditScreenshot.create(audit=audit_id, file_path=long.format(number), label="x",
                                       index_num=number)  # fmt: skip
        assert sync.screenshot(long.format(2)) == make_png(2)
        with pytest.raises(ScreenshotNotFound, match="is not in the database"):
            sync.screenshot(f"{audit_id}/none.png")
        with pytest.raises(InvalidAudit, match="not below"):
            sync.screenshot("../x.png")


def test_an_import_stores_its_images_with_its_rows(url, running):
    whole, without = io.BytesIO(), io.BytesIO()
    with connect(url):
        audit_id = sync.create("https://a.example").id
        sync.record_many(audit_id, [shot(1), shot(2)])
        first = sync.get(audit_id).screenshots[0].file_path
        assert sync.export(whole).ok
        assert sync.export(without, images=False).ok
        refused = sync.import_(io.BytesIO(whole.getvalue()))
        assert (refused.refused, count()) == (1, 2)
        sync.delete(audit_id)
        assert sync.import_(io.BytesIO(whole.getvalue())).screenshots == 2
        check()
    other = running.new_database()
    with connect(other):
        report = sync.import_(io.BytesIO(without.getvalue()))
        assert (report.ok, report.without_image, count()) == (True, 2, 0)
        sync.delete(audit_id)
        # Another audit's row names another image by that path.
        holder = sync.create("https://b.example").id
        with current_database().atomic():
            images.insert([(first, make_png(9))])
            AuditScreenshot.create(audit=holder, file_path=first, label="x", index_num=0)
        report = sync.import_(io.BytesIO(whole.getvalue()))
        assert (report.audits, report.refused) == (0, 1)
        assert "another image has that name here" in str(list(report.problems))
        assert (count(), sync.screenshot(first)) == (1, make_png(9))


async def test_a_folder_that_is_given_has_the_images_instead(empty, tmp_path):
    folder = tmp_path / "shared"
    async with AuditStore.open(empty, screenshots=folder) as store:
        audit = await store.create("https://a.example")
        await store.record_many(audit.id, [shot(1), shot(2)])
        first, second = (await store.get(audit.id)).screenshots
        assert (folder / first.file_path).read_bytes() == make_png(1)
        assert await store.screenshot(second.file_path) == make_png(2)
        assert await store.read(count) == 0
        assert (await store.export(tmp_path / "x.jsonl")).screenshots == 2
        await store.delete(audit.id)
        assert list(folder.iterdir()) == []
        assert (await store.import_(tmp_path / "x.jsonl")).screenshots == 2
        assert await store.screenshot(second.file_path) == make_png(2)
    async with AuditStore.open(empty) as store:
        with pytest.raises(ScreenshotNotFound):
            await store.screenshot(first.file_path)


def test_a_process_that_is_killed_leaves_each_row_with_its_image_and_no_other(url):
    given = []
    with start("record_until_killed.py", url, "asyncio") as process:
        for line in process.stdout:
            given.append(line.split())
            if len(given) == 300:
                process.kill()
                break
        given += [line.split() for line in process.stdout.read().splitlines()]
    with connect(url):
        check()
        assert count() > 20
        numbers = {row.id for row in AuditEvent.select(AuditEvent.id)}
    ids = {"event": 1, "many": 2}
    for kind, *words in given:
        assert numbers.issuperset(map(int, words[: ids.get(kind, 0)]))
