"""A value that no write of the store would store costs its own row, and takes no other down."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.amount import amount, one_in
from tests.support.audits import fill
from tests.support.command_line import run_here
from veritas_peewee import AuditStore, connect, sync
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.maintenance.prune import prune
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot
from veritas_peewee.presentation.data import as_dict
from veritas_peewee.queries.history import Order
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.tables import export_csv

VALUES = {
    "integer": "5", "negative": "-7", "real": "1.5", "inf": "9e999", "blob": "x'00ff'",
    "not UTF-8": "CAST(x'41ff42' AS TEXT)", "JSON not UTF-8": "CAST(x'7b2261223a22ff227d' AS TEXT)",
    "empty": "''", "text": "'odd'", "huge": "hex(zeroblob(20000))",
    "nested": "replace(hex(zeroblob(3000)), '00', '[')", "NUL": "'a' || char(0) || 'b'",
    "nested 500": "replace(hex(zeroblob(500)), '00', '[')"
                  " || replace(hex(zeroblob(500)), '00', ']')",
    "NaN": "'{\"a\":NaN}'", "inf in JSON": "'{\"a\":1e999}'", "list": "'[1,null,{}]'",
    "object": "'{\"a\":{\"b\":[1]},\"b\":null,\"type\":5,\"finding\":7}'",
    "surrogate": "'{\"a\":\"\\ud800\"}'", "digits": "'{\"a\":' || hex(zeroblob(3000)) || '}'",
    "year 9999": "'9999-12-31 23:59:59.999999'", "year 0": "'0000-01-01 00:00:00.000000'",
}  # fmt: skip
TABLES = {"audits": Audit, "audit_findings": AuditFinding, "audit_screenshots": AuditScreenshot,
          "audit_events": AuditEvent}  # fmt: skip
COLUMNS = [
    (table, field.column_name)
    for table, model in TABLES.items()
    for field in model._meta.sorted_fields
    if field.column_name != "id" or table == "audits"
]
ORDERS: tuple[Order, ...] = ("newest", "oldest", "highest", "lowest")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    path = tmp_path_factory.mktemp("whole") / "audits.db"
    with connect(path):
        ids = fill(3)
    with connect(path):
        return path, ids


@pytest.fixture
def copied(whole: tuple[Path, list[str]], tmp_path: Path) -> Path:
    shutil.copytree(whole[0].parent, tmp_path / "copy")
    return tmp_path / "copy" / "audits.db"


def strict(value: object) -> bytes:
    return json.dumps(as_dict(value), allow_nan=False).encode()


def pages(order: Order) -> Iterator[Any]:
    cursor = None
    for _ in range(10):
        page = sync.history(limit=1, order=order, cursor=cursor)
        yield from page.items
        if (cursor := page.next_cursor) is None:
            return
    pytest.fail("the pages come to no end")


def read_everything(victim: str, others: list[str], *, lost: bool) -> None:
    """Read the store in each way; `lost` says that the altered audit cannot be found by its id."""
    assert len(sync.history().items) == 4
    for order in ORDERS:
        found = {audit.id for audit in pages(order)}
        assert found >= set(others)
        assert len(found) == 4
        assert len(strict(sync.history(order=order))) > 100
    for audit_id in others if lost else [victim, *others]:
        strict(sync.get(audit_id))
        strict(sync.events(audit_id))
        sync.report(audit_id).encode()
    strict(sync.search("finding"))
    strict(sync.facets())
    assert sync.count() == 4
    strict(sync.trend(host="shop0.example"))
    strict(sync.compare(others[:2] if lost else [victim, others[0]]))
    followed = others[0] if lost else victim
    number = len(sync.events(followed))  # with an odd status it may never end
    assert len(list(islice(sync.follow(followed), number))) == number
    target = io.BytesIO()
    export_jsonl(target)
    lines = target.getvalue().splitlines()
    assert {json.loads(line)["audit"]["id"] for line in lines if b"$blob" not in line} >= set(
        others
    )
    for table in ("audits", "findings", "events"):
        export_csv(io.BytesIO(), what=table)
    prune(older_than=timedelta(0), keep_newest=0, dry_run=True)
    report = verify()
    assert report.problems
    assert report.unchecked == []


@pytest.mark.parametrize("table_and_column", COLUMNS, ids=".".join)
def test_each_odd_value_in_a_column_costs_its_own_row(whole, copied, table_and_column) -> None:
    table, column = table_and_column
    _, (victim, *others) = whole
    key = "id" if table == "audits" else "audit_id"
    some = "MIN" if table != "audit_events" else "MAX"
    row = f"rowid = (SELECT {some}(rowid) FROM {table} WHERE {key} = '{victim}')"
    sound = copied.read_bytes()
    tried = 0
    for name, value in one_in(4, list(VALUES.items()), COLUMNS.index(table_and_column)):
        copied.write_bytes(sound)
        for end in ("-wal", "-shm"):
            Path(f"{copied}{end}").unlink(missing_ok=True)
        with closing(driver.connect(copied, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            before = connection.execute(f"SELECT CAST({column} AS BLOB) FROM {table}").fetchall()
            connection.execute(f"UPDATE {table} SET {column} = {value} WHERE {row}")
            after = connection.execute(f"SELECT CAST({column} AS BLOB) FROM {table}").fetchall()
        if before == after:
            continue
        tried += 1
        try:
            with connect(copied, read_only=True):
                read_everything(victim, others, lost=column in ("id", "audit_id"))
        except BaseException as error:
            error.add_note(f"{table}.{column}: {name}")
            raise
    assert tried > amount(1, 10)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audits SET signal_scores = replace(hex(zeroblob(100000)), '00', '[')",
        "UPDATE audits SET created_at = hex(zeroblob(600000)), narrative = hex(zeroblob(600000))",
        f"UPDATE audits SET narrative = {VALUES['not UTF-8']}",
        f"UPDATE audit_events SET data = {VALUES['surrogate']}",
        "UPDATE audits SET signal_scores = '{\"a\":1e999}', trust_score = 9e999",
        "UPDATE audit_screenshots SET file_size_bytes = 'x', index_num = x'00ff', label = x'00ff'",
        "UPDATE audit_findings SET severity = x'00ff', confidence = 'x', screenshot_index = 'x'",
        "UPDATE audits SET created_at = x'00ff', pages_scanned = 'x', elapsed_seconds = x'00'",
    ],
)
def test_each_command_shows_it_or_goes_past_it(whole, copied, tmp_path, capsys, sql) -> None:
    _, (victim, other, *_) = whole
    with closing(driver.connect(copied, isolation_level=None)) as connection:
        key = "id" if sql.startswith("UPDATE audits ") else "audit_id"
        connection.execute(f"{sql} WHERE {key} = '{victim}'")
    for words in (
        ["history"], ["history", "--json"], ["show", victim], ["show", victim, "--json"],
        ["search", "finding"], ["stats"], ["trend", "--host", "shop0.example"],
        ["compare", victim, other], ["head"], ["watch", victim], ["verify"], ["verify", "--json"],
        ["verify", "--fix"], ["export", "--format", "html", "--output", tmp_path / "pages"],
        ["export", "--format", "csv"], ["export", "--output", tmp_path / "all.jsonl"],
        ["prune", "--keep", "0", "--dry-run"], ["delete", victim, "--yes"], ["history"],
    ):  # fmt: skip
        done = run_here(capsys, *words, "--database", copied)
        assert "an error of the program" not in done.err, words
        failing = words[0] in ("verify", "export")
        assert done.code == 0 or failing, (words, done.err)


def test_an_export_names_what_an_import_refuses_of_it_and_leaves_the_bytes(whole, copied) -> None:
    _, (victim, *_) = whole
    with closing(driver.connect(copied, isolation_level=None)) as connection:
        connection.execute(
            f"UPDATE audits SET narrative = CAST(x'41ff42' AS TEXT) WHERE id = '{victim}'"
        )
    target = io.BytesIO()
    with connect(copied, read_only=True):
        report = export_jsonl(target, ids=[victim])
    assert len(report.problems) == 1
    assert json.loads(target.getvalue())["audit"]["narrative"] == {"$blob": "Qf9C"}
    target.seek(0)
    with connect(":memory:"):
        assert sync.import_(target).refused == 1


@pytest.mark.parametrize("value", ["5", "x'00ff'", "CAST(x'41ff42' AS TEXT)", VALUES["nested"]])
async def test_followers_go_on_beside_an_odd_event(tmp_path: Path, value: str) -> None:
    path = tmp_path / "audits.db"
    async with AuditStore.open(path) as store:
        victim, other = [(await store.create("https://x.example")).id for _ in range(2)]
        seen: list[str] = []
        all_seen: list[str] = []

        async def follow() -> None:
            async for event in store.follow(other):
                seen.append(event.event_type)

        async def follow_all() -> None:
            async for event in store.follow_all(after=0):
                all_seen.append(event.event_type)
                if event.event_type == "audit_complete":
                    return

        def odd() -> None:
            with closing(driver.connect(path)) as connection, connection:
                connection.execute(
                    "INSERT INTO audit_events (audit_id, event_type, data, timestamp) "
                    f"VALUES ('{victim}', 'x', {value}, {value})"
                )

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow)
                tasks.start_soon(follow_all)
                await store.record(other, {"type": "phase_start"})
                await anyio.to_thread.run_sync(odd)
                await store.record(other, {"type": "audit_complete"})
        assert seen == ["phase_start", "audit_complete"]
        assert all_seen == ["phase_start", "x", "audit_complete"]
        assert len(await store.events(victim)) == 1
        assert [event.event_type for event in await store.events(other)] == seen


async def test_a_function_that_writes_is_given_the_other_rows_too(tmp_path: Path) -> None:
    """By Peewee code of its own, which reads rows one by one."""
    path = tmp_path / "audits.db"
    async with AuditStore.open(path) as store:
        ids = [(await store.create(f"https://{n}.example")).id for n in range(4)]

    def odd() -> None:
        with closing(driver.connect(path)) as connection, connection:
            connection.execute(
                f"UPDATE audits SET narrative = CAST(x'41ff42' AS TEXT) WHERE id = '{ids[1]}'"
            )

    await anyio.to_thread.run_sync(odd)

    def tell() -> list[str]:
        found = []
        for audit in list(Audit.select().order_by(Audit.url)):
            if audit.id != ids[1]:
                audit.error_message = "told"
                audit.save()
            found.append(audit.id)
        return found

    async with AuditStore.open(path) as store:
        assert await store.write(tell) == ids
        both = [store.write(tell), store.write(tell)]  # which share a transaction
        told: list[list[str]] = []

        async def run(call: Any) -> None:
            told.append(await call)

        async with anyio.create_task_group() as tasks:
            for call in both:
                tasks.start_soon(run, call)
        assert told == [ids, ids]
        assert [(await store.get(one)).error_message for one in ids] == [
            "told", None, "told", "told"]  # fmt: skip
