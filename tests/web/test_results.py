"""What a route returns has names: with our type as its return type, with `Any`, without one."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, TypeAdapter, ValidationError

from tests.support.audits import fill
from veritas_peewee import (
    Audit,
    AuditEvent,
    AuditFinding,
    AuditStore,
    Comparison,
    Facets,
    Hit,
    Page,
    Trend,
    WriterStats,
    as_dict,
    get_store,
    store_lifespan,
)
from veritas_peewee.maintenance.verify import Report
from veritas_peewee.transfer.exporting import ExportReport
from veritas_peewee.values.named import Named

Store = Annotated[AuditStore, Depends(get_store)]
Ask = Callable[[AuditStore, list[str]], Awaitable[Any]]


async def stats(store: AuditStore, ids: list[str]) -> WriterStats:
    return store.stats()


ASKED: dict[str, tuple[Any, Ask]] = {
    "audit": (Audit, lambda store, ids: store.get(ids[0])),
    "events": (list[AuditEvent], lambda store, ids: store.events(ids[0])),
    "history": (Page[Audit], lambda store, ids: store.history(limit=2)),
    "search": (Page[Hit], lambda store, ids: store.search("finding")),
    "facets": (Facets, lambda store, ids: store.facets()),
    "compare": (Comparison, lambda store, ids: store.compare(ids)),
    "trend": (Trend, lambda store, ids: store.trend(host="shop0.example")),
    "stats": (WriterStats, stats),
}


def add_routes(app: FastAPI, name: str, kind: Any, ask: Ask) -> None:
    async def bare(store: Store):
        return await ask(store, app.state.ids)

    async def anything(store: Store) -> Any:
        return await ask(store, app.state.ids)

    async def typed(store: Store) -> Any:
        return await ask(store, app.state.ids)

    for way, route in (("bare", bare), ("any", anything), ("typed", typed)):
        returned = {"bare": {}, "any": {"return": Any}, "typed": {"return": kind}}[way]
        route.__annotations__ = {"store": Store, **returned}
        app.get(f"/{way}/{name}")(route)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = FastAPI(lifespan=store_lifespan(tmp_path_factory.mktemp("web") / "audits.db"))
    for name, (kind, ask) in ASKED.items():
        add_routes(app, name, kind, ask)
    with TestClient(app) as client:
        assert client.portal is not None
        app.state.ids = client.portal.call(app.state.veritas_store.write, fill)
        yield client


def normal(value: Any) -> Any:
    """JSON with moments in one form: pydantic writes Z where `isoformat` writes +00:00."""
    if isinstance(value, dict):
        return {name: normal(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [normal(inner) for inner in value]
    return re.sub(r"^(.{10}T.{8,15})Z$", r"\1+00:00", value) if isinstance(value, str) else value


@pytest.mark.parametrize("way", ["bare", "any", "typed"])
@pytest.mark.parametrize("name", ASKED)
def test_a_route_gives_what_as_dict_gives(client: TestClient, name: str, way: str) -> None:
    app: Any = client.app
    assert client.portal is not None
    wanted = as_dict(client.portal.call(ASKED[name][1], app.state.veritas_store, app.state.ids))
    answer = client.get(f"/{way}/{name}")
    assert answer.status_code == 200, answer.text
    assert normal(answer.json()) == wanted
    assert list(answer.json()) == list(wanted)  # in the same order


def test_an_audit_of_a_route_has_its_columns_and_what_is_loaded(client: TestClient) -> None:
    audit = client.get("/bare/audit").json()
    assert list(audit) == [*Audit._meta.fields, "details", "findings", "screenshots"]
    assert len(audit["findings"]) == 2
    assert len(audit["screenshots"]) == 1
    (one, _) = client.get("/bare/history").json()["items"]
    assert list(one) == list(Audit._meta.fields)


def test_the_schema_has_the_names_too(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert {"Audit", "AuditEvent", "Comparison", "Facets", "Hit", "Page_Audit_", "Trend"} <= set(
        schemas
    )
    audit = schemas["Audit"]
    assert audit["properties"]["trust_score"] == {"type": ["number", "null"]}
    assert audit["properties"]["status"]["enum"][0] == "queued"
    assert audit["properties"]["findings"]["items"]["properties"]["severity"]["enum"] == [
        "low", "medium", "high", "critical"
    ]  # fmt: skip
    assert audit["required"] == list(Audit._meta.fields)
    event = schemas["AuditEvent"]["properties"]
    assert event["audit_id"] == {"type": "string"}
    assert event["data"] == {"type": ["object", "null"]}
    assert schemas["Facets"]["properties"]["risk_level"]["additionalProperties"] == {
        "type": "integer"
    }


class Answer(BaseModel):
    """A model of a backend's own, with ours inside."""

    audit: Audit
    found: Page[Audit]
    more: Any


def test_pydantic_alone_knows_our_rows() -> None:
    audit = Audit(id="vrts_one", url="https://shop.example/")
    answer = Answer(audit=audit, found=Page([audit], None), more=Page([audit], "next"))
    plain = json.loads(answer.model_dump_json())
    assert plain["audit"] == plain["found"]["items"][0] == plain["more"]["items"][0]
    assert plain["audit"] == as_dict(audit)
    assert plain["more"]["next_cursor"] == "next"
    assert Answer.model_validate(answer).audit is audit
    with pytest.raises(ValidationError, match="instance of Audit"):
        Answer.model_validate({"audit": plain["audit"], "found": None, "more": None})
    for kind, value in ((ExportReport, ExportReport(audits=2)), (Report, Report(audits=2))):
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        assert json.loads(adapter.dump_json(value)) == as_dict(value)


def test_every_table_has_a_schema_of_what_as_dict_gives(tmp_path: Path) -> None:
    row = AuditFinding(audit="vrts_one", pattern_type="p", severity="low", confidence=1.0)
    schema = TypeAdapter(AuditFinding).json_schema()
    assert set(as_dict(row)) <= set(schema["properties"])
    for missing in (lambda: Named().named(), Named.json_schema):
        with pytest.raises(NotImplementedError):
            missing()
