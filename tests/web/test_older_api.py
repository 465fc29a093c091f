"""The older backend's API: what its frontend was told and answered, it is told and answered."""

from __future__ import annotations

import base64
import json
import shlex
import sys
import threading
import time
from contextlib import closing, contextmanager

import anyio
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.support.invariants import check_invariants
from tests.support.older_store import ONE_AUDIT
from tests.support.processes import PROGRAMS
from veritas_peewee import InvalidAudit, StoreBusy, connect, store_lifespan, sync
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.running import engine as processes
from veritas_peewee.testing import make_event, make_finding, make_png
from veritas_peewee.web import add_error_handlers, limits, older_events, older_router

SHOP = "https://shop.example/"
PNG = base64.b64encode(make_png()).decode()
BEGIN = {"type": "phase_start", "phase": "scout", "message": "begins", "pct": 5}
SHOT = {"type": "screenshot", "url": "/shots/0.png", "label": "home", "index": 0, "data": PNG}
FINDING = make_event("finding", finding=make_finding(1, severity="critical"))
CHECKED = {"type": "security_result", "module": "tls", "result": {"score": 1}}
RESULT = {
    "type": "audit_result",
    "result": {
        "url": SHOP, "status": "completed", "trust_score": 46, "risk_level": "suspicious",
        "signal_scores": {"visual": 40}, "narrative": "Odd.", "site_type": "shop",
        "site_type_confidence": 0.5, "pages_scanned": 3, "elapsed_seconds": 9.5,
        "overrides": ["no TLS"], "recommendations": ["Leave."], "domain_info": {"age_days": 3},
        "dark_pattern_summary": {"total": 1}, "errors": ["slow"],
    },
}  # fmt: skip
END = {"type": "audit_complete", "audit_id": "x", "elapsed": 9.5}
OWN = {
    "url": SHOP, "status": "completed", "elapsed_seconds": 2.5, "site_type": "shop",
    "site_type_confidence": 0.5, "security_results": {"tls": {"a": 1}}, "nim_calls_used": 15,
    "graph_result": {"domain_intel": {"registrar": "Acme", "ip_address": "192.0.2.1"}},
    "judge_decision": {
        "recommendations": ["Leave."], "narrative": "Odd.",
        "trust_score_result": {
            "final_score": 46, "risk_level": "suspicious", "overrides_applied": ["no TLS"],
        },
    },
    "vision_result": {
        "findings": [
            {"sub_type": f"p{n}", "evidence": f"seen {n}", "severity": "low", "confidence": 0.5}
            for n in range(2)
        ],
    },
}  # fmt: skip
DONE = {"type": "audit_complete", "elapsed": 9.5}
TOLD = [BEGIN, SHOT, FINDING, CHECKED, RESULT, END]


def engine(*steps):
    """The command of an engine for tests that takes these steps."""
    words = [json.dumps(step) if isinstance(step, dict) else str(step) for step in steps]
    return [sys.executable, "-S", str(PROGRAMS / "engine.py"), *words]


def script(code):
    return [sys.executable, "-S", "-c", f"import json, sys, time\n{code}"]


@contextmanager
def backend(path, runs=None, loop="asyncio", **options):
    """A client of an application that is the older backend, on a file."""
    app = FastAPI(lifespan=store_lifespan(path, **options))
    app.include_router(older_router(runs), prefix="/api")
    with TestClient(app, backend=loop) as client:
        yield client
    with connect(path):
        check_invariants()


def start(client, url=SHOP, **more):
    answer = client.post("/api/audit/start", json={"url": url, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["audit_id"]


def left(viewer):
    """What a viewer is told until it is closed."""
    found = []
    try:
        while True:
            found.append(viewer.receive_json())
    except WebSocketDisconnect:
        return found


def watch(client, audit_id):
    with client.websocket_connect(f"/api/audit/stream/{audit_id}") as viewer:
        return left(viewer)


def status(client, audit_id):
    return client.get(f"/api/audit/{audit_id}/status").json()


def types(told):
    return [one["type"] for one in told]


def until(condition):
    """Ask again and again, for half a minute at most."""
    ends = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.fixture(params=["asyncio", "trio"])
def loop(request):
    return request.param


def test_the_first_viewer_starts_the_engine_and_all_are_told_all_of_it(path, loop):
    with backend(path, engine(*TOLD), loop) as client:
        answer = client.post(
            "/api/audit/start",
            json={
                "url": SHOP, "tier": "quick_scan", "verdict_mode": "simple",
                "security_modules": ["tls"],
            },
        )  # fmt: skip
        audit_id = answer.json()["audit_id"]
        assert answer.json() == {
            "audit_id": audit_id, "status": "queued", "ws_url": f"/api/audit/stream/{audit_id}",
        }  # fmt: skip
        assert status(client, audit_id)["status"] == "queued"
        assert watch(client, audit_id) == TOLD
        assert watch(client, audit_id) == TOLD


def test_viewers_may_go_and_come_while_the_engine_runs(path, tmp_path):
    go = tmp_path / "go"
    code = (
        f"import os\nprint({json.dumps(BEGIN)!r}, flush=True)\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
        f"print({json.dumps(RESULT)!r})\nprint({json.dumps(END)!r})"
    )
    with backend(path, script(code)) as client:
        audit_id = start(client)
        address = f"/api/audit/stream/{audit_id}"
        with client.websocket_connect(address) as first:
            first.send_text("what a viewer says is not read")
            assert first.receive_json() == BEGIN
            with client.websocket_connect(address) as second:
                assert second.receive_json() == BEGIN
        assert status(client, audit_id)["result"] is None
        with client.websocket_connect(address) as third:
            assert third.receive_json() == BEGIN
            go.touch()
            assert left(third) == [RESULT, END]
        assert watch(client, audit_id) == [BEGIN, RESULT, END]


def test_an_engine_that_prints_its_own_result_is_told_as_the_older_runner_told_it(path, tmp_path):
    (tmp_path / "home.png").write_bytes(make_png())
    visits = [{"screenshots": [str(tmp_path / "home.png")], "screenshot_labels": ["home"]}]
    result = {**OWN, "scout_results": visits}
    code = (
        "print('##PROGRESS:' + json.dumps({'phase': 'scout', 'step': 'scanning', 'pct': 5,"
        f" 'detail': 'home'}}))\nprint({json.dumps(result, indent=2)!r})"
    )
    with backend(path, script(code)) as client:
        audit_id = start(client)
        told = watch(client, audit_id)
        assert types(told) == [
            "phase_start", "screenshot", "site_type", "security_result", "finding", "finding",
            "stats_update", "audit_result", "audit_complete",
        ]  # fmt: skip
        shot = told[1]
        assert (shot["label"], shot["index"], shot["data"]) == ("home", 0, PNG)
        assert told[2] == {"type": "site_type", "site_type": "shop", "confidence": 0.5}
        assert told[3] == {"type": "security_result", "module": "tls", "result": {"a": 1}}
        found = status(client, audit_id)["result"]
        assert [one["finding"] for one in told[4:6]] == found["findings"]
        assert len(found["findings"]) == told[6]["stats"]["findings"] == 2
        assert told[6]["stats"]["ai_calls"] == 15
        assert (found["recommendations"], found["overrides"]) == (["Leave."], ["no TLS"])
        assert found["domain_info"]["ip"] == "192.0.2.1"
        assert told[7]["result"] == {"status": "completed", **found}
        assert told[8]["elapsed"] == found["elapsed_seconds"]
        assert watch(client, audit_id) == told


def test_a_result_tells_nothing_again_that_an_event_has_told(path):
    async def runs(audit, send):
        told = make_finding(1, pattern_type="p0", description="seen 0")
        await send(make_event("finding", finding=told))
        await send({"type": "site_type", "site_type": "shop", "confidence": 0.5})
        await send(CHECKED)
        await send({"type": "engine_result", "result": OWN | {"site_type": "bank"}})

    with backend(path, runs) as client:
        told = watch(client, start(client))
    assert types(told) == [
        "finding", "site_type", "security_result", "finding", "stats_update", "audit_result",
        "audit_complete",
    ]  # fmt: skip


# ---- how an audit ends ----


def test_an_engine_that_exits_long_after_its_result_has_its_end_seen(path):
    with backend(path, engine(BEGIN, RESULT, "wait=2.2", END)) as client:
        assert watch(client, start(client)) == [BEGIN, RESULT, END]
    with backend(path, engine(BEGIN, "result", "wait=2.2")) as client:
        assert types(watch(client, start(client)))[-2:] == ["audit_result", "audit_complete"]


def test_an_engine_that_is_killed_after_its_result_is_told_so(path):
    with backend(path, engine(BEGIN, RESULT, "kill")) as client:
        audit_id = start(client)
        told = watch(client, audit_id)
        assert told[:-1] == [BEGIN, RESULT]
        assert told[-1]["type"] == "audit_complete"
        assert told[-1]["message"] == "the engine was ended by signal 9 (SIGKILL)"
        assert told[-1]["elapsed"] == 9.5
        assert watch(client, audit_id) == told
        assert status(client, audit_id)["result"]["errors"][-1] == told[-1]["message"]
    with backend(path, engine(RESULT, END, "kill")) as client:
        audit_id = start(client)
        assert watch(client, audit_id)[-1] == END
        until(lambda: "engine_exit" in types(watch(client, audit_id)))
        assert watch(client, audit_id)[-1] == END


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([BEGIN, "kill"], "signal 9"),
        ([BEGIN, "say=no browser", "exit=3"], "no browser"),
        ([BEGIN], "output ended before"),
        ([BEGIN, {"type": "audit_error", "error": "blocked"}], "blocked"),
        ([BEGIN, {"type": "audit_result", "result": {"status": "aborted"}}, END], "aborted"),
    ],
)
def test_an_audit_without_a_result_ends_with_an_error(path, steps, why):
    with backend(path, engine(*steps)) as client:
        audit_id = start(client)
        told = watch(client, audit_id)
        assert told[0] == BEGIN
        assert told[-1]["type"] == "audit_error"
        assert why in told[-1]["error"]
        assert types(told).count("audit_error") == 1
        found = status(client, audit_id)
        assert (found["result"], found["error"]) == (None, told[-1]["error"])


def test_an_unknown_audit_is_told_and_closed(path):
    with backend(path, engine(*TOLD)) as client:
        for audit_id in ("vrts_nobody", "x" * 400, "a%00b"):
            assert watch(client, audit_id) == [
                {"type": "audit_error", "error": "Audit ID not found"}
            ]


def test_an_audit_that_is_deleted_or_changed_by_hand_has_an_end_too(path):
    with backend(path) as client:
        store = client.app.state.veritas_store
        gone, done, failed = (start(client) for _ in range(3))
        for audit_id, change in (
            (gone, lambda: client.portal.call(store.delete, gone)),
            (done, lambda: client.portal.call(store.update_status, done, "completed")),
            (failed, lambda: client.portal.call(store.update_status, failed, "error")),
        ):
            with client.websocket_connect(f"/api/audit/stream/{audit_id}") as viewer:
                client.portal.call(store.record, audit_id, BEGIN)
                assert viewer.receive_json() == BEGIN
                change()
                told = left(viewer)
            assert told[-1]["type"] == ("audit_complete" if audit_id == done else "audit_error")
            assert told[-1]["audit_id"] == audit_id
            assert audit_id != gone or told == [
                {"type": "audit_error", "audit_id": gone, "error": "the audit was deleted"}
            ]


def test_an_audit_without_events_is_told_from_its_rows(path):
    path.parent.mkdir()
    (path.parent / "screenshots").mkdir()
    (path.parent / "screenshots" / "old.png").write_bytes(make_png())
    with closing(driver.connect(path)) as file:
        file.executescript(
            ONE_AUDIT + "INSERT INTO audit_findings (audit_id, pattern_type, severity, confidence,"
            " description) VALUES ('old1', 'p', 'low', 0.5, 'seen');"
            "INSERT INTO audit_screenshots (audit_id, file_path, label, index_num)"
            " VALUES ('old1', 'old.png', 'home', 0);"
        )
    with backend(path) as client:
        told = watch(client, "old1")
    assert types(told) == ["screenshot", "finding", "stats_update", "audit_result", END["type"]]
    assert told[0] == {
        "type": "screenshot", "url": "old.png", "label": "home", "index": 0, "data": PNG,
    }  # fmt: skip


def test_a_screenshot_whose_image_is_gone_has_none(path):
    with backend(path, engine(SHOT, {**SHOT, "data": "no image"}, RESULT, END)) as client:
        audit_id = start(client)
        first, second, *_ = watch(client, audit_id)
        assert (first, second["data"]) == (SHOT, None)
        image = next((path.parent / "screenshots").rglob("*.png"))
        kept = image.read_bytes()
        image.unlink()
        assert watch(client, audit_id)[0] == {**SHOT, "data": None}
        image.write_bytes(kept)


def test_without_an_engine_an_audit_waits_for_whoever_runs_it(path):
    with backend(path) as client:
        audit_id = start(client)
        with client.websocket_connect(f"/api/audit/stream/{audit_id}") as viewer:
            with connect(path):
                assert sync.claim(audit_id)
                for event in TOLD:
                    sync.record(audit_id, event)
            assert left(viewer) == TOLD


# ---- engines ----


@pytest.mark.parametrize("as_text", [False, True])
def test_a_command_is_filled_in_word_by_word_and_no_shell_sees_it(path, tmp_path, as_text):
    trap = f"{SHOP}?a='--x'&b=\"{{tier}}\";$(touch{tmp_path}/x)|{{audit_id}}"
    words = script("print(json.dumps({'type': 'log_entry', 'words': sys.argv[1:]}))")
    words += ["{url}", "--tier={tier}", "{verdict_mode}", "{audit_id}", "{security_modules}", "{x}"]
    command = " ".join(map(shlex.quote, words)) if as_text else words
    with backend(path, command) as client:
        audit_id = start(client, trap, security_modules=["a", "b c"])
        (told, end) = watch(client, audit_id)
        assert told["words"] == [
            trap, "--tier=standard_audit", "expert", audit_id, "a,b c", "{x}",
        ]  # fmt: skip
        assert end["type"] == "audit_error"
        assert watch(client, start(client))[0]["words"][4] == ""
    assert not list(tmp_path.glob("x*"))


def test_no_value_of_a_client_becomes_an_option_of_the_engine(path):
    words = [*script("print(json.dumps({'type': 'log_entry'}))"), "{tier}", "{security_modules}"]
    with backend(path, words) as client:
        for bad in ({"tier": "-x"}, {"verdict_mode": "--help"}, {"security_modules": ["-x"]}):
            answer = client.post("/api/audit/start", json={"url": SHOP, **bad})
            assert answer.status_code == 422
            assert f"{next(iter(bad))}: must not begin with '-'" in answer.json()["detail"]
        store = client.app.state.veritas_store
        made = client.portal.call(lambda: store.create(SHOP, audit_tier="--x"))
        (told,) = watch(client, made.id)
        assert told["error"].startswith("tier: must not begin with '-'")
        odd = client.portal.call(lambda: store.create(SHOP, options={"security_modules": 5}))
        assert types(watch(client, odd.id)) == ["log_entry", "audit_error"]


def test_a_function_is_an_engine_too(path, loop):
    async def runs(audit, send):
        await send(BEGIN)
        await anyio.sleep(0)
        await send({"type": "log_entry", "message": audit.url, "options": audit.options})
        await send({"type": "log_entry", "bad": float("nan"), "object": object})
        await send(RESULT)
        await send(END)

    with backend(path, runs, loop) as client:
        audit_id = start(client, security_modules=["tls"])
        told = watch(client, audit_id)
        assert told[1]["message"] == SHOP
        assert told[1]["options"] == {"security_modules": ["tls"]}
        assert told[2]["bad"] is None
        assert "store_notes" not in told[2]
        assert [told[0], *told[3:]] == [BEGIN, RESULT, END]
        assert status(client, audit_id)["result"]["errors"][1].startswith("event.bad: ")


def test_an_exception_in_a_function_ends_its_audit_as_an_error(path, caplog):
    async def runs(audit, send):
        await send(BEGIN)
        if "late" in audit.url:
            await send(RESULT)
        raise OSError("no browser")

    with backend(path, runs) as client:
        audit_id = start(client)
        (_, end) = watch(client, audit_id)
        why = "the engine failed: OSError: no browser"
        assert end == {"type": "audit_error", "audit_id": audit_id, "error": why}
        assert status(client, audit_id)["status"] == "error"
        end = watch(client, start(client, f"{SHOP}late"))[-1]
        assert (end["type"], end["message"]) == ("audit_complete", why)
        assert "Traceback" in caplog.text
        assert watch(client, audit_id)[0] == BEGIN


def test_a_function_that_tells_no_end_is_ended(path):
    async def nothing(audit, send):
        if "result" in audit.url:
            await send(RESULT)

    with backend(path, nothing) as client:
        (end,) = watch(client, start(client))
        assert "ended before" in end["error"]
        told = watch(client, start(client, f"{SHOP}result"))
        assert types(told) == ["audit_result", "audit_complete"]
        assert told[1]["message"] == "the engine has ended"


def test_what_is_no_engine_is_refused_at_once():
    for bad in ("", [], 5, ["a", 5], "an 'open quote"):
        with pytest.raises(InvalidAudit, match="command"):
            older_router(bad)


def test_an_engine_that_could_not_be_started_is_started_again(path, monkeypatch, caplog):
    monkeypatch.setattr(older_events, "AGAIN", 0.01)
    with backend(path, engine(*TOLD)) as client:
        store = client.app.state.veritas_store
        run, failures = store.run, [StoreBusy("locked"), StoreBusy("locked")]

        async def busy(*args, **options):
            if failures:
                raise failures.pop()
            return await run(*args, **options)

        monkeypatch.setattr(store, "run", busy)
        assert watch(client, start(client)) == TOLD
    assert not failures
    assert caplog.text.count("StoreBusy") >= 2


@pytest.mark.parametrize("kind", ["command", "function"])
def test_when_the_server_stops_engines_end_and_their_audits_say_so(
    path, loop, kind, tmp_path, monkeypatch
):
    monkeypatch.setattr(processes, "GRACE", 2.0)
    ended = threading.Event()

    async def function(audit, send):
        await send(BEGIN)
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    command = engine(f"child={tmp_path / 'told'}", BEGIN, "wait=60")
    with backend(path, function if kind == "function" else command, loop) as client:
        audit_id = start(client)
        with client.websocket_connect(f"/api/audit/stream/{audit_id}") as viewer:
            assert viewer.receive_json() == BEGIN
    if kind == "function":
        assert ended.is_set()
    else:
        until((tmp_path / "told").exists)
    with connect(path):
        found = sync.get(audit_id)
        assert found.status == "disconnected"
        assert found.errors == ["the program that ran this audit has stopped it"]
    with backend(path, engine(*TOLD)) as client:
        end = watch(client, audit_id)[-1]
        assert (end["type"], end["error"]) == ("audit_error", found.errors[0])


def test_a_viewer_is_told_that_the_server_stops(path):
    with backend(path) as client:
        audit_id = start(client)
        with client.websocket_connect(f"/api/audit/stream/{audit_id}") as viewer:
            client.portal.call(client.app.state.veritas_store.record, audit_id, BEGIN)
            assert viewer.receive_json() == BEGIN
            client.portal.call(client.app.state.veritas_store.close)
            (end,) = left(viewer)
    assert end["type"] == "audit_error"
    assert "the server is stopping" in end["error"]


def test_an_application_that_cannot_run_an_engine_says_what_is_missing(path):
    with backend(path, engine(*TOLD)) as client:
        audit_id = start(client)
        client.app.state.veritas_background = None
        original = client.app_state.pop("veritas_background")
        (end,) = watch(client, audit_id)
        assert "FastAPI(lifespan=store_lifespan())" in end["error"]
        client.app.state.veritas_background = original
        assert watch(client, audit_id) == TOLD


def test_it_works_in_an_application_that_is_mounted_in_another(path):
    app, inner = FastAPI(lifespan=store_lifespan(path)), FastAPI()
    inner.include_router(older_router(engine(*TOLD)))
    app.mount("/api", inner)
    with TestClient(app) as client:
        answer = client.post("/api/audit/start", json={"url": SHOP}).json()
        assert answer["ws_url"] == f"/api/audit/stream/{answer['audit_id']}"
        assert watch(client, answer["audit_id"]) == TOLD


def test_an_application_s_own_failure_is_not_changed_by_what_runs_in_the_background(path):
    async def fails():
        async with store_lifespan(path)(FastAPI()):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        anyio.run(fails)


# ---- what is asked over HTTP ----


def test_the_status_of_an_audit_has_what_the_older_one_had_and_what_it_lost(path):
    with backend(path, engine(*TOLD)) as client:
        audit_id = start(client, tier="quick_scan", verdict_mode="simple")
        assert list(status(client, audit_id)) == [
            "audit_id", "status", "url", "result", "error", "created_at", "started_at",
            "completed_at",
        ]  # fmt: skip
        watch(client, audit_id)
        found = status(client, audit_id)
        result = found["result"]
        finding = {
            key: FINDING["finding"].get(key, -1)
            for key in (
                "pattern_type", "category", "severity", "confidence", "description",
                "plain_english", "screenshot_index",
            )
        } | {"id": result["findings"][0]["id"]}  # fmt: skip
        assert result == {
            **{key: RESULT["result"][key] for key in RESULT["result"] if key != "status"},
            "audit_tier": "quick_scan", "verdict_mode": "simple", "screenshots_count": 1,
            "security_results": {"tls": {"score": 1}}, "findings": [finding],
            "dark_pattern_summary": {"total": 1, "findings": [finding]},
        }  # fmt: skip
        assert (found["status"], found["url"], found["error"]) == ("completed", SHOP, None)
        assert all(found[name].endswith("Z") for name in ("created_at", "completed_at"))
        answer = client.get("/api/audit/nobody/status")
        assert (answer.status_code, answer.json()) == (404, {"detail": "Audit not found"})


@pytest.mark.parametrize("place", ["/api/audit/start", "/api/audits/compare"])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'[{"a": NaN}]', "application/json"), (b'{"x": 1e999}', "application/json"),
        (b'{"x": "\\ud800"}', "application/json"), (b"\xff", "application/json"),
        (b"\xff", "text/plain"), (b"", "application/json"), (b"{", "application/json"),
        (b"[" * 900 + b"]" * 900, "application/json"),
    ],
)  # fmt: skip
def test_whatever_body_is_refused_in_the_older_words(path, place, body, kind):
    with backend(path) as client:
        refused = client.post(place, content=body, headers={"content-type": kind})
    assert refused.status_code in (400, 422)
    assert list(refused.json()) == ["detail"]


def test_a_result_without_details_has_them_empty(path):
    with connect(path):
        audit = sync.create(SHOP)
        sync.update(audit.id, status="completed")
    with backend(path) as client:
        result = status(client, audit.id)["result"]
        assert result["trust_score"] is None
        assert [result[name] for name in ("findings", "recommendations", "overrides")] == [[]] * 3
        assert result["domain_info"] == {}


def test_the_history_is_paged_by_a_limit_and_an_offset(path):
    with connect(path):
        ids = [sync.create(f"{SHOP}{number}").id for number in range(7)][::-1]
        for one in ids[:4]:
            sync.update(one, status="completed", risk_level="trusted" if one == ids[0] else None)

    with backend(path) as client:

        def page(**query):
            answer = client.get("/api/audits/history", params=query)
            assert answer.status_code == 200, answer.text
            return answer.json()

        whole = page()
        assert [one["audit_id"] for one in whole["audits"]] == ids
        assert (whole["count"], whole["limit"], whole["offset"]) == (7, 20, 0)
        assert list(whole["audits"][0]) == [
            "audit_id", "url", "status", "audit_tier", "verdict_mode", "trust_score", "risk_level",
            "signal_scores", "site_type", "site_type_confidence", "pages_scanned",
            "screenshots_count", "elapsed_seconds", "created_at", "started_at", "completed_at",
        ]  # fmt: skip
        for offset in range(9):
            found = page(limit=2, offset=offset)
            assert [one["audit_id"] for one in found["audits"]] == ids[offset : offset + 2]
            assert (found["count"], found["offset"]) == (len(found["audits"]), offset)
        assert [one["audit_id"] for one in page(status_filter="completed", offset=1)["audits"]] == (
            ids[1:4]
        )
        assert page(status_filter="nonsense", nothing="x", risk_level_filter="")["count"] == 7
        assert page(risk_level_filter="trusted")["count"] == 1
        assert page(risk_level_filter="trusted", status_filter="queued", offset=1)["count"] == 0
        for bad in ({"limit": 0}, {"limit": 101}, {"offset": -1}, {"offset": 2**63}):
            answer = client.get("/api/audits/history", params=bad)
            assert (answer.status_code, list(answer.json())) == (422, ["detail"])


def test_audits_are_compared_oldest_first(path):
    with connect(path):
        first, second, third, fourth = (
            sync.ingest([FINDING, {**RESULT, "result": {**RESULT["result"], **changes}}, DONE]).id
            for changes in (
                {"trust_score": 40, "risk_level": "high_risk"},
                {"trust_score": 50, "risk_level": "suspicious"},
                {"trust_score": None, "risk_level": None, "status": "completed"},
                {"trust_score": 0, "risk_level": "suspicious"},
            )
        )
    with backend(path) as client:

        def compared(*ids):
            answer = client.post("/api/audits/compare", json={"audit_ids": ids})
            return answer.status_code, answer.json()

        _, found = compared(third, "nobody", first, second)
        assert [one["audit_id"] for one in found["audits"]] == [first, second, third]
        assert list(found["audits"][0]) == [
            "audit_id", "url", "status", "trust_score", "risk_level", "site_type", "created_at",
            "completed_at", "screenshots_count", "findings_summary",
        ]  # fmt: skip
        assert found["audits"][0]["findings_summary"] == {
            "total": 1, "critical": 1, "high": 0, "medium": 0, "low": 0,
        }  # fmt: skip
        assert found["audits"][2]["trust_score"] is None
        pair = {"from_audit_id": first, "to_audit_id": second}
        assert found["trust_score_deltas"] == [pair | {"delta": 10, "percentage_change": 25}]
        assert found["risk_level_changes"] == [
            pair | {"from": "high_risk", "to": "suspicious"},
            {
                "from_audit_id": second, "to_audit_id": third, "from": "suspicious",
                "to": "unknown",
            },
        ]  # fmt: skip
        (down,) = compared(second, fourth)[1]["trust_score_deltas"]
        assert (down["delta"], down["percentage_change"]) == (-50, -100)
        with connect(path):
            again = sync.ingest([RESULT | {"result": {**RESULT["result"], "trust_score": 5}}, DONE])
        (up,) = compared(again.id, fourth)[1]["trust_score_deltas"]
        assert (up["delta"], up["percentage_change"]) == (5, None)
        with connect(path):
            still = sync.ingest([RESULT | {"result": {**RESULT["result"], "trust_score": 5}}, DONE])
        (none,) = compared(again.id, still.id)[1]["trust_score_deltas"]
        assert (none["delta"], none["percentage_change"]) == (0, 0)
        (same,) = compared(second, second)[1]["audits"]
        assert same["audit_id"] == second
        assert [one["audit_id"] for one in compared(first, "nobody")[1]["audits"]] == [first]
        for ids, code in (((), 400), ((first,), 400), (("a", "b"), 404), (["x"] * 101, 422)):
            assert compared(*ids)[0] == code
            assert list(compared(*ids)[1]) == ["detail"]


def test_what_a_client_sends_is_limited_and_errors_are_as_the_older_frontend_knows_them(
    path, monkeypatch
):
    monkeypatch.setattr(limits, "MAX_BODY", 1000)
    app = FastAPI(lifespan=store_lifespan(path))
    app.include_router(older_router(), prefix="/api")
    add_error_handlers(app)
    with TestClient(app) as client:
        for body, code, word in (
            ({"url": "javascript:alert(1)"}, 422, "url"),
            ({"url": SHOP, "tier": "x" * 51}, 422, "tier"),
            ({"url": SHOP, "security_modules": ["x"] * 101}, 422, "security_modules"),
            ({}, 422, "url"),
            ({"url": "x" * 1000}, 413, "1000 bytes"),
        ):
            answer = client.post("/api/audit/start", json=body)
            assert answer.status_code == code
            assert list(answer.json()) == ["detail"]
            assert word in json.dumps(answer.json()["detail"])
        answer = client.get("/api/audit/nobody/status")
        assert (answer.status_code, answer.json()) == (404, {"detail": "Audit not found"})
        client.portal.call(app.state.veritas_store.close)
        answer = client.get("/api/audits/history")
        assert (answer.status_code, list(answer.json())) == (503, ["detail"])
        assert answer.headers["retry-after"] == "2"
