"""What is asked of a long history on a server, beside the same rows in a file: pages, counts, and
searches. `python -m benchmarks.on_postgres --rounds 0 --history 100000` prints it.

Time is what one caller waits, processor time that of its process and, for the server, of its
session there. Of each it is that of the best round, which others on the same machine disturb least.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from math import inf
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

from benchmarks import files
from benchmarks.history import COMMON, SELDOM, queries
from torture.servers import Server

TABLES = ("audits", "audit_findings", "audit_catalog")
ROUNDS, IN_A_ROW = 12, 5
"""The file and the server are asked in turns, so often in a row each."""


def fill_server(url: str, file: Path) -> None:
    """Give an empty store on a server the rows of a file that `files.prepare` has made.

    They are copied as they are, past the triggers; what is counted is made of them at the end.
    """
    import psycopg

    from veritas_peewee import connect
    from veritas_peewee.catalog.counted import counted_sql, patterned_sql

    with connect(url):
        pass
    with (
        closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as source,
        psycopg.connect(url, autocommit=True) as target,
    ):
        target.execute("SET session_replication_role = replica")
        for table in TABLES:
            columns = [row[1] for row in source.execute(f"PRAGMA table_info({table})")]
            rows: Iterable[tuple[Any, ...]] = source.execute(
                f"SELECT {', '.join(columns)} FROM {table} ORDER BY rowid"
            )
            if table == "audit_catalog":
                columns, rows = [*columns, "words"], _with_words(rows, source)
            into = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
            with target.cursor().copy(into.encode()) as copy:
                for row in rows:
                    copy.write_row(row)
    with connect(url) as opened:
        opened.execute_sql(f"INSERT INTO audit_patterns {patterned_sql()}")
        opened.execute_sql(f"INSERT INTO audit_counts {counted_sql()}")
        for table in TABLES[1:]:
            opened.give_ids_after(table)
    with psycopg.connect(url, autocommit=True) as target:
        target.execute("VACUUM ANALYZE")  # as autovacuum does after a while


def _with_words(
    rows: Iterable[tuple[Any, ...]], source: sqlite3.Connection
) -> Iterator[tuple[Any, ...]]:
    """The entries of the catalog, each with the words that it is found by."""
    from veritas_peewee.catalog.full_text import CONTENT, WORDS
    from veritas_peewee.catalog.vectors import vectors_of

    texts = source.execute(f"SELECT id, {', '.join(WORDS)} FROM {CONTENT} ORDER BY id")
    vectors = vectors_of((entry, list(told)) for entry, *told in texts)
    for row, (entry, vector) in zip(rows, vectors, strict=True):
        if row[0] != entry:
            raise AssertionError(f"entry {row[0]} beside the words of {entry}")
        yield (*row, vector)


class Question(NamedTuple):
    name: str
    function: str
    """Of the facade."""
    arguments: tuple[Any, ...]
    filters: dict[str, Any]


def questions(size: int) -> list[Question]:
    common, seldom = COMMON[0], SELDOM[0]
    site = {"host": "site0.example"}
    asked = [Question(f"page, {one.name}", "history", (), one.filters) for one in queries(size)]
    asked += [
        Question("page, a pattern", "history", (), {"pattern_type": "nagging"}),
        Question("page, critical", "history", (), {"min_severity": "critical"}),
        Question("page, a site", "history", (), site),
        Question("series of a site", "trend", (), site),
        Question("facets", "facets", (), {}),
        Question("facets, completed", "facets", (), {"status": "completed"}),
        Question("count, completed", "count", (), {"status": "completed"}),
    ]
    texts = {
        "a rare word": seldom,
        "two rare words": " ".join(SELDOM),
        "a common word": common,
        "two common words": " ".join(COMMON),
        "a phrase": f'"{" ".join(COMMON)}"',
        "a word without another": f"{common} -{COMMON[1]}",
        "a beginning": f"{seldom[:4]}*",
        "no match": "qqxyz",
    }
    asked += [Question(f"search, {name}", "search", (text,), {}) for name, text in texts.items()]
    asked.append(Question("search, common, errors", "search", (common,), {"status": "error"}))
    asked.append(Question("search, common, a site", "search", (common,), site))
    return asked


class _Asked:
    """A store that is asked, and what that has cost."""

    def __init__(self, store: Any, sessions: list[int]) -> None:
        self.store = store
        self.sessions = sessions
        """The server's processes of this store's connections."""
        self.waited = self.used = inf
        """The seconds that a question has taken in the best round, and those of processors."""

    async def ask(self, question: Question, times: int) -> Any:
        function, found = getattr(self.store, question.function), None
        used, start = self._used(), perf_counter()
        for _ in range(times):
            found = await function(*question.arguments, **question.filters)
        self.waited = min(self.waited, (perf_counter() - start) / times)
        self.used = min(self.used, (self._used() - used) / times)
        return found

    def _used(self) -> float:
        return process_time() + sum(map(_processor_time, self.sessions))


def _processor_time(process: int) -> float:
    found = Path(f"/proc/{process}/schedstat")
    return int(found.read_text().split()[0]) / 1e9 if found.exists() else 0.0


async def _show(file: Path, url: str, size: int) -> None:
    import psycopg

    from veritas_peewee import AuditStore

    # One reader each: it is known which of the server's processes serves it.
    async with AuditStore.open(file, readers=1) as here, AuditStore.open(url, readers=1) as there:
        await there.history()
        with psycopg.connect(url) as other:
            rows = other.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'veritas-peewee reader'"
            ).fetchall()
        for question in questions(size):
            sessions = [pid for (pid,) in rows]
            # So often that what is made once is made, and a server has chosen its plans.
            found = [await _Asked(store, []).ask(question, 7) for store in (here, there)]
            if _number(found[0]) != _number(found[1]):
                raise AssertionError(f"{question.name}: the two answer differently")
            both = _Asked(here, []), _Asked(there, sessions)
            for _ in range(ROUNDS):
                for one in both:
                    await one.ask(question, IN_A_ROW)
            file_s, server_s = both
            print(
                f"{question.name:40} {server_s.waited * 1000:8.2f} ms, "
                f"{server_s.waited / file_s.waited:5.2f} times a file's; processor time "
                f"{server_s.used * 1000:7.2f} ms, {server_s.used / file_s.used:5.2f} times",
                flush=True,
            )


def _number(found: Any) -> Any:
    """What two stores must answer alike; the order of hits is each one's own."""
    rows = getattr(found, "items", None) or getattr(found, "points", None)
    return len(rows) if isinstance(rows, list) else 0


def show(started: Server, size: int) -> None:
    """Ask both about a history of so many audits, and print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        files.prepare(data, (size,), audits=False, results=False, findings=False, lines={})
        file, url = files.cached_file(data, f"history-{size}"), started.new_database()
        fill_server(url, file)
        print(f"a history of {size} audits on a server, beside a file:", flush=True)
        asyncio.run(_show(file, url, size))
        started.drop_database(url)
