"""What an export writes: strict, whole or not at all, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import gzip
import io
import json
import stat
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.command_line import PROGRAM, run_here
from tests.support.database_files import by_hand
from tests.support.processes import environment
from veritas_peewee import (
    AuditNotFound,
    AuditStore,
    InvalidAudit,
    StoreClosed,
    StoreError,
    connect,
    sync,
)
from veritas_peewee.database import current
from veritas_peewee.models import Audit, AuditScreenshot
from veritas_peewee.queries import history
from veritas_peewee.recording import operations, recorder, removal
from veritas_peewee.transfer import selection
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.tables import AUDIT_COLUMNS, export_csv


@pytest.fixture(autouse=True)
def path_in_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERITAS_DATABASE", str(path))


# ---- streams ----


class ByParts(io.RawIOBase):
    """A stream without a buffer: a write may take less than all."""

    def __init__(self) -> None:
        self.written = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.written += bytes(data[:1000])
        return min(len(data), 1000)


class Silent:
    """A stream as others write them: it does not say how much it took."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


@pytest.mark.parametrize("made", [ByParts, Silent])
def test_a_stream_gets_all_whatever_it_takes_at_once(
    path: Path, ids: list[str], made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "store.key"
    assert run_here(capsys, "keygen", key, "--name", "audits.example/store").code == 0
    with connect(path):
        checkpoint: Any = sync.head(key=key)
        for export in (
            sync.export,
            export_csv,
            partial(sync.export_bag, ids[0], checkpoint=checkpoint),
        ):
            whole, target = io.BytesIO(), made()
            export(whole)
            export(target)
            assert target.written == whole.getvalue() != b""


class Full(ByParts):
    def write(self, data: Any, /) -> int:
        return 0 if self.written else super().write(data)


class NotNow(ByParts):
    def write(self, data: Any, /) -> Any:
        return None if self.written else super().write(data)


class Awaited:
    def write(self, data: bytes) -> Any:
        return object()  # anyio's files return something to await


@pytest.mark.parametrize("made", [Full, NotNow, Awaited])
def test_a_stream_that_does_not_take_all_is_an_error(path: Path, ids: list[str], made: Any) -> None:
    with connect(path), pytest.raises(StoreError, match="cannot be written: of"):
        sync.export(made())


# ---- JSON Lines ----


def test_a_line_is_strict_json_that_any_program_can_read(path, ids):
    target = io.BytesIO()
    with connect(path, read_only=True):
        export_jsonl(target)
    found = [
        json.loads(line, parse_constant=pytest.fail) for line in target.getvalue().splitlines()
    ]
    assert [line["audit"]["id"] for line in found] == ids[::-1]
    first = found[-1]
    assert (first["format"], first["version"]) == ("veritas-peewee audit", 1)
    assert first["audit"]["trust_score"] == 50.0
    assert first["audit"]["signal_scores"] == {}
    assert first["events"][0]["data"] == {"type": "phase_start", "phase": "scout"}
    assert first["screenshots"][0]["image"].startswith("iVBOR")


def test_a_file_is_for_its_owner_only_and_never_replaces_another(path, ids, tmp_path):
    target = tmp_path / "x.jsonl"
    with connect(path, read_only=True):
        export_jsonl(target)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        before = target.read_bytes()
        for other in (target, path, tmp_path):
            with pytest.raises(StoreError, match="never replaces"):
                export_jsonl(other)
        with pytest.raises(StoreError, match="cannot be written"):
            export_jsonl(tmp_path / "absent" / "x.jsonl")
        assert target.read_bytes() == before


def test_an_export_that_fails_leaves_no_file(path, ids, tmp_path):
    def fail(done: int, total: int | None) -> None:
        assert total == 4
        raise RuntimeError(str(done))

    with connect(path, read_only=True):
        for target in (tmp_path / "x.jsonl", tmp_path / "x.jsonl.gz"):
            with pytest.raises(RuntimeError, match="1"):
                export_jsonl(target, progress=fail)
        with pytest.raises(AuditNotFound, match="nope"):
            export_jsonl(tmp_path / "x.jsonl", ids=[ids[0], "nope"])
        with pytest.raises(InvalidAudit, match="status"):
            export_jsonl(tmp_path / "x.jsonl", status="odd")
    assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


def test_a_disk_that_is_full_is_told(path, ids):
    with (
        connect(path, read_only=True),
        open("/dev/full", "wb", buffering=0) as full,
        pytest.raises(OSError, match="No space"),
    ):
        export_jsonl(full)


def test_what_is_missing_or_altered_is_told_and_written_as_it_is(path, ids, tmp_path):
    with connect(path):
        shots = {row.audit_id: row.file_path for row in AuditScreenshot.select()}
        root = current.screenshot_folder().root
        (root / shots[ids[0]]).unlink()
        (root / shots[ids[1]]).write_bytes(b"x")
    by_hand(path, f"UPDATE audits SET trust_score = 99 WHERE id = '{ids[2]}'")
    with connect(path, read_only=True):
        report = export_jsonl(tmp_path / "x.jsonl")
        assert (report.ok, report.audits) == (False, 4)
        told = sorted(report.problems)
        assert any(ids[0] in text and "No such file" in text for text in told)
        assert any(ids[1] in text and "is not the one" in text for text in told)
        assert any(ids[2] in text and "its row was altered" in text for text in told)
        assert len(told) == 3
        assert export_jsonl(io.BytesIO(), ids=ids[:1], images=False).ok


def test_writers_go_on_while_an_export_runs_and_its_lines_are_whole(path, ids):
    with connect(path) as script:
        target = io.BytesIO()
        seen = []

        def meanwhile(done: int, total: int | None) -> None:
            if done == 1:
                assert not script.raw.in_transaction
                operations.create("https://new.example")
                removal.delete(ids[0])
                recorder.record(ids[1], {"type": "log_entry"})
            seen.append(done)

        assert export_jsonl(target, progress=meanwhile).ok
    found = [json.loads(line)["audit"]["id"] for line in target.getvalue().splitlines()]
    assert found == ids[:0:-1]
    assert seen == [1, 2, 3]


async def test_a_cancelled_export_ends_soon_and_leaves_no_file(file_store, tmp_path):
    await file_store.write(lambda: [operations.create("https://a.example") for _ in range(50)])
    begun = anyio.Event()
    token = anyio.lowlevel.current_token()

    def tell(done: int, total: int | None) -> None:
        anyio.from_thread.run_sync(begun.set, token=token)

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: file_store.export(tmp_path / "x.jsonl", progress=tell))
        await begun.wait()
        group.cancel_scope.cancel()
    with anyio.fail_after(30):
        while list(tmp_path.glob(".x.jsonl*")):
            await anyio.sleep(0.01)
    assert not (tmp_path / "x.jsonl").exists()


async def test_a_closed_store_neither_exports_nor_imports(tmp_path):
    store = await AuditStore.open(tmp_path / "a.db")
    await store.close()
    for call in (store.export, store.import_, store.report):
        with pytest.raises(StoreClosed):
            await call(str(tmp_path / "x"))


# ---- which audits ----


def chosen(**options: Any) -> list[str]:
    target = io.BytesIO()
    assert export_jsonl(target, **options).ok
    return [json.loads(line)["audit"]["id"] for line in target.getvalue().splitlines()]


FILTERS: list[dict[str, Any]] = [
    {"host": "shop1.example"},
    {"host": "https://www.shop1.example/x"},
    {"audit_tier": "standard_audit"},
    {"audit_tier": "quick_scan"},
    {"pattern_type": "urgency"},
    {"pattern_type": "nothing"},
    {"min_severity": "high"},
    {"min_severity": "critical"},
    {"min_severity": "high", "pattern_type": "urgency", "max_score": 51.5},
    {"status": "completed", "order": "oldest"},
    {"order": "highest"},
    {"order": "lowest", "min_score": 50.5},
]


@pytest.mark.parametrize("filters", FILTERS, ids=[str(one)[1:-1] for one in FILTERS])
def test_every_filter_and_order_of_the_history_chooses_the_same_audits(path, ids, filters):
    with connect(path, read_only=True):
        wanted = [audit.id for audit in history.history(**filters).items]
        assert chosen(**filters) == wanted
        assert [row["id"] for row in table(**filters)] == wanted
        totals: list[int | None] = []
        export_jsonl(io.BytesIO(), progress=lambda _, total: totals.append(total), **filters)
        assert totals == [len(wanted)] * len(wanted)


def test_ids_may_come_from_any_iterable_and_are_told_from_a_single_text(path, ids):
    with connect(path, read_only=True):
        assert chosen(ids=(one for one in ids[:2])) == ids[:2]
        assert chosen(ids=dict.fromkeys(ids)) == ids
        for wrong in (ids[0], b"x", 5, [5], [ids]):
            with pytest.raises(InvalidAudit, match="ids: must be a list of audits' ids"):
                export_jsonl(io.BytesIO(), ids=wrong)


def test_ids_and_filters_at_once_and_unknown_filters_are_refused(path, ids):
    with connect(path, read_only=True):
        for both in ({"status": "completed"}, {"order": "oldest"}):
            with pytest.raises(InvalidAudit, match="not both"):
                export_jsonl(io.BytesIO(), ids=ids, **both)
        for name in ("limit", "cursor", "colour"):
            for given in (None, ids):
                with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
                    export_jsonl(io.BytesIO(), ids=given, **{name: "x"})
        with pytest.raises(InvalidAudit, match="order"):
            export_jsonl(io.BytesIO(), order="odd")


@pytest.mark.parametrize("order", ["oldest", "highest", "lowest"])
def test_audits_that_change_their_place_meanwhile_come_once(path, ids, order, monkeypatch):
    monkeypatch.setattr(selection, "_PAGE", 1)
    with connect(path):
        before = [audit.id for audit in history.history(order=order).items]

        def meanwhile(done: int, _: int | None) -> None:
            if done == 1:
                operations.create("https://new.example")
                operations.update(before[0], trust_score=1.0 if order == "highest" else 99.0)
                operations.update(before[-1], trust_score=99.0 if order == "highest" else 1.0)

        target = io.BytesIO()
        export_jsonl(target, order=order, progress=meanwhile)
    found = [json.loads(line)["audit"]["id"] for line in target.getvalue().splitlines()]
    assert found == before


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_what_was_read_of_a_large_store_is_not_kept_in_memory(path, ids, order):
    seen: list[str] = []
    with connect(path, read_only=True) as database:
        database.raw.set_trace_callback(seen.append)
        export_jsonl(io.BytesIO(), order=order)
        database.raw.set_trace_callback(None)
    assert "PRAGMA shrink_memory" in seen


# ---- tables ----


def table(**options: Any) -> list[dict[str, str]]:
    target = io.BytesIO()
    export_csv(target, **options)
    text = target.getvalue().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_table_has_a_row_for_each_audit_finding_or_event(path, ids):
    with connect(path, read_only=True):
        audits = table()
        assert tuple(audits[0]) == AUDIT_COLUMNS
        row = next(row for row in audits if row["id"] == ids[1])
        assert (row["url"], row["status"], row["trust_score"]) == (
            "https://shop1.example/", "completed", "51.0")  # fmt: skip
        assert (row["findings"], row["high"], row["critical"], row["events"]) == (
            "2",
            "2",
            "0",
            "8",
        )
        assert len(row["created_at"]) == len("2026-01-31 18:00:00.123")
        found = table(what="findings", ids=ids[:2])
        assert [row["audit_id"] for row in found] == [ids[0]] * 2 + [ids[1]] * 2
        assert found[0]["description"] == "finding 0"
        events = table(what="events", status="completed")
        assert len(events) == 24
        for moment in (found[0]["created_at"], events[0]["timestamp"]):
            assert len(moment) == len("2026-01-31 18:00:00.123")
        assert json.loads(events[0]["data"])["type"] == "phase_start"
        with pytest.raises(InvalidAudit, match="what: must be one of"):
            export_csv(io.BytesIO(), what="sites")


FORMULAS = [
    "=1+1", "+1", "-1+cmd|'/C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1",
    "\uff1d1+1", '=HYPERLINK("http://evil.example","x")', "\u00a0=1",
]  # fmt: skip


@pytest.mark.parametrize("text", FORMULAS, ids=ascii)
def test_no_cell_is_taken_for_a_formula(path, text):
    with connect(path):
        audit = operations.create("https://example.com")
        operations.update(audit.id, narrative=text, risk_level=text[:40], error_message=text,
                          errors=[text], signal_scores={text: 1.5})  # fmt: skip
        recorder.record(audit.id, {"type": "finding", "finding": {
            "id": "f", "category": text[:40], "pattern_type": text, "severity": "low",
            "confidence": 0.5, "description": text, "plain_english": text}})  # fmt: skip
        recorder.record(audit.id, {"type": text, "message": text})
        for what in ("audits", "findings", "events"):
            for row in table(what=what):
                for name, cell in row.items():
                    if name not in ("screenshot_index", "trust_score"):
                        assert not cell.lstrip().startswith(tuple("=+-@\uff1d")), (name, cell)
                        assert cell[:1] not in ("\t", "\r", "\n"), (name, cell)
        assert table()[0]["narrative"] == f"'{text}"


def test_quotes_commas_and_lines_in_a_text_stay_in_their_cell(path):
    text = 'a,"b"\r\nc;\td\n=1'
    with connect(path):
        audit = operations.create("https://example.com")
        operations.update(audit.id, narrative=text)
        assert table()[0]["narrative"] == text


# ---- the command line ----


def test_export_and_import_from_the_command_line(path, ids, tmp_path, capfd):
    target = tmp_path / "all.jsonl.gz"
    code, out, err = run_here(capfd, "export", "--output", target)
    assert (code, err) == (0, "")
    assert out == f"4 audits, 8 findings, 4 screenshots, 31 events: {target}\n"
    assert len(gzip.decompress(target.read_bytes()).splitlines()) == 4
    code, out, err = run_here(capfd, "export", ids[0], "--no-images", "--json", "--output",
                         tmp_path / "x.jsonl")  # fmt: skip
    assert (code, json.loads(out)["screenshots"], json.loads(out)["audits"]) == (0, 0, 1)
    other = tmp_path / "other.db"
    code, out, err = run_here(capfd, "import", target, "--database", other)
    assert (code, out, err) == (0, "imported 4 audits\n", "")
    code, out, err = run_here(capfd, "import", target, "--database", other)
    assert (code, out, err.count("\n")) == (1, "imported 0 audits, 4 refused\n", 4)
    code, out, err = run_here(
        capfd, "import", target, "--skip-existing", "--database", other, "--json"
    )
    assert (code, json.loads(out)["skipped"], err) == (0, 4, "")
    code, out, err = run_here(
        capfd, "import", tmp_path / "x.jsonl", "--database", tmp_path / "third.db"
    )
    assert "1 screenshot came without the image" in out
    assert run_here(capfd, "verify", "--database", other)[0] == 0


def test_the_command_line_has_the_options_of_history(path, ids, tmp_path, capfd):
    options = [
        *("--host", "shop2.example", "--tier", "standard_audit", "--pattern", "urgency"),
        *("--min-severity", "high", "--status", "completed", "--min-score", "1", "--since", "2026"),
    ]
    for more in (options, ["--order", "lowest"], ["--order", "oldest", "--max-score", "51"]):
        _, out, _ = run_here(capfd, "history", "--json", *more)
        wanted = [item["id"] for item in json.loads(out)["items"]]
        assert wanted
        code, out, err = run_here(capfd, "export", *more)
        assert (code, err) == (0, "")
        assert [json.loads(line)["audit"]["id"] for line in out.splitlines()] == wanted
    folder = tmp_path / "pages"
    assert run_here(capfd, "export", "--format", "html", "--output", folder, *options)[0] == 0
    assert [page.stem for page in folder.iterdir()] == [ids[2]]


def test_a_pipe_takes_audits_from_one_store_to_another(path, ids, tmp_path):
    program = " ".join(PROGRAM)
    done = subprocess.run(
        f"{program} export --status completed | {program} import - --database {tmp_path}/b.db",
        shell=True, capture_output=True, text=True, timeout=60,
        env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "imported 3 audits\n", "")


def test_tables_and_pages_from_the_command_line(path, ids, tmp_path, capfd):
    code, out, _ = run_here(capfd, "export", "--format", "csv", "--what", "findings", ids[0])
    assert (code, len(out.splitlines())) == (0, 3)
    code, out, _ = run_here(capfd, "export", "--format", "html", ids[0])
    assert (code, out[:15]) == (0, "<!doctype html>")
    page = tmp_path / "one.html"
    assert run_here(capfd, "export", "--format", "html", ids[0], "--output", page)[0] == 0
    assert page.read_text() == out
    folder = tmp_path / "pages"
    code, out, _ = run_here(capfd, "export", "--format", "html", "--output", folder)
    assert (code, out) == (0, f"4 audits: {folder}\n")
    assert {file.stem for file in folder.iterdir()} == set(ids)


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["--format", "html"], 2, "several pages need a folder"),
        (["x", "--status", "completed"], 2, "not both"),
        (["--json"], 2, "--json"),
        (["x", "--order", "oldest"], 2, "not both"),
        (["--what", "findings"], 2, "is for --format csv"),
        (["--min-score", "nan"], 2, "min_score"),
        (["nope"], 1, "there is no audit 'nope'"),
        (["--format", "xml"], 2, "xml"),
    ],
)
def test_wrong_usage_is_one_line(path, ids, capfd, args, code, told):
    found, out, err = run_here(capfd, "export", *args)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert told in err


def test_an_older_store_with_odd_rows_can_be_taken_along(path, ids, tmp_path):
    """A row that another program made is written, and told."""
    by_hand(path, "INSERT INTO audits (id, url, created_at, updated_at, trust_score, narrative) "
                  "VALUES ('odd', 'x', '2026', '2026', 9e999, x'00ff')")  # fmt: skip
    target = io.BytesIO()
    with connect(path):
        report = export_jsonl(target, ids=["odd"])
        assert Audit.select().count() == 5
    assert len(report.problems) == 1
    line = json.loads(target.getvalue(), parse_constant=pytest.fail)
    assert line["audit"]["trust_score"] == {"$real": "inf"}
    assert line["audit"]["narrative"] == {"$blob": "AP8="}
