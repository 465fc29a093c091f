"""The one door for scripts: the facade's functions, wherever a database is open for sync code."""

from __future__ import annotations

import ast
import inspect
import io
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import pytest
from peewee import PeeweeException, SqliteDatabase

import veritas_peewee
from tests.support.images import stored_images
from tests.support.invariants import check_invariants
from veritas_peewee import (
    Audit,
    AuditEvent,
    AuditNotFound,
    AuditStore,
    DatabaseCorrupt,
    Follower,
    InvalidAudit,
    NoDatabase,
    ReadOnlyStore,
    StoreError,
    check_bag,
    connect,
    export_csv,
    sync,
)
from veritas_peewee.evidence.keys import make_key
from veritas_peewee.following.polling import Watcher
from veritas_peewee.testing import make_audit, make_event

# ---- names and signatures ----

OF_THE_STORE_ALONE = {"open", "close", "read", "write", "stats", "run", "stop_following"}


def imported_for_types(module: Any) -> dict[str, Any]:
    """The names that a module imports under TYPE_CHECKING, as what they stand for."""
    tree = ast.parse(inspect.getsource(module))
    found = {}
    for block in tree.body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for line in block.body:
                assert isinstance(line, ast.ImportFrom)
                for name in line.names:
                    found[name.asname or name.name] = named_in(line.module or "", name.name)
    return found


def named_in(module: str, name: str) -> Any:
    try:
        return getattr(import_module(module), name)
    except AttributeError:
        return import_module(f"{module}.{name}")


def hints(fn: Callable[..., Any]) -> dict[str, Any]:
    fn = inspect.unwrap(fn)
    module = inspect.getmodule(fn)
    return get_type_hints(fn, {**vars(module), **imported_for_types(module)})


def test_the_store_and_sync_have_the_same_functions():
    methods = {name for name, _ in inspect.getmembers(AuditStore, callable) if name[0] != "_"}
    assert methods - OF_THE_STORE_ALONE == set(sync.__all__)
    assert dir(sync) == sorted(sync.__all__) == list(sync.__all__)


@pytest.mark.parametrize("name", sync.__all__)
def test_a_function_and_its_method_take_and_give_the_same(name):
    method, function = getattr(AuditStore, name), getattr(sync, name)
    assert inspect.getdoc(function)
    of_method, of_function = hints(method), hints(function)
    awaited, given = of_method.pop("return"), of_function.pop("return")
    if name in ("follow", "follow_all"):
        assert (awaited, given) == (Follower, Watcher)
    else:
        assert inspect.iscoroutinefunction(method)
        assert awaited == given
    assert of_method == of_function
    (_, *of_method), of_function = (
        [(one.name, one.kind, one.default) for one in inspect.signature(fn).parameters.values()]
        for fn in (method, function)
    )
    assert of_method == of_function


def test_what_is_loaded_on_demand_is_what_type_checkers_see():
    in_sync = imported_for_types(sync)
    assert sorted(in_sync) == sync.__all__
    for name, found in in_sync.items():
        assert inspect.unwrap(getattr(sync, name)) is inspect.unwrap(found)
    at_top = imported_for_types(veritas_peewee)
    assert set(at_top) == {*veritas_peewee._MODULE_OF, "sync"}
    assert set(veritas_peewee.__all__) <= set(at_top)
    assert all(getattr(veritas_peewee, name) is found for name, found in at_top.items())
    assert set(at_top) <= set(dir(veritas_peewee))
    for module in (sync, veritas_peewee, import_module("veritas_peewee.store")):
        with pytest.raises(AttributeError, match="has no attribute 'bogus'"):
            _ = module.bogus


# ---- each function, in each place ----


class World(NamedTuple):
    """Audits that the functions are tried on, and a folder for files."""

    ended: str
    later: str
    queued: str
    folder: Path


def build(folder: Path) -> World:
    ended, later = (
        sync.ingest(
            make_audit(
                "https://shop.example/", trust_score=score, narrative="It nags", overrides=["o"]
            )
        )
        for score in (40.0, 60.0)
    )
    return World(ended.id, later.id, sync.create("https://news.example/").id, folder)


def kept(audit: Audit) -> Audit:
    """An audit that was returned: loaded, and the same as the stored one."""
    assert isinstance(audit.findings, list)
    assert isinstance(audit.screenshots, list)
    assert sync.get(audit.id).__data__ == audit.__data__
    return audit


def create(world: World) -> None:
    audit = kept(sync.create("https://new.example/", id="vrts_new", audit_tier="quick_scan"))
    assert (audit.id, audit.status, audit.audit_tier) == ("vrts_new", "queued", "quick_scan")
    assert audit.details == {}
    with pytest.raises(InvalidAudit, match="url"):
        sync.create("ftp://new.example/")
    moment = datetime(2020, 2, 3, tzinfo=UTC)
    old = kept(sync.create("https://new.example/", options={"depth": 2}, created_at=moment))
    assert old.created_at == moment
    in_tokyo = moment.astimezone(timezone(timedelta(hours=9)))
    told = kept(sync.create("https://new.example/", created_at=in_tokyo)).created_at
    assert (told, told.tzinfo) == (moment, UTC)
    (event,) = sync.events(old.id)
    assert event.data == {"type": "audit_options", "options": {"depth": 2}}
    assert sync.verify(old.id) == []
    for wrong in ({"options": [1]}, {"options": {"a": float("nan")}}, {"created_at": "2020"},
                  {"created_at": datetime(2020, 2, 3)}):  # fmt: skip
        with pytest.raises(InvalidAudit, match=rf"^{next(iter(wrong))}"):
            sync.create("https://new.example/", **wrong)


def record(world: World) -> None:
    first = sync.record(world.queued, make_event("phase_start"))
    second = sync.record(world.queued, make_event("screenshot"))
    odd = {"type": "site_type", "site_type": "shop", "confidence": float("nan")}
    with pytest.raises(InvalidAudit, match="nan"):
        sync.record(world.queued, odd)
    third = sync.record(world.queued, odd, lenient=True)
    assert [event.id for event in sync.events(world.queued)] == [first, second, third]
    found = sync.get(world.queued)
    assert (found.status, found.site_type, len(found.screenshots)) == ("running", "shop", 1)
    assert "nan" in found.errors[0]


def record_many(world: World) -> None:
    events = [make_event("phase_start"), make_event("finding"), make_event("screenshot")]
    ids = sync.record_many(world.queued, events)
    assert [event.id for event in sync.events(world.queued)] == ids
    with pytest.raises(InvalidAudit, match="type"):
        sync.record_many(world.queued, [make_event("audit_complete"), {"type": ""}])
    assert sync.get(world.queued).status == "running"
    ids = sync.record_many(
        world.queued, [{"type": ""}, "text", make_event("finding")], lenient=True
    )
    assert [event.event_type for event in sync.events(world.queued, after=ids[0] - 1)] == [
        "unknown", "unknown", "finding",
    ]  # fmt: skip


def ingest(world: World) -> None:
    audit = kept(sync.ingest(make_audit(findings=3, screenshots=2), audit_id=world.queued))
    assert (audit.id, audit.status) == (world.queued, "completed")
    assert (len(audit.findings), len(audit.screenshots)) == (3, 2)
    with pytest.raises(InvalidAudit, match="no audit in it"):
        sync.ingest([])


def update(world: World) -> None:
    audit = kept(sync.update(world.ended, trust_score=71, narrative="Better"))
    assert (audit.trust_score, audit.narrative, len(audit.findings)) == (71.0, "Better", 1)
    with pytest.raises(InvalidAudit, match="trust_score"):
        sync.update(world.ended, narrative="lost", trust_score=500)
    with pytest.raises(AuditNotFound):
        sync.update("none", trust_score=1.0)
    assert sync.get(world.ended).narrative == "Better"


def update_status(world: World) -> None:
    audit = kept(sync.update_status(world.queued, "error", error_message="late"))
    assert (audit.status, audit.error_message) == ("error", "late")


def delete(world: World) -> None:
    sync.delete(world.ended)
    with pytest.raises(AuditNotFound):
        sync.get(world.ended)
    with pytest.raises(AuditNotFound):
        sync.delete(world.ended)


def import_(world: World) -> None:
    path = world.folder / "audits.jsonl"
    before = sync.get(world.ended).__data__
    sync.export(path, ids=[world.ended])
    sync.delete(world.ended)
    report = sync.import_(path, progress=lambda audits, read, size: None)
    assert (report.audits, report.screenshots, report.ok) == (1, 1, True)
    found = sync.get(world.ended)
    assert found.__data__ == before
    assert sync.import_(path, skip_existing=True).skipped == 1


def get(world: World) -> None:
    audit = sync.get(world.ended)
    assert (audit.trust_score, len(audit.findings), len(audit.screenshots)) == (40.0, 1, 1)
    with pytest.raises(AuditNotFound):
        sync.get("none")


def events(world: World) -> None:
    found = sync.events(world.ended)
    assert [event.event_type for event in found][-2:] == ["audit_result", "audit_complete"]
    assert [event.id for event in sync.events(world.ended, after=found[0].id, limit=1)] == [
        found[1].id
    ]

    for types, found in ((["audit_result"], 1), (["finding", "audit_result"], 2), ([], 0)):
        assert len(sync.events(world.ended, types=types)) == found
    for wrong in ("finding", 5, [5]):
        with pytest.raises(InvalidAudit, match="types"):
            sync.events(world.ended, types=wrong)


def details(world: World) -> None:
    found = sync.details(world.ended)
    assert found == sync.get(world.ended).details
    assert found == {"overrides": ["o"]}
    assert sync.details(world.queued) == {}
    with pytest.raises(AuditNotFound):
        sync.details("none")


def verify(world: World) -> None:
    assert sync.verify(world.ended) == sync.verify(world.queued) == []
    with pytest.raises(AuditNotFound):
        sync.verify("none")


def claim(world: World) -> None:
    assert [sync.claim(world.queued), sync.claim(world.queued), sync.claim(world.ended)] == [
        True, False, False,
    ]  # fmt: skip
    assert sync.get(world.queued).status == "running"
    with pytest.raises(AuditNotFound):
        sync.claim("none")


def history(world: World) -> None:
    page = sync.history(limit=2, order="highest", host="shop.example")
    assert [audit.id for audit in page.items] == [world.later, world.ended]
    assert page.next_cursor is None


def search(world: World) -> None:
    hits = sync.search("nags", min_score=50).items
    assert [hit.audit.id for hit in hits] == [world.later]


def count(world: World) -> None:
    assert (sync.count(), sync.count(status="completed")) == (3, 2)


def facets(world: World) -> None:
    assert sync.facets(host="shop.example").status == {"completed": 2}


def compare(world: World) -> None:
    (step,) = sync.compare([world.ended, world.later]).steps
    assert step.trust_score.difference == 20.0


def trend(world: World) -> None:
    points = sync.trend(host="shop.example", limit=5).points
    assert [point.trust_score for point in points] == [40.0, 60.0]


def follow(world: World) -> None:
    told = [event.id for event in sync.events(world.ended)]
    assert [event.id for event in sync.follow(world.ended)] == told
    assert [event.id for event in sync.follow(world.ended, after=told[2])] == told[3:]
    with pytest.raises(AuditNotFound):
        next(sync.follow("none"))
    for wrong in (-1, "1", True):
        with pytest.raises(InvalidAudit, match="after"):
            sync.follow(world.ended, after=wrong)


def follow_all(world: World) -> None:
    told = [event.id for id in (world.ended, world.later) for event in sync.events(id)]
    every = sync.follow_all(after=0)
    assert [event.id for event in islice(every, len(told))] == told


def head(world: World) -> None:
    found = sync.head()
    assert (found.position, found.audits) == (len(list(AuditEvent.select())), 3)
    assert str(sync.head()) == str(found)


def export(world: World) -> None:
    shown = []
    report = sync.export(
        world.folder / "audits.jsonl",
        status="completed",
        progress=lambda done, total: shown.append(done),
    )
    assert (report.audits, report.screenshots, report.ok, shown) == (2, 2, True, [1, 2])
    with pytest.raises(StoreError, match="is there already"):
        sync.export(world.folder / "audits.jsonl")


def export_bag(world: World) -> None:
    make_key(world.folder / "store.key", "audits.example/store")
    checkpoint = sync.head(key=world.folder / "store.key")
    shown = []
    made = sync.export_bag(
        world.ended,
        world.folder / "bag",
        checkpoint=checkpoint,
        progress=lambda done, total: shown.append((done, total)),
    )
    assert (made.ok, len(made.images), shown[-1]) == (True, 1, (4, 4))
    found = check_bag(world.folder / "bag", world.folder / "store.key")
    assert (found.audit_id, found.images) == (world.ended, made.images)
    with pytest.raises(StoreError, match="is there already"):
        sync.export_bag(world.ended, world.folder / "bag", checkpoint=checkpoint)


def report(world: World) -> None:
    page = sync.report(world.ended)
    assert "https://shop.example/" in page
    assert "data:image/png;base64," in page


def screenshot(world: World) -> None:
    (row,) = sync.get(world.ended).screenshots
    assert sync.screenshot(row.file_path).startswith(b"\x89PNG")
    with pytest.raises(StoreError, match=r"cannot be read|is not in the database"):
        sync.screenshot("none/000-x.png")


WRITES = (create, record, record_many, ingest, update, update_status, delete, import_, claim)
READS = (
    get, details, events, history, search, count, facets, compare, trend, follow, follow_all,
    head, export, export_bag, report, screenshot, verify,
)  # fmt: skip


def named(case: Callable[..., None]) -> str:
    return case.__name__


def test_each_function_is_tried() -> None:
    assert sorted(map(named, WRITES + READS)) == sync.__all__


@pytest.mark.parametrize("case", WRITES + READS, ids=named)
def test_in_a_script(script, tmp_path, case):
    case(build(tmp_path))


@pytest.mark.parametrize("case", READS, ids=named)
def test_in_a_script_that_only_looks(tmp_path, case):
    with connect(tmp_path / "audits.db"):
        world = build(tmp_path)
    with connect(tmp_path / "audits.db", read_only=True):
        case(world)


@pytest.mark.parametrize("case", [c for c in WRITES + READS if c is not export_bag], ids=named)
async def test_inside_a_write_of_a_store(store, tmp_path, case):
    world = await store.write(build, tmp_path)
    await store.write(case, world)


async def test_inside_a_write_of_a_store_a_bag_needs_a_checkpoint_that_was_signed_before(
    store, tmp_path
):
    world = await store.write(build, tmp_path)
    with pytest.raises(StoreError, match="can still be undone"):
        await store.write(export_bag, world)
    made = await store.head(key=world.folder / "store.key")
    bag = await store.write(sync.export_bag, world.ended, tmp_path / "b.zip", checkpoint=made)
    assert bag.ok


@pytest.mark.parametrize("case", READS, ids=named)
async def test_inside_a_read_of_a_store(store, tmp_path, case):
    world = await store.write(build, tmp_path)
    await store.read(case, world)


@pytest.mark.parametrize("case", WRITES, ids=named)
async def test_a_write_inside_a_read_is_an_error_and_changes_nothing(store, tmp_path, case):
    world = await store.write(build, tmp_path)
    before, files = await store.head(), await store.read(stored_images)
    with pytest.raises(ReadOnlyStore):
        await store.read(case, world)
    assert await store.head() == before
    assert await store.read(stored_images) == files


@pytest.mark.parametrize("case", WRITES, ids=named)
async def test_a_write_that_fails_takes_along_what_was_done_in_it(store, tmp_path, case):
    world = await store.write(build, tmp_path)
    before, files = await store.head(), await store.read(stored_images)

    def fails() -> None:
        case(world)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.write(fails)
    assert await store.head() == before
    assert await store.read(stored_images) == files


@pytest.fixture
def exported(tmp_path: Path) -> tuple[World, Path]:
    with connect(tmp_path / "other.db", screenshots=tmp_path / "others"):
        world = build(tmp_path)
        sync.export(tmp_path / "audits.jsonl")
    return world, tmp_path / "audits.jsonl"


async def test_an_import_that_is_undone_leaves_no_image(exported, store):
    world, path = exported
    files = await store.read(stored_images)

    def fails() -> None:
        assert sync.import_(path).screenshots == 2
        assert len(sync.get(world.ended).screenshots) == 1
        # Until the commit they also have names of their own, in a folder of the import's.
        assert len([name for name in stored_images() if name.startswith("vrts_")]) == len(files) + 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.write(fails)
    assert await store.read(stored_images) == files
    assert (await store.write(sync.import_, path)).audits == 3
    assert len(await store.read(stored_images)) == len(files) + 2


def test_the_models_take_no_database_as_peewee_s_proxies_do():
    with pytest.raises(NoDatabase, match=r"by themselves: use connect\(\)"):
        Audit._meta.database.initialize(SqliteDatabase(":memory:"))


@pytest.mark.parametrize("name", sync.__all__)
def test_without_a_database_each_is_a_clear_error(name, tmp_path):
    arguments = {
        "create": ["https://example.com/"], "ingest": [make_audit()], "search": ["x"],
        "compare": [["a", "b"]], "trend": ["https://example.com/"],
        "export": [tmp_path / "x"], "import_": [tmp_path / "x"],
        "record": ["id", make_event()], "record_many": ["id", [make_event()]],
        "update_status": ["id", "error"], "export_bag": ["id", tmp_path / "x"],
    }  # fmt: skip
    options = {"checkpoint": b""} if name == "export_bag" else {}
    given = arguments.get(name, ["id"])
    if name in ("count", "facets", "history", "head", "follow_all"):
        given = []
    with pytest.raises(NoDatabase, match="no database is open"):
        result = getattr(sync, name)(*given, **options)
        next(result)


# ---- both doors, one store ----


async def test_both_doors_give_the_same(store, tmp_path):
    world = await store.write(build, tmp_path)
    for name, arguments, options in (
        ("get", [world.ended], {}),
        ("events", [world.ended], {"after": 1, "limit": 2}),
        ("history", [], {"order": "lowest"}),
        ("search", ["nags"], {}),
        ("count", [], {"min_severity": "low"}),
        ("facets", [], {}),
        ("compare", [[world.ended, world.later]], {}),
        ("trend", ["https://shop.example/"], {}),
        ("head", [], {}),
        ("report", [world.ended], {}),
    ):
        awaited = await getattr(store, name)(*arguments, **options)
        read = await store.read(getattr(sync, name), *arguments, **options)
        assert plain(awaited) == plain(read), name
    shown = (await store.get(world.ended)).screenshots[0].file_path
    assert await store.screenshot(shown) == await store.read(sync.screenshot, shown)
    followed = [event.id async for event in store.follow(world.ended)]
    assert followed == await store.read(lambda: [one.id for one in sync.follow(world.ended)])


def plain(value: Any) -> Any:
    if isinstance(value, veritas_peewee.models._Table):
        return value.__data__
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


async def test_what_is_lenient_is_so_at_both_doors(store):
    odd = {"type": "log_entry", "message": "\ud800", "more": [float("inf"), "kept"]}
    one, two = [(await store.create("https://example.com/")).id for _ in range(2)]
    for record in (store.record, store.record_many):
        given = odd if record == store.record else [odd]
        with pytest.raises(InvalidAudit):
            await record(one, given)
        await record(one, given, lenient=True)
    await store.write(sync.record, two, odd, lenient=True)
    await store.write(sync.record_many, two, [odd], lenient=True)
    first, second = [(await store.get(id)).errors for id in (one, two)]
    assert first == second
    assert len(first) == 4
    logs = [[event.data for event in await store.events(id)] for id in (one, two)]
    assert logs[0] == logs[1]
    assert logs[0][0]["more"] == [None, "kept"]
    shot = {**make_event("screenshot"), "label": "\ud800"}
    await store.record(one, shot, lenient=True)
    assert (await store.get(one)).screenshots[0].label == "\ufffd"


async def test_an_audit_that_is_removed_and_recorded_again_in_one_write_keeps_its_images(store):
    told = make_audit(screenshots=2)

    def again(id: str, shown: int) -> None:
        sync.delete(id)
        sync.ingest(told[: 1 + shown], audit_id=id, url="https://example.com/")

    audit = await store.ingest(told)
    await store.write(again, audit.id, 1)
    (row,) = (await store.get(audit.id)).screenshots
    assert await store.screenshot(row.file_path) == await store.read(sync.screenshot, row.file_path)
    assert len(await store.read(stored_images)) == 1
    await store.write(again, audit.id, 0)
    assert await store.read(stored_images) == set()


async def test_several_functions_in_one_write_are_one_change(store):
    def replace(url: str) -> str:
        audit = sync.ingest(make_audit(url))
        sync.delete(audit.id)
        return sync.update(sync.create(url).id, narrative="replaced").id

    audit = await store.get(await store.write(replace, "https://shop.example/"))
    assert (audit.narrative, audit.url) == ("replaced", "https://shop.example/")
    assert await store.count() == 1


# ---- following where nobody else can write ----


def test_following_ends_with_an_error_where_nothing_new_can_come(tmp_path):
    path = tmp_path / "audits.db"
    for database in (":memory:", path):
        with connect(database) as opened:
            audit = sync.create("https://example.com/")
            told = sync.record_many(audit.id, [make_event()] * 2)
            with opened.atomic():
                follower = sync.follow(audit.id)
                assert [next(follower).id for _ in told] == told
                more = sync.record(audit.id, make_event())
                assert next(follower).id == more  # what this very code has written meanwhile
                with pytest.raises(StoreError, match="inside a transaction no new event can come"):
                    next(follower)
                with pytest.raises(StoreError, match="inside a transaction"):
                    next(sync.follow_all())
            if database == ":memory:":
                follower = sync.follow(audit.id, after=told[1])
                assert next(follower).id == more
                with pytest.raises(StoreError, match="in memory no new event can come"):
                    next(follower)
                end = sync.record(audit.id, make_event("audit_complete"))
                assert [one.id for one in sync.follow(audit.id, after=more)] == [end]


@pytest.fixture
async def other_store(tmp_path: Path) -> AsyncIterator[AuditStore]:
    async with AuditStore.open(tmp_path / "audits.db") as opened:
        yield opened
        await opened.read(check_invariants)


async def test_inside_a_read_following_does_not_wait(other_store):
    audit = await other_store.create("https://example.com/")
    await other_store.record(audit.id, make_event())

    def seen() -> list[str]:
        found = []
        with pytest.raises(StoreError, match="inside a transaction"):
            for event in sync.follow(audit.id):
                found.append(event.event_type)
        return found

    assert await other_store.read(seen) == ["log_entry"]
    assert await other_store.write(seen) == ["log_entry"]


READING: dict[str, Callable[[World], Any]] = {
    "get": lambda world: sync.get(world.ended),
    "details": lambda world: sync.details(world.ended),
    "events": lambda world: sync.events(world.ended),
    "report": lambda world: sync.report(world.ended),
    "history": lambda world: sync.history(min_score=1),
    "search": lambda world: sync.search("nags"),
    "count": lambda world: sync.count(min_score=1),
    "facets": lambda world: sync.facets(),
    "compare": lambda world: sync.compare([world.ended, world.later]),
    "trend": lambda world: sync.trend(host="shop.example"),
    "head": lambda world: sync.head(),
    "export": lambda world: sync.export(io.BytesIO()),
    "export_csv": lambda world: export_csv(io.BytesIO()),
    "follow": lambda world: next(iter(sync.follow(world.ended))),
}


@pytest.mark.parametrize("name", READING)
def test_what_cannot_be_read_is_an_error_of_the_store(tmp_path, name):
    path = tmp_path / "audits.db"
    with connect(path):
        world = build(tmp_path)
    with connect(path, read_only=True) as opened:
        before = READING[name](world)
        assert before is not None
        with open(path, "r+b") as file:  # as a disk might; SQLite has the schema in memory
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        opened.execute_sql("PRAGMA shrink_memory")
        with pytest.raises(DatabaseCorrupt, match=path.name):
            READING[name](world)
        with pytest.raises(PeeweeException):
            list(Audit.select())
