"""Hostile values given to every function of the store: stored and read back, or a clear error."""

from __future__ import annotations

import contextlib
import enum
import io
import json
import random
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
from anyio import to_thread

from torture.model import Row, Run, fault
from torture.values import TEXTS, Rude, Unstorable, as_stored, may_be_either, same, scalar, value
from veritas_peewee import (
    Audit,
    AuditEvent,
    AuditFinding,
    AuditScreenshot,
    AuditStore,
    StoreError,
    connect,
)
from veritas_peewee.maintenance.verify import verify

HANG = 30
"""Seconds after which a call counts as hung."""
LONGEST_ERROR = 600
LARGE = 50_000_000
"""Characters of the largest texts."""


_STEERS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that can control a terminal or the direction of writing."""


class Hung(Exception):
    """A call has not come back."""


@contextlib.contextmanager
def no_hang(seconds: int = HANG) -> Iterator[None]:
    """Raise Hung in the main thread, whatever it does, once the time is over; on Windows, which has
    no signal for that, never."""
    if sys.platform == "win32":
        yield
        return

    def hung(_: int, frame: FrameType | None) -> None:
        raise Hung(f"a call has not come back within {seconds} s")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check_error(row: Row, what: str, error: BaseException, *names: str) -> None:
    """An error of the store's family whose text is short, printable, and names the thing."""
    if not isinstance(error, StoreError):
        row.problem(f"{what}: {type(error).__name__} came through: {error!s:.100}")
        return
    text = str(error)
    if not text or len(text) > LONGEST_ERROR or not text.isprintable():
        row.problem(f"{what}: the text of an error is {len(text)} long, or not printable: "
                    f"{text[:150]!a}")  # fmt: skip
    if names and not any(name in text for name in names):
        row.problem(f"{what}: the error names none of {names}: {text[:150]}")
    row.count(type(error).__name__)


def counted() -> tuple[int, ...]:
    tables = (Audit, AuditEvent, AuditFinding, AuditScreenshot)
    return tuple(table.select().count() for table in tables)


class Values:
    """The functions that take values, and what is tried with each."""

    def __init__(self, row: Row, store: AuditStore, folder: Path, chance: random.Random) -> None:
        self.row, self.store, self.folder, self.chance = row, store, folder, chance
        self.audit = ""
        self.events = 0
        self.doors: tuple[Callable[[], Awaitable[None]], ...] = (
            self.record, self.record, self.record_many, self.ingest, self.ingest_file,
            self.create, self.update, self.update, self.update_status, self.history, self.lookup,
            self.command,
        )  # fmt: skip

    async def one(self) -> None:
        """One case: whatever fails has changed nothing."""
        if not self.audit or self.events > 50:
            self.audit, self.events = (await self.store.create("https://example.com")).id, 0
        before = await self.store.read(counted)
        door = self.chance.choice(self.doors)
        failed = self.row.figures.get("refused", 0)
        with no_hang():
            await door()
        if self.row.figures.get("refused", 0) > failed:
            after = await self.store.read(counted)
            if after != before:
                self.row.half_saved += 1
                self.row.problem(f"{door.__name__}: refused, and yet {before} became {after}")

    async def tried(self, what: str, call: Awaitable[Any], *names: str) -> tuple[bool, Any]:
        try:
            found = await call
        except Hung:
            raise
        except Exception as error:
            check_error(self.row, what, error, *names)
            self.row.count("refused")
            return False, error
        self.row.acknowledged += 1
        return True, found

    # ---- events ----

    def event(self) -> dict[Any, Any]:
        """An event of any type, with hostile values under known keys or others."""
        chance = self.chance
        kind = chance.choice(
            ("x", "log_entry", "phase_start", "phase_error", "site_type", "security_result",
             "finding", "stats_update", "audit_result", "engine_result", "audit_update", "error?")
        )  # fmt: skip
        inner: Any = value(chance)
        if chance.random() < 0.5:
            known = ("id", "category", "pattern_type", "severity", "confidence", "description",
                     "screenshot_index", "pages_scanned", "elapsed_seconds", "trust_score", "url",
                     "signal_scores", "security_results", "errors", "findings", "start_time",
                     "judge_decision", "vision_result", "scout_results", "narrative")  # fmt: skip
            inner = {chance.choice(known): value(chance) for _ in range(3)}
        named = {
            "finding": "finding", "stats_update": "stats", "audit_result": "result",
            "engine_result": "result", "audit_update": "changes", "security_result": "result",
        }.get(kind, chance.choice(("message", "error", "site_type", "v")))  # fmt: skip
        found = {"type": kind, named: inner}
        if kind == "security_result":
            found["module"] = scalar(chance)
        if chance.random() < 0.1:
            found["type"] = scalar(chance)
        return found

    async def record(self) -> None:
        event = self.event()
        done, _ = await self.tried("record", self.store.record(self.audit, event))
        if done:
            self.events += 1
            await self.compare("record", [event])
        else:
            self.refused_rightly("record", event)

    async def record_many(self) -> None:
        event = self.event()
        events = [{"type": "first"}, event, {"type": "last"}]
        done, _ = await self.tried("record_many", self.store.record_many(self.audit, events))
        if done:
            self.events += 3
            await self.compare("record_many", events)
        else:
            self.refused_rightly("record_many", event)

    async def compare(self, what: str, events: list[dict[Any, Any]]) -> None:
        log = await self.store.events(self.audit)
        for event, stored in zip(events, log[-len(events) :], strict=True):
            try:
                wanted = as_stored(event)
            except (Unstorable, RecursionError):
                if not may_be_either(event):
                    self.row.problem(
                        f"{what}: what cannot be stored was taken: {ascii(stored.data)[:200]}"
                    )
                continue
            if not same(stored.data, wanted):
                self.row.missing += 1
                self.row.problem(
                    f"{what}: {ascii(wanted)[:150]} came back as {ascii(stored.data)[:150]}"
                )
        await self.store.get(self.audit)

    def refused_rightly(self, what: str, event: dict[Any, Any]) -> None:
        kind = event["type"]
        try:
            as_stored(event)
        except (Unstorable, RecursionError):
            return
        if type(kind) is str and 0 < len(kind) <= 100 and not may_be_either(event):
            self.row.problem(f"{what}: refused, and it could be stored: {ascii(event)[:200]}")

    # ---- whole audits ----

    def source(self) -> Any:
        chance = self.chance
        if chance.random() < 0.5:
            names = ("status", "judge_decision", "scout_results", "vision_result", "errors",
                     "investigated_urls", "start_time", "elapsed_seconds", "audit_tier",
                     "security_results", "site_type", "verdict_mode")  # fmt: skip
            result: dict[Any, Any] = {"url": "https://example.com", "status": "completed"}
            for _ in range(3):
                result[chance.choice(names)] = value(chance)
            if chance.random() < 0.5:
                trust = {name: value(chance) for name in ("final_score", "sub_signals")}
                result["judge_decision"] = {"trust_score_result": trust, "narrative": value(chance)}
            return result
        events = [self.event() for _ in range(chance.randrange(1, 4))]
        return value(chance) if chance.random() < 0.1 else [*events, {"type": "audit_complete"}]

    async def ingest(self) -> None:
        source = self.source()
        done, audit = await self.tried("ingest", self.store.ingest(source, url="https://e.example"))
        if done:
            await self.readable(audit.id)

    async def readable(self, audit_id: str) -> None:
        await self.store.get(audit_id)
        for event in await self.store.events(audit_id):
            json.dumps(event.data, allow_nan=False).encode()
        await self.store.delete(audit_id)

    def text(self) -> bytes:
        """A source as a file or a pipe would hold it, at times damaged."""
        chance, source = self.chance, self.source()

        def dumped(found: object) -> str:
            try:
                return json.dumps(found, default=lambda _: "?", skipkeys=True)
            except (TypeError, ValueError, RecursionError, Rude):
                return "[" * chance.choice((10, 5000)) + chance.choice(TEXTS)

        form = chance.randrange(3)
        items = source if type(source) is list else [source]
        if form == 0:
            text = dumped(source)
        elif form == 1:
            text = "\n".join(dumped(item) for item in items)
        else:
            lines = [f"##PROGRESS:{dumped(item)}" for item in items]
            text = "\n".join(["[INFO] [", '{"' + '\\"' * 2000, *lines, chance.choice(TEXTS)])
        data = text.encode(errors="surrogatepass")
        if chance.random() < 0.3:
            place = chance.randrange(len(data) + 1)
            data = data[:place] + bytes([chance.randrange(256)]) + data[place:]
        return data

    async def ingest_file(self) -> None:
        path = self.folder / "source.json"
        path.write_bytes(self.text())
        done, audit = await self.tried(
            "ingest a file",
            self.store.ingest(path, url="https://e.example"),
            "source.json",
            "event",
        )
        if done:
            await self.readable(audit.id)

    # ---- columns ----

    async def create(self) -> None:
        name = self.chance.choice(("url", "id", "audit_tier", "verdict_mode"))
        values = {"url": "https://example.com", name: scalar(self.chance)}
        done, audit = await self.tried("create", self.store.create(**values), name)
        if done:
            given = values[name]
            got = getattr(audit, name)
            if given is not None and not same(got, str.__str__(given)):
                self.row.problem(f"create: {name} is {got!a}, and not what was given")
            await self.readable(audit.id)

    async def update(self) -> None:
        names = ("trust_score", "narrative", "signal_scores", "security_results", "errors",
                 "pages_scanned", "elapsed_seconds", "started_at", "completed_at", "site_type",
                 "status", "url", "risk_level", "bogus", "id", "error_message")  # fmt: skip
        name = self.chance.choice(names)
        given = value(self.chance)
        done, _ = await self.tried(
            f"update {name}", self.store.update(self.audit, **{name: given}), name
        )
        if not done:
            return
        self.events += 1
        got = getattr((await self.store.get(self.audit)), name)
        if name in ("started_at", "completed_at") or may_be_either(given):
            if type(given) is datetime and got != given:
                self.row.problem(f"update: {name} {given!a} came back as {got!a}")
            return
        wanted = as_stored(given)
        if isinstance(got, float) and type(wanted) is int:
            wanted = float(wanted)
        if isinstance(got, enum.Enum):
            got = got.value
        if not same(got, wanted):
            self.row.missing += 1
            self.row.problem(
                f"update: {name} {ascii(wanted)[:100]} came back as {ascii(got)[:100]}"
            )

    async def update_status(self) -> None:
        given, text = scalar(self.chance), scalar(self.chance)
        call = self.store.update_status(self.audit, given, error_message=text)
        done, _ = await self.tried("update_status", call, "status", "error_message")
        self.events += done

    # ---- reading ----

    async def history(self) -> None:
        names = ("status", "risk_level", "url", "site_type", "min_score", "max_score", "since",
                 "until", "limit", "cursor")  # fmt: skip
        name = self.chance.choice(names)
        call = self.store.history(**{name: scalar(self.chance)})
        await self.tried(f"history {name}", call, name)

    async def lookup(self) -> None:
        given = value(self.chance)
        store = self.store
        calls: tuple[Callable[[], Awaitable[Any]], ...] = (
            lambda: store.get(given),
            lambda: store.delete(given),
            lambda: store.events(given),
            lambda: store.events(self.audit, after=given),
            lambda: store.events(self.audit, limit=given),
            lambda: store.screenshot(given),
            lambda: store.record(given, {"type": "x"}),
            lambda: store.record(self.audit, given),
            lambda: store.record_many(given, [{"type": "x"}]),
            lambda: store.update(given, narrative="x"),
        )
        await self.tried("lookup", self.chance.choice(calls)())

    # ---- the command line ----

    async def command(self) -> None:
        chance = self.chance
        word = chance.choice(TEXTS).replace("\0", "") or "x"
        database = str(self.store.location.path)
        source = self.folder / "command.json"
        args = chance.choice(
            (["show", word], ["delete", "--yes", word], ["history", "--url", word],
             ["history", "--cursor", word], ["history", "--since", word],
             ["history", "--min-score", word], ["history", "--status", word],
             ["history", "--limit", word], ["ingest", word], ["ingest", str(source), "--id", word],
             ["ingest", str(source), "--url", "https://e.example"],
             ["ingest", "-", "--url", "https://e.example"], ["ingest", "-"],
             ["ingest", "-", "--url", word])
        )  # fmt: skip
        data = self.text()
        source.write_bytes(data)
        code, _, err = await to_thread.run_sync(
            run_command, [*args, "--database", database, *(["--json"] * chance.randrange(2))], data
        )
        text = " ".join(args)
        if code not in (0, 1, 2):
            self.row.problem(f"{text!a}: exit code {code}")
        if "Traceback" in err or "error of the program" in err:
            self.row.problem(f"{text!a}: {err[:300]!a}")
        for line in err.splitlines():
            if _STEERS.search(line) or len(line) > LONGEST_ERROR + 400:
                self.row.problem(f"{text!a}: a line of {len(line)}: {line[:200]!a}")
        if (code == 0) != (err == "") and code != 0:
            self.row.problem(f"{text!a}: exit code {code}, and no word why")
        self.row.count(f"commands that ended with {code}")


def run_command(args: list[str], data: bytes) -> tuple[int, str, str]:
    """The program's own `run`, with standard streams in memory."""
    from veritas_peewee.cli.app import run

    stdin = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(data))
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(args)
    finally:
        sys.stdin = stdin
    return code, out.getvalue(), err.getvalue()


async def _large(row: Row, store: AuditStore, number: int) -> None:
    """Very long texts and very many keys, which must come back as they were."""
    audit = await store.create("https://example.com")
    many = {f"k{place}": place for place in range(100_000)}
    events: list[dict[str, Any]] = [
        {"type": "log_entry", "message": "\u00e4" * LARGE},
        {"type": "x", "many": many},
        {"type": "security_result", "module": "m", "result": {"text": "x" * LARGE}},
    ]
    for event in events[:number]:
        with no_hang(120):
            event_id = await store.record(audit.id, event)
            (stored,) = await store.events(audit.id, after=event_id - 1)
        if stored.data != event:
            row.missing += 1
        row.acknowledged += 1
    await store.delete(audit.id)


@fault("hostile-values", "hostile values through every door", rounds=10_000, quick=400)
def hostile_values(run: Run) -> Iterator[Row]:
    row = Row("hostile-values", run.rounds)
    path = run.folder / "values" / "audits.db"

    async def main() -> None:
        async with AuditStore.open(path) as store:
            values = Values(row, store, run.folder, run.chance)
            for _ in range(run.rounds):
                await values.one()
            await _large(row, store, 3 if run.rounds >= 1000 else 1)
            audit = await store.create("https://example.com")  # it works as ever
            await store.record(audit.id, {"type": "audit_complete"})

    anyio.run(main)
    check_whole(row, path)
    yield row


def check_whole(row: Row, path: Path) -> None:
    """The file is sound, and `verify` finds nothing."""
    with connect(path, read_only=True) as database:
        for (text,) in database.execute_sql("PRAGMA integrity_check").fetchall():
            if text != "ok":
                row.problem(f"integrity_check: {text}")
        for problem in verify().problems:
            row.problem(f"verify: {problem}")
