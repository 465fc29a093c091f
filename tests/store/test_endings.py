"""However a unit ends and whatever it did: what its caller is told is what is in the file.

Each test lets one operation end in one way, alone or in a batch with others. Then

- a caller who was told that it is done finds all of it, one who was told of an error nothing, and
  one who was told that the outcome is not known finds one of the two;
- each row has its file and, unless the outcome is not known, each file its row;
- `verify` finds nothing, also with a head from before;
- the others of the batch were told the truth as well;
- every slot of the queue is free again, and the next writes succeed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import peewee
import pytest

from tests.support.amount import one_in
from tests.support.images import stored_images
from tests.support.on_server import by_hand
from tests.support.posix_modules import resource
from tests.support.writes import Gate, Unreliable
from veritas_peewee import Audit, AuditStore, StoreError, connect, sync
from veritas_peewee.database.current import current_database
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.maintenance.removing import remove_some
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.testing import make_event, make_finding
from veritas_peewee.threads import writer

SLOTS = 12
TABLES = {
    "audits": "id", "audit_events": "audit_id", "audit_findings": "audit_id",
    "audit_screenshots": "audit_id", "audit_runners": "audit_id", "audit_catalog": "audit_id",
}  # fmt: skip
SHOT = make_event("screenshot", label="new", index=1)
FINDING = make_event("finding", finding=make_finding(7))
LOG = make_event("log_entry", message="new")
END = make_event("audit_complete")
OUTPUT = [make_event("phase_start"), FINDING, SHOT, END]


# ---- what a unit does ----


@dataclass(frozen=True)
class Work:
    """An operation on an audit, as callers reach it and as a function inside `store.write`."""

    name: str
    point: str
    """Where a trigger is on the operation's last table; `{row}` has the audit's id."""
    call: Callable[[AuditStore, str], Awaitable[object]]
    inside: Callable[[str], object]
    before: tuple[dict[str, Any], ...] | None = (SHOT, FINDING)
    """The events that the audit has before; None if there is no such audit yet."""


def exported(audit_id: str) -> Path:
    return Path.cwd() / f"{audit_id}.jsonl"


def own_write(audit_id: str) -> None:
    """What a caller's own function may do: Peewee, an event, and something outside the database."""
    database = current_database()
    database.after_commit(partial(FOLLOWED.append, f"{audit_id} committed"))
    database.after_rollback(partial(FOLLOWED.append, f"{audit_id} undone"))
    Audit.update(site_type="shop").where(Audit.id == audit_id).execute()
    sync.record(audit_id, SHOT)


async def import_file(store: AuditStore, audit_id: str) -> None:
    report = await store.import_(exported(audit_id))
    if report.problems:
        raise LookupError(report.problems[0])


def import_inside(audit_id: str) -> None:
    assert not sync.import_(exported(audit_id)).problems


FOLLOWED: list[str] = []

WORKS = [
    Work("event", "INSERT ON main.audit_events WHEN NEW.audit_id", lambda s, a: s.record(a, LOG),
         lambda a: sync.record(a, LOG)),
    Work("finding", "INSERT ON main.audit_findings WHEN NEW.audit_id",
         lambda s, a: s.record(a, FINDING | {"finding": make_finding(8)}),
         lambda a: sync.record(a, FINDING | {"finding": make_finding(8)})),
    Work("image", "INSERT ON main.audit_screenshots WHEN NEW.audit_id",
         lambda s, a: s.record(a, SHOT), lambda a: sync.record(a, SHOT)),
    Work("many", "INSERT ON main.audit_screenshots WHEN NEW.audit_id",
         lambda s, a: s.record_many(a, [LOG, LOG, SHOT, SHOT]),
         lambda a: sync.record_many(a, [LOG, LOG, SHOT, SHOT])),
    Work("update", "UPDATE ON main.audits WHEN NEW.id",
         lambda s, a: s.update(a, site_type="shop"), lambda a: sync.update(a, site_type="shop")),
    Work("delete", "DELETE ON main.audits WHEN OLD.id",
         lambda s, a: s.delete(a), lambda a: sync.delete(a), (SHOT, FINDING, END)),
    Work("prune", "DELETE ON main.audits WHEN OLD.id",
         lambda s, a: s.write(remove_some, [a]), lambda a: remove_some([a]), (SHOT, FINDING, END)),
    Work("import", "INSERT ON main.audit_events WHEN NEW.audit_id",
         import_file, import_inside, None),
    Work("ingest", "INSERT ON main.audit_screenshots WHEN NEW.audit_id",
         lambda s, a: s.ingest(OUTPUT, audit_id=a, url="https://example.com/"),
         lambda a: sync.ingest(OUTPUT, audit_id=a, url="https://example.com/"), None),
    Work("own", "INSERT ON main.audit_screenshots WHEN NEW.audit_id",
         lambda s, a: s.write(own_write, a), own_write),
]  # fmt: skip


# ---- how it ends ----


def execute(sql: str) -> None:
    current_database().execute_sql(sql)


@dataclass
class Case:
    """A store, the work in it, and what everybody was told."""

    store: AuditStore
    work: Work
    told: dict[str, Any] = field(default_factory=dict)
    gate: Gate = field(default_factory=Gate)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def at_the_point(self, what: str, *prepared: str) -> None:
        """Have `what` happen when the work changes the last of its rows."""
        if self.store.location.server is not None:
            self.trigger_there(what)
            for statement in prepared:
                await self.store.write(execute, statement)
            return
        trigger = f"CREATE TEMP TRIGGER ends AFTER {self.work.point} = 'work' BEGIN {what}; END"
        for statement in (*prepared, trigger):
            await self.store.write(execute, statement)

    def trigger_there(self, what: str) -> None:
        """On a server, where no trigger of a table is temporary: it is dropped after `run`."""
        what = "RAISE integrity_constraint_violation" if "RAISE" in what else what
        point = self.work.point.replace(" ON main.", " ON ").replace(
            " WHEN ", " FOR EACH ROW WHEN ("
        )
        by_hand(
            self.url,
            f"CREATE FUNCTION ends() RETURNS trigger LANGUAGE plpgsql AS "
            f"'BEGIN {what}; RETURN NULL; END'",
            f"CREATE TRIGGER ends AFTER {point} = 'work') EXECUTE FUNCTION ends()",
        )

    @property
    def url(self) -> str:
        assert self.store.location.server is not None
        return self.store.location.server

    async def call_at_the_point(self, fn: Callable[[], object]) -> None:
        raw = await self.store.write(lambda: current_database().raw)
        if self.store.location.server is not None:
            raw.watch = self.before_the_point(raw.watch, fn)
            return
        raw.create_function("ends_now", 0, fn)
        await self.at_the_point("SELECT ends_now()")

    def before_the_point(self, watch: Any, fn: Callable[[], object]) -> Callable[[str], None]:
        """Of a server's connection, a `watch` that calls `fn` at the work's last statement."""
        what, table = self.work.point.split(" WHEN ")[0].split(" ON main.")

        def at_statement(sql: str) -> None:
            watch(sql)
            is_alone = self.work.name == "event" and "veritas_append(" in sql
            if is_alone or (sql.startswith(what) and f'"{table}"' in sql):
                fn()

        return at_statement


@dataclass(frozen=True)
class Ending:
    """A way in which a unit ends."""

    name: str
    may_be_told: tuple[str, ...]
    """Any of `done`, `failed`, `unknown`, `cancelled`."""
    prepare: Callable[[Case], Awaitable[object]] | None = None
    """Called before the work begins."""
    inside: Callable[[str, Work], None] | None = None
    """The work as a function of the caller's, for endings that happen in such a function."""
    stays: bool | None = None
    """Whether what the work did stays, if that is not what its caller is told."""
    takes_all: bool = False
    """Whether it ends the whole transaction, with all who share it."""
    only_file: bool = False
    whatever: bool = False
    """Whether it is the caller who has decided what stays, by SQL given to the driver."""
    unsealed: bool = False
    """Whether rows may be committed before their seals are renewed."""


def throw(error: BaseException) -> Callable[[str, Work], None]:
    def end(audit_id: str, work: Work) -> None:
        work.inside(audit_id)
        raise error

    return end


def to_the_driver(*statements: str, error: Any = None) -> Callable[[str, Work], None]:
    def end(audit_id: str, work: Work) -> None:
        work.inside(audit_id)
        for sql in statements:
            current_database().raw.execute(sql)
        if error is not None:
            raise error

    return end


def caught(scope: str) -> Callable[[str, Work], None]:
    def end(audit_id: str, work: Work) -> None:
        with contextlib.suppress(LookupError), getattr(current_database(), scope)():
            work.inside(audit_id)
            raise LookupError

    return end


def no_room() -> None:
    """From now on no file can grow or be written: as on a full disk, but for this process alone."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def one_too_few(case: Case) -> Awaitable[None]:
    return case.at_the_point(
        "INSERT INTO ends_child VALUES (1)",
        "CREATE TEMP TABLE ends_parent (id INTEGER PRIMARY KEY)",
        "CREATE TEMP TABLE ends_child "
        "(parent INTEGER REFERENCES ends_parent DEFERRABLE INITIALLY DEFERRED)",
    )


def stop_at_the_point(case: Case) -> Awaitable[None]:
    return case.call_at_the_point(case.gate)


FAILED, UNKNOWN = ("failed",), ("unknown",)
ENDINGS = [
    Ending("returns", ("done",)),
    Ending("fails", FAILED, lambda case: case.at_the_point("SELECT RAISE(ABORT, 'no')")),
    Ending("raises", FAILED, inside=throw(LookupError("mine"))),
    Ending("exits", FAILED, inside=throw(SystemExit(3))),
    Ending("is interrupted", FAILED, inside=throw(KeyboardInterrupt())),
    Ending("undone in atomic", ("done",), inside=caught("atomic"), stays=False),
    Ending("undone in a unit", ("done",), inside=caught("unit"), stays=False),
    Ending("COMMIT is refused", FAILED, one_too_few, takes_all=True),
    Ending("COMMIT finds no room", FAILED, lambda case: case.call_at_the_point(no_room),
           takes_all=True, only_file=True),
    Ending("SQLite ends it", FAILED, lambda case: case.at_the_point("SELECT RAISE(ROLLBACK, 'no')"),
           takes_all=True),
    *(
        Ending(f"{', '.join(statements)} to the driver{', then raises' if error else ''}",
               FAILED if error else UNKNOWN, inside=to_the_driver(*statements, error=error),
               takes_all=True, whatever=True, unsealed="COMMIT" in statements)
        for statements, error in (
            (("ROLLBACK",), None),
            (("COMMIT",), None),
            (("COMMIT",), LookupError("mine")),
            (("ROLLBACK", "BEGIN"), None),
            (("COMMIT", "BEGIN"), LookupError("mine")),
        )
    ),
    Ending("cancelled before", ("cancelled",), stays=False),
    Ending("cancelled after", ("cancelled",), stop_at_the_point, stays=True),
    Ending("closed before", FAILED, only_file=True),
    Ending("closed after", ("done",), stop_at_the_point, only_file=True),
]  # fmt: skip


# ---- what is there ----

State = tuple[dict[str, list[tuple[Any, ...]]], set[str]]


async def state_of(store: AuditStore, audit_id: str) -> State:
    """The rows of an audit as a connection of its own sees them, and its files."""

    select = "SELECT * FROM {} WHERE {} = ?"

    def rows(connection: Any) -> dict[str, list[tuple[Any, ...]]]:
        return {
            table: sorted(connection.execute(select.format(table, column), (audit_id,)), key=str)
            for table, column in TABLES.items()
        }  # fmt: skip

    def look() -> State:
        with connect(store.location.given, read_only=True) as opened:
            images = {name for name in stored_images() if name.startswith(f"{audit_id}/")}
            return rows(opened.raw), images

    if store.location.server is not None:
        return await anyio.to_thread.run_sync(look)
    if store.location.path is None:
        found = await store.read(lambda: rows(current_database().raw))
    else:
        with closing(driver.connect(store.location.path)) as connection:
            found = rows(connection)
    folder = store.location.screenshots
    assert folder is not None
    files = {path.relative_to(folder).as_posix() for path in folder.glob(f"{audit_id}/*")}
    return found, files


def shape(state: State) -> tuple[Any, ...]:
    """What two audits share in which the same was done."""
    rows, files = state
    audit = [(row[2], row[7:9]) for row in rows["audits"]]
    return {table: len(found) for table, found in rows.items()}, len(files), audit


def named_files(state: State) -> set[str]:
    values = [value for row in state[0]["audit_screenshots"] for value in row]
    return {value for value in values if isinstance(value, str) and value.endswith(".png")}


async def problems(store: AuditStore, head: str) -> list[str]:
    if store.location.in_memory:
        return list(await store.read(lambda: verify(against=head).problems))

    def look() -> list[str]:
        with connect(store.location.given, screenshots=store.location.screenshots, read_only=True):
            return list(verify(against=head).problems)

    return await anyio.to_thread.run_sync(look)


# ---- neighbours ----

NEIGHBOURS: dict[str, Callable[[AuditStore, str], Awaitable[object]]] = {
    "shot": lambda store, audit_id: store.record(audit_id, SHOT),
    "finding": lambda store, audit_id: store.record(audit_id, FINDING),
    "event": lambda store, audit_id: store.record(audit_id, LOG),
    # Here comes the work; if that is an event too, the three are one statement.
    "more": lambda store, audit_id: store.record(audit_id, LOG),
    "image": lambda store, audit_id: store.record(audit_id, SHOT),
}


async def tell(told: dict[str, Any], name: str, call: Callable[[], Awaitable[object]]) -> None:
    try:
        told[name] = ("done", await call())
    except (
        StoreError,
        peewee.PeeweeException,
        LookupError,
        SystemExit,
        KeyboardInterrupt,
    ) as error:
        told[name] = ("unknown" if "is not known" in str(error) else "failed", error)
    except BaseException:
        told[name] = ("cancelled", None)
        raise


async def queued(store: AuditStore, number: int) -> None:
    with anyio.fail_after(30):
        while store.stats().pending < number:
            await anyio.sleep(0.001)


async def run(case: Case, ending: Ending, *, batch: bool) -> None:
    """Let the work, and in a batch its neighbours on either side, run and end."""
    store, told = case.store, case.told
    call = partial(case.work.call, store, "work")
    if ending.inside is not None:
        call = partial(store.write, ending.inside, "work", case.work)

    async def work() -> None:
        with case.scope:
            await tell(told, "work", call)

    held = batch or ending.name in ("cancelled before", "closed before")
    first, number = Gate(), 0
    async with anyio.create_task_group() as tasks:
        if held:
            tasks.start_soon(tell, told, "first", partial(store.write, first))
            await first.wait()
        names = list(NEIGHBOURS) if batch else []
        for name in [*names[:3], "work", *names[3:]]:
            if name == "work":
                tasks.start_soon(work)
            else:
                tasks.start_soon(tell, told, name, partial(NEIGHBOURS[name], store, name))
            number += 1
            if held:
                await queued(store, number)
        if ending.name == "cancelled before":
            case.scope.cancel()
            await anyio.wait_all_tasks_blocked()
        if ending.name == "closed before":
            # The writer is busy for longer than the store waits when it is closed.
            with pytest.raises(StoreError, match="has not ended"):
                await store.close()
        first.release.set()
        if ending.prepare is stop_at_the_point:
            await case.gate.wait()
            if ending.name == "cancelled after":
                case.scope.cancel()
            else:
                tasks.start_soon(store.close)
                with anyio.fail_after(30):
                    while not store._closing:
                        await anyio.sleep(0.001)
            case.gate.release.set()


# ---- the test ----

STOPS_THERE = ("event", "image", "update", "delete", "own")
"""The works that a server's connection shows by a statement of their own."""


@pytest.fixture
def anyio_backend(place: str) -> str:
    return "asyncio" if place == "file" else "trio"


@pytest.fixture
async def store(
    place: str, tmp_path: Path, monkeypatch: Any, request: pytest.FixtureRequest
) -> Any:
    monkeypatch.chdir(tmp_path)
    there = request.getfixturevalue("server").new() if place == "server" else nullcontext()
    with there as url:
        path = ":memory:" if place == "memory" else tmp_path / "audits.db"
        images = None if place == "server" else tmp_path / "images"
        opened = await AuditStore.open(url or path, max_pending=SLOTS, screenshots=images)
        yield opened
        await opened.close()


@pytest.fixture(autouse=True)
def room() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    FOLLOWED.clear()
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def cases(*places: str) -> Iterator[Any]:
    for place, ending, work, batch in product(places, ENDINGS, WORKS, (False, True)):
        if place == "server" and (
            ending.name in ("SQLite ends it", "COMMIT finds no room")
            # Others in a batch have statements of the same kind.
            or (batch and ending.prepare is stop_at_the_point)
            # That it runs does not show in one statement.
            or (ending.prepare is stop_at_the_point and work.name not in STOPS_THERE)
        ):
            continue
        # A store in memory has the same writer: what others in a batch are told shows both.
        if place == "memory" and (ending.only_file or not batch):
            continue
        # It is several writes, the first of which would be in the batch: see test_import.
        several = work.name == "import" and ending.inside is None
        if several and (batch or ending.name.startswith(("cancelled", "closed"))):
            continue
        company = "in a batch" if batch else "alone"
        name = f"{place}-{ending.name}-{work.name}-{company}"
        yield pytest.param(place, ending, work, batch, id=name)


@pytest.mark.parametrize(
    ("place", "ending", "work", "batch"),
    [*one_in(3, list(cases("file", "memory"))), *one_in(7, list(cases("server")))],
)
@pytest.mark.ends_within(60)
async def test_what_a_caller_is_told_is_what_is_there(
    store: AuditStore, ending: Ending, work: Work, batch: bool, monkeypatch: Any
) -> None:
    monkeypatch.setattr(writer, "CLOSE_TIMEOUT", 0.2 if ending.name == "closed before" else 60)

    after = await prepared(store, work)
    before = {name: await state_of(store, name) for name in (*NEIGHBOURS, "work")}
    head = str(await store.head())
    case = Case(store, work)
    if ending.prepare is not None:
        await ending.prepare(case)

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        await run(case, ending, batch=batch)
    finally:
        if store.location.server is not None:
            by_hand(case.url, "DROP FUNCTION IF EXISTS ends CASCADE")
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    if not ending.name.startswith("closed"):
        await everything_is_free(store)
    found = {name: await state_of(store, name) for name in before}
    told, error = case.told["work"]
    assert told in ending.may_be_told, error
    stays = ending.stays if ending.stays is not None else told == "done"
    if ending.whatever:
        # Files that no row names may be left then, but what is there is whole.
        stays = shape(found["work"])[0] == after[0]
    if stays and ending.whatever:
        assert shape(found["work"])[::2] == after[::2]
    elif stays:
        assert shape(found["work"]) == after
    else:
        assert found["work"][0] == before["work"][0]
    for name in NEIGHBOURS if batch else ():
        told, error = case.told[name]
        if ending.takes_all or ending.name == "closed before":
            assert told == ("unknown" if ending.whatever else "failed"), error
            assert isinstance(error, StoreError)
        else:
            assert told == "done", error
        is_there = found[name][0] != before[name][0]
        assert told == "unknown" or is_there is (told == "done")
    for name, state in found.items():
        if ending.whatever:
            assert named_files(state) <= state[1], name
        else:
            assert named_files(state) == state[1], name
    if work.name == "own":
        follows = ["committed"] if case.told["work"][0] == "done" else ["undone"]
        if ending.stays is not None:
            follows = ["committed"] if ending.stays else ["undone"]
        if ending.whatever or ending.name in ("cancelled before", "closed before"):
            follows = []
        assert [one for one in FOLLOWED if one.startswith("work")] == [
            f"work {one}" for one in follows
        ]
    said = await problems(store, head)
    assert said == [] or (ending.unsealed and all("altered" in one for one in said))


async def prepared(store: AuditStore, work: Work) -> tuple[Any, ...]:
    """Add two audits alike; returns the shape of one after the work in it, without any fault."""
    for audit_id in (*NEIGHBOURS, "twin", "work"):
        if audit_id in NEIGHBOURS or work.before is not None:
            await store.create("https://example.com/", id=audit_id)
        if audit_id not in NEIGHBOURS and work.before is not None:
            await store.record_many(audit_id, work.before)
    if work.name == "import":
        await anyio.to_thread.run_sync(export_two)
    await work.call(store, "twin")
    return shape(await state_of(store, "twin"))


def export_two() -> None:
    """Two audits as files, from a store of their own."""
    with connect(Path("elsewhere") / "audits.db"):
        for audit_id in ("twin", "work"):
            sync.create("https://example.com/", id=audit_id)
            sync.record_many(audit_id, OUTPUT)
            sync.export(exported(audit_id), ids=[audit_id])


async def everything_is_free(store: AuditStore) -> None:
    """Nobody holds a slot of the queue, a transaction or a lock: the next writes succeed."""
    with anyio.fail_after(30):
        if store.location.server is None:
            await store.write(execute, "DROP TRIGGER IF EXISTS ends")
        gate, told = Gate(), dict[str, Any]()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tell, told, "first", partial(store.write, gate))
            await gate.wait()
            for number in range(SLOTS - 1):
                add = partial(store.create, "https://example.com/", id=f"next{number}")
                tasks.start_soon(tell, told, str(number), add)
            await queued(store, SLOTS - 1)
            assert store.stats().waiting == 0
            gate.release.set()
    assert {one[0] for one in told.values()} == {"done"}
    assert await store.read(lambda: Audit.get_by_id("next0").url) == "https://example.com/"


# ---- the store's own statements fail ----


FAULTS = {
    ("BEGIN",): {"failed"},
    ("COMMIT",): {"failed"},
    ("COMMIT", "ROLLBACK"): {"unknown"},
    ("COMMIT but undone",): {"failed"},
    ("COMMIT but undone", "PRAGMA user_version ="): {"unknown"},
    ("COMMIT but done",): {"unknown"},
    ("COMMIT but done, without a code",): {"unknown"},
    ("SAVEPOINT",): {"failed", "done"},
    ("RELEASE unit",): {"unknown"},
    ("RELEASE catalog",): {"failed", "done"},
    ("RELEASE words",): {"failed", "done"},
    ("ROLLBACK TO",): {"failed", "unknown"},
    ("ROLLBACK TO", "ROLLBACK"): {"failed", "unknown"},
}
"""What may be told if a statement fails, and then perhaps the one that should mend it."""


def fault_cases() -> Iterator[Any]:
    works = [work for work in WORKS if work.name in ("event", "image", "delete", "ingest", "own")]
    for place, fault, work, batch in product(("file", "memory"), FAULTS, works, (False, True)):
        name = f"{place}-{' and '.join(fault)}-{work.name}-{'in a batch' if batch else 'alone'}"
        yield pytest.param(place, fault, work, batch, id=name)


@pytest.mark.parametrize(("place", "fault", "work", "batch"), one_in(3, list(fault_cases())))
@pytest.mark.ends_within(60)
async def test_a_statement_of_the_stores_own_that_fails_is_told_to_those_whom_it_costs(
    store: AuditStore, fault: tuple[str, ...], work: Work, batch: bool
) -> None:
    after = await prepared(store, work)
    before = {name: await state_of(store, name) for name in (*NEIGHBOURS, "work")}
    head = str(await store.head())
    case = Case(store, work)
    if fault[0] == "ROLLBACK TO":
        await case.at_the_point("SELECT RAISE(ABORT, 'no')")

    unreliable = await store.write(lambda: Unreliable.put(current_database()))
    # The transaction that holds the writer while the batch gathers is not the one to fail.
    unreliable.fails, unreliable.sound = list(fault), int(batch)
    await run(case, Ending("fails by itself", ("done",)), batch=batch)
    was_hit = len(unreliable.fails) < len(fault)
    unreliable.fails.clear()

    await everything_is_free(store)
    found = {name: await state_of(store, name) for name in before}
    told = {name: case.told[name][0] for name in (*NEIGHBOURS, "work") if name in case.told}
    if was_hit:
        # Events that fail together are tried again one by one, and then all may succeed.
        assert set(told.values()) <= FAULTS[fault]
        if not (batch and "done" in FAULTS[fault]):
            assert "failed" in told.values() or "unknown" in told.values()
    for name, what in told.items():
        if what == "unknown":
            assert named_files(found[name]) <= found[name][1]
            if "but done" in fault[0]:
                assert found[name][0] != before[name][0]
                assert before[name][1] <= found[name][1]
        else:
            assert named_files(found[name]) == found[name][1]
            assert (found[name][0] != before[name][0]) is (what == "done")
    if told["work"] == "done":
        assert shape(found["work"]) == after
    for name, (rows, _) in found.items():
        if rows["audits"]:
            await store.record_many(name, [LOG, SHOT])
    assert await problems(store, head) == []
