"""`python -m benchmarks.on_postgres`: a store on a server beside what one would write instead.

The engine's mix, one awaited write an event, by four processes with 16 tasks each and by one with
100; a lone event. Every round plays each side once, in turns, on a database of its own; medians and
ratios are printed. Then what is asked of a history of N audits, beside a file, and N who follow.

    python -m benchmarks.on_postgres [--rounds N] [--audits N] [--history N] [--followers N]
    python -m benchmarks.on_postgres play SIDE URL TASKS AUDITS     one process of a round
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks import effects, followers_on_postgres, history_on_postgres
from benchmarks.sample import Row, audit_row, log_event
from benchmarks.transcript import LENGTH, audited_url, make_ready, transcript
from torture.servers import Server, server

ROOT = Path(__file__).resolve().parents[1]
LONE = 300
"""Writes of a lone caller in a round."""


class Side:
    """One way of keeping audits on PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def __aenter__(self) -> Side:
        raise NotImplementedError

    async def __aexit__(self, *error: object) -> None:
        raise NotImplementedError

    async def create(self, number: int, name: str) -> str:
        raise NotImplementedError

    async def record(self, audit_id: str, event: Row) -> None:
        raise NotImplementedError


class Ours(Side):
    async def __aenter__(self) -> Side:
        from veritas_peewee import AuditStore

        self.store = await AuditStore.open(self.url)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.store.close()

    async def create(self, number: int, name: str) -> str:
        return (await self.store.create(audited_url(number))).id

    async def record(self, audit_id: str, event: Row) -> None:
        await self.store.record(audit_id, event)


class SQLAlchemy(Side):
    """SQLAlchemy 2 with asyncpg: ORM models, a session and a commit an event."""

    async def __aenter__(self) -> Side:
        from sqlalchemy import DateTime
        from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

        from benchmarks.peers import sqlalchemy_async as models

        self.models = models
        for table in models.Base.metadata.tables.values():
            for column in table.columns:
                if isinstance(column.type, DateTime):
                    column.type = DateTime(timezone=True)
        plain = self.url.replace("postgresql://", "postgresql+asyncpg://", 1)
        self.engine = create_async_engine(plain, pool_size=16, max_overflow=0)
        with suppress(Exception):  # another process was first
            async with self.engine.begin() as connection:
                await connection.run_sync(models.Base.metadata.create_all)
        self.session = async_sessionmaker(self.engine, expire_on_commit=False)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.engine.dispose()

    async def create(self, number: int, name: str) -> str:
        async with self.session() as session:
            session.add(self.models.Audit(**audit_row(name, audited_url(number))))
            await session.commit()
        return name

    async def record(self, audit_id: str, event: Row) -> None:
        from sqlalchemy import select

        models, taken = self.models, _taken(audit_id, event)
        async with self.session() as session:
            session.add(models.AuditEvent(**taken.row(audit_id)))
            if taken.effect is not None:
                audit = await session.get_one(models.Audit, audit_id)
                effects.apply(audit, taken)
                session.add_all(models.AuditScreenshot(**one) for one in taken.effect.screenshots)
                if taken.effect.findings:
                    finding = models.AuditFinding
                    query = select(finding.pattern_type, finding.description)
                    rows = await session.execute(query.where(finding.audit_id == audit_id))
                    known = {(kind, text) for kind, text in rows}
                    new = effects.missing(taken.effect, known)
                    session.add_all(finding(**one) for one in new)
            await session.commit()


class ByHand(Side):
    """A pool of psycopg 3 connections with autocommit, and SQL by hand."""

    async def __aenter__(self) -> Side:
        from psycopg_pool import AsyncConnectionPool

        self.pool = AsyncConnectionPool(
            self.url, min_size=16, max_size=16, kwargs={"autocommit": True}, open=False
        )
        await self.pool.open()
        with suppress(Exception):
            async with self.pool.connection() as connection:
                await connection.execute(_BY_HAND)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.pool.close()

    async def create(self, number: int, name: str) -> str:
        row = audit_row(name, audited_url(number))
        await self._run(_insert("audits", row), list(row.values()))
        return name

    async def _run(self, sql: str, values: list[Any]) -> None:
        async with self.pool.connection() as connection:
            await connection.execute(sql, [_plain(value) for value in values])

    async def record(self, audit_id: str, event: Row) -> None:
        taken = _taken(audit_id, event)
        row = taken.row(audit_id)
        await self._run(_insert("audit_events", row), list(row.values()))
        effect = taken.effect
        if effect is None:
            return
        for one in effect.screenshots:
            await self._run(_insert("audit_screenshots", one), list(one.values()))
        for one in effect.findings:
            marks = ", ".join(["%s"] * len(one))
            sql = (
                f"INSERT INTO audit_findings ({', '.join(one)}) SELECT {marks} WHERE NOT EXISTS "
                "(SELECT 1 FROM audit_findings WHERE audit_id = %s AND pattern_type = %s AND "
                "description = %s)"
            )
            same = [audit_id, one["pattern_type"], one["description"]]
            await self._run(sql, [*one.values(), *same])
        terms = [f"{name} = %s" for name in effect.columns]
        values = list(effect.columns.values())
        if effect.starts:
            terms, values = ["status = 'running'", "started_at = %s"], [taken.when]
        if effect.results:
            terms.append("security_results = security_results || %s::jsonb")
            values.append(json.dumps(effect.results))
        if terms or effect.screenshots:
            terms.append("updated_at = %s")
            sql = f"UPDATE audits SET {', '.join(terms)} WHERE id = %s"
            await self._run(sql, [*values, taken.when, audit_id])


SIDES: dict[str, type[Side]] = {"ours": Ours, "sqlalchemy": SQLAlchemy, "psycopg": ByHand}

_BY_HAND = """
CREATE TABLE audits (id text PRIMARY KEY, url text NOT NULL, status text, audit_tier text,
    verdict_mode text, trust_score double precision, risk_level text, signal_scores jsonb,
    narrative text, site_type text, site_type_confidence double precision, security_results jsonb,
    pages_scanned int, screenshots_count int, elapsed_seconds double precision, errors jsonb,
    error_message text, started_at timestamptz, completed_at timestamptz, created_at timestamptz,
    updated_at timestamptz);
CREATE TABLE audit_findings (id bigserial PRIMARY KEY, audit_id text REFERENCES audits,
    pattern_type text, category text, severity text, confidence double precision, description text,
    plain_english text, screenshot_index int, created_at timestamptz);
CREATE TABLE audit_screenshots (id bigserial PRIMARY KEY, audit_id text REFERENCES audits,
    file_path text, label text, index_num int, file_size_bytes int, media_type text, sha256 text,
    created_at timestamptz);
CREATE TABLE audit_events (id bigserial PRIMARY KEY, audit_id text REFERENCES audits,
    event_type text, data jsonb, timestamp timestamptz);
CREATE INDEX ON audits (created_at); CREATE INDEX ON audits (status); CREATE INDEX ON audits (url);
CREATE INDEX ON audit_findings (audit_id); CREATE INDEX ON audit_screenshots (audit_id);
CREATE INDEX ON audit_events (audit_id);
"""


def _insert(table: str, row: Row) -> str:
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})"


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def _taken(audit_id: str, event: Row) -> effects.Taken:
    image = None
    if event["type"] == "screenshot":  # the file is the same for the two, and is left out
        image = {"file": f"{audit_id}/{event['index']}.png", "media_type": "image/png",
                 "sha256": "0" * 64, "size": len(event["data"])}  # fmt: skip
    return effects.take(audit_id, event, datetime.now(UTC), image)


async def _play(side: Side, name: str, tasks: int, audits: int) -> Row:
    """Play audits, each by one task at a time; the seconds and the events."""
    numbers = iter(range(audits))

    async def task(number: int) -> None:
        for one in numbers:
            audit_id = await side.create(one, f"{name}{one:06d}")
            for event in transcript(one, audit_id):
                await side.record(audit_id, event)

    async with side:
        first = await side.create(0, f"{name}first")
        for event in transcript(0, first):
            await side.record(first, event)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        begin = perf_counter()
        await asyncio.gather(*(task(number) for number in range(tasks)))
        seconds = perf_counter() - begin
        lone = []
        if tasks == 1:
            for number in range(LONE):
                start = perf_counter()
                await side.record(first, log_event(number))
                lone.append(perf_counter() - start)
        return {"events": audits * LENGTH, "seconds": seconds, "lone": median(lone or [0.0])}


def _round(started: Server, side: str, processes: int, tasks: int, audits: int) -> Row:
    url = started.new_database()
    command = [sys.executable, "-m", "benchmarks.on_postgres", "play", side, url]
    running = [
        subprocess.Popen(
            [*command, str(tasks), str(audits), f"p{number}"],
            cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for number in range(processes)
    ]  # fmt: skip
    for one in running:
        assert one.stdout is not None
        if one.stdout.readline() != "ready\n":
            raise RuntimeError(f"{side} could not be played")
    begin = perf_counter()
    for one in running:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    found = [json.loads(one.communicate()[0]) for one in running]
    seconds = perf_counter() - begin
    started.drop_database(url)
    if processes == 1:
        seconds = found[0]["seconds"]
    return {"per_s": sum(one["events"] for one in found) / seconds, "lone": found[0]["lone"]}


def _bare(started: Server) -> float:
    """The p50 of an INSERT by itself, through psycopg."""
    import psycopg

    url, times = started.new_database(), []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_BY_HAND)
        row = audit_row("one", audited_url(0))
        connection.execute(_insert("audits", row), [_plain(value) for value in row.values()])
        for number in range(LONE):
            event = _taken("one", log_event(number)).row("one")
            start = perf_counter()
            connection.execute(_insert("audit_events", event), list(map(_plain, event.values())))
            times.append(perf_counter() - start)
    started.drop_database(url)
    return median(times)


def _measure(started: Server, rounds: int, audits: int) -> None:
    shapes = {"4 x 16": (4, 16), "1 x 100": (1, 100), "1 x 1": (1, 1)}
    rates: dict[tuple[str, str], list[float]] = {}
    lone: dict[str, list[float]] = {}
    for _ in range(rounds):
        for shape, (processes, tasks) in shapes.items():
            for side in SIDES:
                number = audits if tasks > 1 else max(1, audits // 20)
                got = _round(started, side, processes, tasks, number)
                rates.setdefault((shape, side), []).append(got["per_s"])
                if tasks == 1:
                    lone.setdefault(side, []).append(got["lone"])
        lone.setdefault("bare", []).append(_bare(started))
    for shape in shapes:
        ours = median(rates[shape, "ours"])
        print(f"{shape:8} ours {ours:8.0f} events/s", end="")
        for side in list(SIDES)[1:]:
            other = median(rates[shape, side])
            print(f"   {side} {other:7.0f} ({ours / other:.2f} times)", end="")
        print(f"   spread {min(rates[shape, 'ours']):.0f} to {max(rates[shape, 'ours']):.0f}")
    four, one = median(rates["4 x 16", "ours"]), median(rates["1 x 100", "ours"])
    print(f"four processes against one: {four / one:.2f} times")
    for side, times in lone.items():
        print(f"a lone log_entry, {side}: p50 {median(times) * 1000:.3f} ms")


def main() -> None:
    make_ready()
    if sys.argv[1:2] == ["play"]:
        _, _, side, url, tasks, audits, name = sys.argv
        played = _play(SIDES[side](url), name, int(tasks), int(audits))
        print(json.dumps(asyncio.run(played)))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--audits", type=int, default=100)
    parser.add_argument("--history", type=int, default=0)
    parser.add_argument("--followers", type=int, default=0)
    told = parser.parse_args()
    with server("synchronous_commit=on", "shared_buffers=256MB") as started:
        print(started.version)
        if told.rounds:
            _measure(started, told.rounds, told.audits)
        if told.history:
            history_on_postgres.show(started, told.history)
        if told.followers:
            followers_on_postgres.show(started, told.followers)


if __name__ == "__main__":
    main()
