"""`as_dict`: every result and every row as data with names that `json` writes."""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from peewee import prefetch

import veritas_peewee
from tests.support.command_line import run_here
from veritas_peewee import (
    NO_VALUE,
    Audit,
    AuditEvent,
    AuditFinding,
    AuditScreenshot,
    AuditStatus,
    AuditStore,
    InvalidAudit,
    Page,
    Severity,
    as_dict,
    connect,
    sync,
)
from veritas_peewee.evidence import keys
from veritas_peewee.ledger.heads import newest_head
from veritas_peewee.maintenance.backup import backup, restore
from veritas_peewee.maintenance.diagnosis import Finding
from veritas_peewee.maintenance.doctor import diagnose
from veritas_peewee.maintenance.prune import prune
from veritas_peewee.maintenance.verify import Report, verify
from veritas_peewee.queries import lookups
from veritas_peewee.queries.comparison import compare
from veritas_peewee.queries.counting import Counts, facets
from veritas_peewee.queries.finding_matches import FindingChange
from veritas_peewee.queries.history import history
from veritas_peewee.queries.trends import trend
from veritas_peewee.recording import operations
from veritas_peewee.transfer.bags import BagExport
from veritas_peewee.transfer.exporting import ExportReport
from veritas_peewee.transfer.importing import ImportReport
from veritas_peewee.transfer.tables import export_csv

SYNC: tuple[Callable[..., Any], ...] = (
    backup, diagnose, export_csv, newest_head, prune, restore, verify
)  # fmt: skip
ROWS = (Audit, AuditFinding, AuditScreenshot, AuditEvent)
UNFROZEN = {Report}
"""What is filled while the check runs."""


def results_of(hint: Any) -> Iterator[type]:
    """The result types in a type hint, also those inside others."""
    kind = typing.get_origin(hint) or hint
    for inner in typing.get_args(hint):
        if not isinstance(inner, str):  # of a Literal
            yield from results_of(inner)
    if isinstance(kind, type) and kind.__module__.startswith("veritas_peewee"):
        if dataclasses.is_dataclass(kind):
            yield kind
            for hint in typing.get_type_hints(kind).values():
                yield from results_of(hint)
        elif issubclass(kind, tuple):
            yield kind


def public_results() -> set[type]:
    names: dict[str, Any] = {name: getattr(veritas_peewee, name) for name in veritas_peewee.__all__}
    names |= {one.__name__: one for one in (BagExport, ExportReport, ImportReport)}
    methods = [one for name, one in inspect.getmembers(AuditStore, inspect.isfunction)
               if not name.startswith("_")]  # fmt: skip
    found: set[type] = set()
    for function in (*methods, *SYNC):
        hints = inspect.get_annotations(function)
        if "return" in hints:
            scope = {**names, **inspect.getmodule(function).__dict__}
            found.update(results_of(typing.get_type_hints(_Return(hints), scope)["return"]))
    return found


class _Return:
    """Only the hint of what is returned: the others may name what only type checkers import."""

    def __init__(self, hints: dict[str, Any]) -> None:
        self.__annotations__ = {"return": hints["return"]}


def inside(value: Any) -> Iterator[Any]:
    """A value, and every value in it."""
    yield value
    if dataclasses.is_dataclass(value):
        inner: Any = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, dict):
        inner = value.values()
    else:
        inner = value if isinstance(value, list | tuple) else ()
    for one in inner:
        yield from inside(one)


async def from_the_facade(path: Path, ids: list[str], folder: Path) -> list[Any]:
    async with AuditStore.open(path) as store:
        await store.update(ids[0], security_results={"tls": {"score": 1, "grade": "A"}})
        await store.update(ids[1], security_results={"tls": {"score": 2, "grade": "B"}})
        found: list[Any] = [
            await store.get(ids[0]),
            await store.events(ids[0]),
            await store.history(limit=2),
            await store.search("finding"),
            await store.facets(),
            await store.compare(ids),
            await store.trend(host="shop0.example"),
            await store.export(folder / "all.jsonl"),
            store.stats(),
            [event async for event in store.follow(ids[0])],
        ]
    async with AuditStore.open(folder / "other" / "audits.db") as store:
        found.append(await store.import_(folder / "all.jsonl"))
    return found


@pytest.fixture
def results(path: Path, ids: list[str], tmp_path: Path) -> list[Any]:
    """One of each thing that the facade and maintenance return."""
    found = anyio.run(from_the_facade, path, ids, tmp_path)
    with connect(path):
        keys.make_key(tmp_path / "store.key", "audits.example.org")
        found.append(checkpoint := sync.head(key=tmp_path / "store.key"))
        found.append(sync.export_bag(ids[0], tmp_path / "bag", checkpoint=checkpoint))
        found += [verify(), newest_head(), export_csv(tmp_path / "all.csv"), prune(keep_newest=0)]
    found += [backup(tmp_path / "backup", database=path), diagnose(path)]
    found.append(restore(tmp_path / "backup", tmp_path / "restored.db"))
    return found


def test_a_public_result_has_names_and_is_frozen() -> None:
    found = public_results()
    assert len(found) >= 22
    for kind in found - UNFROZEN:
        assert dataclasses.is_dataclass(kind), kind
        assert kind.__dataclass_params__.frozen, kind
        assert kind.__doc__, kind
        assert not kind.__doc__.startswith(f"{kind.__name__}("), kind  # its own words


def test_every_result_becomes_data_with_its_names(results: list[Any]) -> None:
    seen = {type(one) for result in results for one in inside(result)}
    assert public_results() - seen == set()
    for result in (one for found in results for one in inside(found)):
        plain = as_dict(result)
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        if dataclasses.is_dataclass(result):
            assert list(plain) == [field.name for field in dataclasses.fields(result)]
        elif isinstance(result, ROWS):
            assert plain["id"] == result.id


async def test_a_row_brings_along_what_is_loaded_with_it(path: Path, ids: list[str]) -> None:
    async with AuditStore.open(path) as store:
        audit = await store.get(ids[0])
        plain = as_dict(audit)
        columns = [name for name in Audit._meta.fields if name != "audit"]
        assert list(plain) == [*columns, "details", "findings", "screenshots"]
        assert plain["status"] == "completed"
        assert type(plain["status"]) is str
        assert datetime.fromisoformat(plain["created_at"]) == audit.created_at
        assert plain["created_at"].endswith("+00:00")
        one = plain["findings"][0]
        assert (one["severity"], one["digest"]) == ("high", audit.findings[0].digest.hex())
        assert "audit" not in one
        assert "audit_id" not in one  # the audit is around it
        assert as_dict(audit.findings) == [{"audit_id": ids[0], **row} for row in plain["findings"]]
        page = await store.history(limit=1)  # where a query would be an error
        assert list(as_dict(page)["items"][0]) == columns
        event = (await store.events(ids[0]))[0]
        assert as_dict(event) == {
            "audit_id": ids[0], "id": event.id, "event_type": "phase_start", "data": event.data,
            "timestamp": event.timestamp.isoformat(), "digest": event.digest.hex(),
        }  # fmt: skip


def test_what_a_script_reads_is_shown_as_far_as_it_is_read(path: Path, ids: list[str]) -> None:
    with connect(path):
        narrow = Audit.select(Audit.id, Audit.url).where(Audit.id == ids[0]).get()
        assert as_dict({"one": [narrow]}) == {"one": [{"id": ids[0], "url": narrow.url}]}
        whole = prefetch(Audit.select(), AuditFinding.select(), AuditEvent.select())[0]
        assert list(as_dict(whole))[-2:] == ["findings", "events"]
        assert len(as_dict(whole)["findings"]) == 2


def test_what_json_does_not_have() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 600, UTC)
    given = {
        "moment": moment, "state": AuditStatus.ERROR, "levels": (Severity.LOW,),
        "digest": b"\1\xff", "path": Path("a/b"), "none": None,
        "numbers": [1, 0.5, True, float("nan"), float("-inf")],
    }  # fmt: skip
    assert as_dict(given) == {
        "moment": "2026-01-02T03:04:05.000600+00:00", "state": "error", "levels": ["low"],
        "digest": "01ff", "path": "a/b", "numbers": [1, 0.5, True, None, None], "none": None,
    }  # fmt: skip
    assert as_dict(Page([Finding("ok", "n", "t", moment)], None)) == {
        "items": [{"level": "ok", "name": "n", "text": "t", "value": moment.isoformat()}],
        "next_cursor": None,
    }
    for wrong in (object(), {None: 1}, {1: 1}, {b"a": 1}, [{"a": Page}], lambda: 1, 1j):
        with pytest.raises(TypeError, match="as_dict"):
            as_dict(wrong)


def test_a_value_as_deep_as_one_that_can_be_stored() -> None:
    deep: Any = []
    for _ in range(200):
        deep = [deep] if len(str(deep)) % 2 else {"a": deep}
    assert as_dict(deep) == deep
    assert as_dict(deep) is not deep


def test_what_is_given_stays_as_it_is(path: Path, ids: list[str]) -> None:
    with connect(path):
        audit = Audit.get_by_id(ids[0])
        as_dict(audit)["errors"].append("x")
        assert audit.errors == []


# ---- facets: audits without a value ----


def test_no_value_is_told_from_any_text(script: Any) -> None:
    for level in (None, "None", "null", ""):
        audit = operations.create("https://shop.example/")
        operations.update(audit.id, risk_level=level)
    found = facets().risk_level
    assert found == {"None": 1, "null": 1, "": 1, None: 1}
    assert list(found) == ["", "None", "null", NO_VALUE]  # last among equals
    assert json.loads(json.dumps(found)) == as_dict(found) == dict(found)
    with pytest.raises(InvalidAudit):
        operations.update(audit.id, risk_level=NO_VALUE)  # no audit can have it


def test_none_is_taken_for_no_value_in_counts() -> None:
    counts = Counts({"a": 2, NO_VALUE: 1})
    assert counts == {"a": 2, None: 1}
    assert counts == {"a": 2, None: 1}
    for other in ({"a": 2, None: 2}, {"a": 2, "": 1}, {"a": 2}, [("a", 2)]):
        assert counts != other
    assert counts[None] == counts[NO_VALUE] == counts.get(None) == 1
    assert None in counts
    assert None not in Counts({"a": 2})
    assert Counts({"a": 2}).get(None, 0) == 0
    for wrong in (None, "b"):
        with pytest.raises(KeyError):
            Counts({"a": 2})[wrong]


# ---- one piece of knowledge: the command line prints the same ----


def test_the_command_line_prints_the_same(
    path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    host = "shop0.example"
    with connect(path):
        audit, events = lookups.get(ids[0]), as_dict(lookups.events(ids[0]))
        own = [{name: one[name] for name in one if name != "audit_id"} for one in events]
        told = {
            ("history", "--limit", "2"): as_dict(history(limit=2)),
            ("compare", *ids[:2]): as_dict(compare(ids[:2])),
            ("trend", "--host", host): as_dict(trend(host=host)),
            ("show", ids[0]): {**as_dict(audit), "events": own},
        }
        counts = as_dict(facets())
    for command, wanted in told.items():
        assert run_here(capsys, *command, "--database", path, "--json").json == wanted, command
    done = run_here(capsys, "watch", ids[0], "--database", path, "--json")
    assert [json.loads(line) for line in done.out.splitlines()] == events
    pairs = run_here(capsys, "stats", "--database", path, "--json").json
    assert pairs.pop("total") == counts.pop("total") == 4
    assert {name: dict(kind) for name, kind in pairs.items()} == {
        name: {None if value == NO_VALUE else value: number for value, number in kind.items()}
        for name, kind in counts.items()
    }


def test_a_change_is_compared_and_replaced_by_name() -> None:
    change = FindingChange(None, None, 1)
    assert dataclasses.replace(change, severity_steps=2).severity_steps == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        change.severity_steps = 3
    with pytest.raises(TypeError):
        _, _, _ = change
