"""The generator of changes: what it changes, and what it counts as named, listed and stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from torture.alterations import expected
from torture.alterations.all import changes_of
from torture.alterations.change import Change, run
from torture.alterations.expected import Listed
from torture.alterations.judging import judge
from torture.alterations.specimens import Specimen, specimens
from torture.alterations.tables import Table, tables_of
from torture.alterations.verdict import IMPOSSIBLE, NAMED, NOT_NAMED, Verdict
from torture.faults.alterations import count, unmet
from torture.model import Row
from veritas_peewee import StoreError, sync
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.models import TABLES, AbsentImage, ImportHead, TreeBlock


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Specimen]:
    found = specimens(tmp_path_factory.mktemp("specimens"))
    return {one.name: one for one in found}


@pytest.fixture
def judged(made: dict[str, Specimen], tmp_path: Path) -> Callable[..., Verdict]:
    """The verdict on a statement, run in a copy of the store that was recorded."""

    def verdict(sql: str, **about: object) -> Verdict:
        change = Change("test", "test", "", run(sql), **about)
        return judge(made["recorded"], change, tmp_path / "changed")

    return verdict


def test_each_column_of_each_table_is_changed_in_ten_ways(made: dict[str, Specimen]) -> None:
    ways = defaultdict(set)
    for change in changes_of(made["recorded"]):
        ways[change.what].add(change.how)
    columns = [
        f"{model._meta.table_name}.{field.column_name}"
        for model in TABLES
        # Those that are left out have rows after an import, or a checkpoint, alone.
        if model not in (AbsentImage, ImportHead, TreeBlock)
        for field in model._meta.sorted_fields
    ]
    columns += ["sqlite_sequence.seq", "search_index_data.block", "veritas_migrations.name"]
    assert {column: len(ways[column]) for column in columns if len(ways[column]) < 10} == {}


def test_rows_images_and_parts_are_changed(made: dict[str, Specimen]) -> None:
    changes = changes_of(made["recorded"])
    ways = {(change.what, change.how) for change in changes}
    assert ways >= {
        ("rows of audits", "removed"),
        ("rows of audit_findings", "copied to another audit"),
        ("rows of audit_events", "order changed"),
        ("images", "one bit flipped"),
        ("trigger on audits", "foreign, AFTER UPDATE"),
        ("index on audit_events", "foreign, unique"),
        ("trigger remember_removed_event", "dropped"),
        ("table audits", "made anew without its triggers"),
        ("a head", "of zeros for the newest event"),
    }
    assert {change.where for change in changes} >= {"queued", "running", "completed", "removed"}


def test_a_store_can_be_copied_while_its_changes_are_listed(
    made: dict[str, Specimen], monkeypatch: pytest.MonkeyPatch
) -> None:
    specimen = made["without-images"]
    before = sorted(specimen.folder.iterdir())
    beside = []

    def look(connection: Any) -> list[Table]:
        found = tables_of(connection)
        beside.extend(sorted(specimen.folder.iterdir()))
        return found

    monkeypatch.setattr("torture.alterations.all.tables_of", look)
    assert changes_of(specimen)
    assert beside == before


def test_the_stores_hold_every_kind_of_content(made: dict[str, Specimen]) -> None:
    assert {"queued", "running", "completed", "error", "disconnected"} == set(
        made["recorded"].audits.values()
    )
    for specimen in made.values():
        with closing(driver.connect(specimen.path)) as connection:
            for table in ("audit_findings", "audit_screenshots", "audit_events", "audit_catalog"):
                assert connection.execute(f"SELECT 1 FROM {table}").fetchone(), table
    with closing(driver.connect(made["recorded"].path)) as connection:
        for table in ("audit_runners", "removed_events", "removed_audits", "store_heads"):
            assert connection.execute(f"SELECT 1 FROM {table}").fetchone(), table


def test_an_altered_row_is_named_and_recording_continues(
    judged: Callable[..., Verdict],
) -> None:
    verdict = judged("UPDATE audit_findings SET severity = 'critical' WHERE id = 5")
    assert verdict.state == NAMED
    assert "finding 5" in verdict.texts[-1]
    assert (verdict.crashes, verdict.stopped, verdict.forgotten) == ([], [], False)


def test_what_no_digest_covers_is_not_named(judged: Callable[..., Verdict]) -> None:
    verdict = judged("UPDATE removed_audits SET removed_at = '2020-01-01 00:00:00.000000'")
    assert (verdict.state, verdict.crashes, verdict.stopped) == (NOT_NAMED, [], [])


def test_what_sqlite_refuses_is_no_change(judged: Callable[..., Verdict]) -> None:
    assert judged("UPDATE audits SET url = NULL").state == IMPOSSIBLE


def test_recording_that_stops_is_counted(
    judged: Callable[..., Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(audit: str, event: object) -> None:
        raise StoreError("no")

    monkeypatch.setattr(sync, "record", refuse)
    sql = "UPDATE audits SET narrative = 'x' WHERE status = 'completed'"
    verdict = judged(sql)
    assert verdict.stopped[0] == "a new audit: StoreError: no"
    assert len(verdict.stopped) == 4
    assert not verdict.refused
    assert len(judged(sql, refusable=True).refused) == 4


def test_an_error_that_is_not_the_stores_is_counted(
    judged: Callable[..., Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise TypeError("no")

    monkeypatch.setattr("torture.alterations.naming.verify", fail)
    verdict = judged("UPDATE audits SET narrative = 'x' WHERE status = 'completed'")
    assert "verify: TypeError: no" in verdict.crashes


@pytest.mark.parametrize(
    ("verdict", "problem"),
    [
        (Verdict("a: b", "s", NOT_NAMED), "not named, and not listed"),
        (Verdict("listed: b", "s", NAMED), "listed as unnamed"),
        (Verdict("a: b", "s", NAMED, crashes=["verify: TypeError"]), "TypeError"),
        (Verdict("a: b", "s", NAMED, stopped=["a new audit: refused"]), "refused"),
        (Verdict("a: b", "s", NAMED, forgotten=True), "until something was recorded"),
        (Verdict("a: b", "s", NAMED), None),
        (Verdict("a: b", "s", IMPOSSIBLE), None),
        (Verdict("listed: b", "s", NOT_NAMED), None),
        (Verdict("mended: b", "s", NAMED, forgotten=True), None),
        (Verdict("stopping: b", "s", NAMED, stopped=["no"]), None),
    ],
)
def test_the_lists_are_exact(
    verdict: Verdict, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UNNAMED", "MENDED", "STOPPING"):
        word = {"UNNAMED": "listed"}.get(name, name.lower())
        entry = (Listed(f"{word}: .*", "because"),)
        monkeypatch.setattr(f"torture.faults.alterations.{name}", entry)
    row = Row("test")
    count(row, verdict, set())
    assert bool(row.problems) is (problem is not None)
    assert problem is None or problem in row.problems[0]


def test_an_entry_that_no_change_meets_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Listed("nothing: .*", "because")
    monkeypatch.setattr("torture.faults.alterations.UNNAMED", (*expected.UNNAMED, entry))
    row = unmet({*expected.UNNAMED, *expected.MENDED, *expected.STOPPING})
    assert row.problems == ["nothing: .*: is listed, and no change is like that"]
    assert unmet({*expected.UNNAMED, *expected.MENDED, *expected.STOPPING, entry}).problems == []


def test_every_entry_has_a_reason() -> None:
    for entry in (*expected.UNNAMED, *expected.MENDED, *expected.STOPPING):
        assert entry.reason.endswith("."), entry
