"""Database files: made by the package's own connect(), filled by plain sqlite3, cached."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import history, sample
from benchmarks.sample import Row, audit_id, insert_sql, stored_row
from veritas_peewee import connect

WRITERS = 100
"""Queued audits in a file that is written to."""
AUDITS = 1000
"""Whole audits in the file that R1 and M1 read."""
RESULTS = 1000
FINDINGS = 100_000, 10
"""Audits, and findings of each, in the file that R5 searches."""


def schema_key(data: Path) -> str:
    """A key that changes with the schema, so that no cached file with an older one is used."""
    with tempfile.TemporaryDirectory(dir=data) as folder:
        path = Path(folder, "empty.db")
        with connect(path):
            pass
        with closing(sqlite3.connect(path)) as database:
            rows = database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    return hashlib.sha256(repr((rows, history.VERSION)).encode()).hexdigest()[:10]


def prepare(
    data: Path,
    sizes: Iterable[int],
    *,
    audits: bool,
    results: bool,
    findings: bool,
    lines: Mapping[str, int],
) -> None:
    """Make the files that are missing."""
    data.mkdir(parents=True, exist_ok=True)
    key = schema_key(data)
    (data / "schema-key").write_text(key)
    _cached(data, "queued", _fill_queued)
    if audits:
        _cached(data, "audits", _fill_audits)
    if results:
        _make_results(data)
        _cached(data, "results", partial(_ingest_all, data))
    if findings:
        size, each = FINDINGS
        _cached(data, "findings", partial(_fill_history, size=size, each=each))
    for sort, size in lines.items():
        _make_lines(data, sort, size)
    for size in sizes:
        _cached(data, f"history-{size}", partial(_fill_history, size=size))


def cached_file(data: Path, name: str) -> Path:
    return data / f"{name}-{(data / 'schema-key').read_text()}.db"


def result_files(data: Path) -> list[Path]:
    return sorted((data / "results").glob("*.json"))


def line_file(data: Path, sort: str, size: int) -> Path:
    """The exported audits of a sort of TR."""
    return data / f"lines-{sort.replace(' ', '-')}-{size}.jsonl"


@contextmanager
def copy_of(data: Path, name: str) -> Iterator[Path]:
    """A copy of a cached file, which may be written to; removed afterwards."""
    with tempfile.TemporaryDirectory(dir=data, prefix="run-") as folder:
        path = Path(folder, "audits.db")
        shutil.copyfile(cached_file(data, name), path)
        yield path


@contextmanager
def new_file(data: Path) -> Iterator[Path]:
    """A file without audits, in the schema of the package that runs here; removed afterwards."""
    with tempfile.TemporaryDirectory(dir=data, prefix="run-") as folder:
        path = Path(folder, "audits.db")
        with connect(path):
            pass
        yield path


def _cached(data: Path, name: str, fill: Callable[[Path], object]) -> None:
    path = cached_file(data, name)
    if path.exists():
        return
    for old in data.glob(f"{name}-??????????.db*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    temporary = path.with_suffix(".tmp")
    for old in data.glob(f"{temporary.name}*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    with connect(temporary):
        pass
    fill(temporary)
    with closing(sqlite3.connect(temporary)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.replace(temporary, path)


@contextmanager
def _in_one_go(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous = OFF")
        yield database
        database.commit()


def _fill_queued(path: Path) -> None:
    rows = [sample.audit_row(audit_id(n), f"https://queued.example/{n}") for n in range(WRITERS)]
    with _in_one_go(path) as database:
        insert_rows(database, "audits", rows)


def _fill_audits(path: Path) -> None:
    with _in_one_go(path) as database:
        for number in range(AUDITS):
            insert_whole(database, number)


def insert_whole(database: sqlite3.Connection, number: int) -> None:
    whole = sample.whole_audit(number)
    insert_rows(database, "audits", [whole.audit])
    insert_rows(database, "audit_findings", whole.findings)
    insert_rows(database, "audit_screenshots", whole.screenshots)
    insert_rows(database, "audit_events", whole.events)


def insert_rows(database: sqlite3.Connection, table: str, rows: list[Row]) -> None:
    database.executemany(insert_sql(table, rows[0]), [stored_row(row) for row in rows])


def _fill_history(path: Path, *, size: int, each: int | None = None) -> None:
    """Fill a file; indexes and the catalog are made at the end, for the same file sooner."""
    # Here, for an earlier commit that `--against` measures has other modules, and fills no files.
    from veritas_peewee.catalog.filling import fill

    with _in_one_go(path) as database:
        indexes = database.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL "
            "AND tbl_name IN ('audits', 'audit_findings')"
        ).fetchall()
        for name, _ in indexes:
            database.execute(f'DROP INDEX "{name}"')
        for table, columns, rows in (
            ("audits", history.COLUMNS, history.rows(size)),
            ("audit_findings", history.FINDING_COLUMNS, history.findings(size, each)),
        ):
            marks = ", ".join("?" * len(columns))
            database.executemany(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows
            )
        for _, sql in indexes:
            database.execute(sql)
    with connect(path) as opened, opened.unit():
        fill()


def _make_results(data: Path) -> None:
    folder = data / "results"
    if len(result_files(data)) == RESULTS:
        return
    folder.mkdir(exist_ok=True)
    for number in range(RESULTS):
        text = json.dumps(sample.engine_result(number), indent=2)
        (folder / f"{number:04d}.json").write_text(text)


def _make_lines(data: Path, sort: str, size: int) -> None:
    path = line_file(data, sort, size)
    if path.exists():
        return
    from benchmarks.taken import write_lines

    with tempfile.TemporaryDirectory(dir=data, prefix="run-") as folder:
        write_lines(Path(folder, "lines.jsonl"), sort, size)
        os.replace(Path(folder, "lines.jsonl"), path)


def _ingest_all(data: Path, path: Path) -> None:
    from veritas_peewee import sync

    with connect(path):
        for source in result_files(data):
            sync.ingest(source)
