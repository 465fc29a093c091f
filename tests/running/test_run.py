"""`store.run`: an engine as a child process, recorded as it comes and ended by what happened."""

from __future__ import annotations

import asyncio
import json
import sys
import threading

import anyio
import pytest

from tests.support.loops import anyio_backend
from tests.support.processes import PROGRAMS
from veritas_peewee import AuditNotFound, InvalidAudit
from veritas_peewee.files.platform import has_pidfd
from veritas_peewee.running import engine as engines
from veritas_peewee.testing import make_png

on_each_loop = anyio_backend()
RESULT = {"type": "audit_result", "result": {"status": "completed", "trust_score": 46}}
BEGIN = {"type": "phase_start", "phase": "scout"}
END = {"type": "audit_complete", "elapsed": 3}


def engine(*steps):
    words = [json.dumps(step) if isinstance(step, dict) else str(step) for step in steps]
    return [sys.executable, "-S", str(PROGRAMS / "engine.py"), *words]


async def run(store, *steps, **options):
    """An audit that these steps of an engine have run, and the types of its events."""
    audit = await store.create("https://example.com")
    with anyio.fail_after(60):
        ended = await store.run(audit.id, engine(*steps), **options)
    follower = store.follow(audit.id)
    types = [event.event_type async for event in follower]
    assert follower.ended == ended.status
    return ended, types


async def until(condition):
    with anyio.fail_after(60):
        while not condition():
            await anyio.sleep(0.005)


async def test_progress_and_a_result_are_recorded_and_complete_the_audit(store):
    audit, types = await run(store, "text=loading\n", "progress", "result")
    assert types == ["audit_update", "phase_start", "engine_result", "audit_complete"]
    assert (audit.status, audit.trust_score, audit.errors) == ("completed", 46, [])
    assert audit.elapsed_seconds == 2.5


async def test_each_event_is_there_as_it_comes_and_the_end_when_the_engine_has_ended(store):
    audit = await store.create("https://example.com")
    seen = {}

    async def watch():
        async for event in store.follow(audit.id):
            seen[event.event_type] = anyio.current_time()

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            await store.run(audit.id, engine("progress", "wait=0.2", "result", "wait=0.4"))
    assert seen["engine_result"] - seen["phase_start"] > 0.1
    assert seen["audit_complete"] - seen["engine_result"] > 0.2


async def test_events_of_form_1_are_recorded_too_and_closed_by_the_engine_or_by_us(file_store):
    audit, types = await run(file_store, BEGIN, RESULT, END)
    assert types == ["audit_update", "phase_start", "audit_result", "audit_complete"]
    assert (audit.status, audit.elapsed_seconds) == ("completed", 3)
    audit, types = await run(file_store, BEGIN, RESULT)
    assert types == ["audit_update", "phase_start", "audit_result", "audit_complete"]
    assert (audit.status, audit.errors) == ("completed", [])


@pytest.mark.parametrize(
    ("steps", "status", "reason"),
    [
        (["progress"], "disconnected", "output ended before the audit did"),
        (["text=2026-01-01 {\"url\": 1}\n"], "disconnected", "last line was '2026-01-01 {"),
        (["progress", "text={\"url\":"], "disconnected", "cut off or damaged"),
        (["progress", "say=one", "say=two", "exit=3"], "error", "ended with exit code 3: one\ntwo"),
        pytest.param(
            ["progress", "kill"], "error", "was ended by signal 9 (SIGKILL)", id="killed"
        ),
        (["say=\u00e4" + "x" * 9000, "exit=1"], "error", "x" * 1000),
    ],
)  # fmt: skip
async def test_an_engine_that_gives_no_result_ends_its_audit_with_the_reason(
    file_store, steps, status, reason
):
    audit, _ = await run(file_store, *steps)
    assert audit.status == status
    assert reason in audit.errors[-1]
    assert len(audit.errors[-1]) < 5000
    if status == "error":
        assert reason in audit.error_message


async def test_a_result_stays_whatever_becomes_of_its_engine(file_store):
    for steps, last in (
        (["result", "say=browser gone", "exit=1"], "audit_complete"),
        ([RESULT, "say=browser gone", "exit=1"], "audit_complete"),
        ([BEGIN, RESULT, END, "say=browser gone", "exit=1"], "engine_exit"),
    ):
        audit, types = await run(file_store, *steps)
        assert (audit.status, audit.trust_score) == ("completed", 46)
        assert audit.errors == ["the engine ended with exit code 1: browser gone"]
        assert types[-1] == last


async def test_an_engine_that_takes_too_long_is_ended_and_what_it_said_is_kept(
    file_store, monkeypatch
):
    monkeypatch.setattr(engines, "GRACE", 0.1)
    audit, types = await run(file_store, "deaf", "progress", "wait=60", timeout=0.5)
    assert (audit.status, types[-1]) == ("error", "audit_error")
    assert "ran for longer than 0.5 s" in audit.error_message
    audit, _ = await run(file_store, "result", "wait=60", timeout=1)
    assert audit.status == "completed"
    assert "ran for longer than 1 s" in audit.errors[0]


async def test_cancelled_it_ends_the_engine_with_all_it_started(file_store, tmp_path):
    audit = await file_store.create("https://example.com")
    told = tmp_path / "told"
    follower = file_store.follow(audit.id)
    async with anyio.create_task_group() as group:
        group.start_soon(file_store.run, audit.id, engine(f"child={told}", "progress", "wait=60"))
        async for event in follower:
            if event.event_type == "phase_start":
                group.cancel_scope.cancel()
                break
    found = await file_store.get(audit.id)
    assert (found.status, found.errors) == (
        "disconnected", ["the program that ran this audit has stopped it"],
    )  # fmt: skip
    await until(told.exists)


async def run_and_cancel(store, audit_id, steps):
    """Run an engine, and cancel the run after its first phase has begun and the rest was read."""
    with anyio.CancelScope() as scope:

        async def cancel():
            async for event in store.follow(audit_id):
                if event.event_type == "phase_start":
                    await anyio.sleep(0.5)  # until the rest is read
                    scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(cancel)
            await store.run(audit_id, steps)


@pytest.mark.parametrize(
    ("came", "status", "said"),
    [
        ('{"type": "finding", "finding": {oh}', "disconnected", "line 2: the JSON object"),
        ('"type": "finding" oh', "disconnected", "line 2: looks like an event"),
        ('{\n "scout_results": [],\n "status": oh,\n "judge_decision": {"trust_score_result": '
         '{"final_score": 12}}\n}', "completed", "line 4: cannot be read"),
    ],
)  # fmt: skip
async def test_what_an_engine_told_before_it_was_cancelled_is_kept_or_named(
    file_store, came, status, said
):
    """Also what was held back, because the next line could have belonged to it."""
    audit = await file_store.create("https://example.com")
    steps = engine("progress", f"text={came}\n", "wait=60")
    await run_and_cancel(file_store, audit.id, steps)
    ended = await file_store.get(audit.id)
    assert (ended.status, ended.trust_score) == (status, 12 if status == "completed" else None)
    assert [error for error in ended.errors if error.startswith(said)]
    if status == "disconnected":  # nothing comes after the end
        assert (await file_store.events(audit.id))[-1].event_type == "audit_disconnected"


@pytest.mark.parametrize(
    ("came", "last"),
    [('{"type": "log_entry", "message": "m"}', "log_entry"), ('{"type": "log_entry", "m', None)],
)
async def test_a_last_line_without_its_newline_is_kept_or_named(file_store, came, last):
    audit = await file_store.create("https://example.com")
    steps = engine("progress", f"text={came}", "wait=60")
    await run_and_cancel(file_store, audit.id, steps)
    types = [event.event_type for event in await file_store.events(audit.id)]
    errors = (await file_store.get(audit.id)).errors
    assert last in types or any(error.startswith("line 2: ") for error in errors)
    assert types[-1] == "audit_disconnected"


@pytest.mark.parametrize(
    ("steps", "status"),
    [(["result"], "completed"), (["exit=3"], "error"), (["progress"], "disconnected")],
)
async def test_an_audit_whose_engine_has_ended_does_not_stay_running_if_the_run_is_cancelled_then(
    file_store, monkeypatch, steps, status
):
    audit = await file_store.create("https://example.com")
    follow = engines.Engine.follow
    with anyio.CancelScope() as scope:

        async def to_the_end(*args):
            await follow(*args)
            scope.cancel()

        monkeypatch.setattr(engines.Engine, "follow", to_the_end)
        await file_store.run(audit.id, engine(*steps))
    assert scope.cancelled_caught
    assert (await file_store.get(audit.id)).status == status


async def test_a_child_that_holds_the_pipe_open_keeps_no_audit_running(
    file_store, tmp_path, monkeypatch
):
    monkeypatch.setattr(engines, "LINGER", 0.2)
    audit, _ = await run(file_store, f"child={tmp_path / 'told'}", "result")
    assert audit.status == "completed"


async def test_what_cannot_be_started_is_an_error_of_the_audit(file_store):
    audit = await file_store.create("https://example.com")
    found = await file_store.run(audit.id, ["/nowhere/veritas", "x"])
    assert found.status == "error"
    assert found.error_message.startswith("the engine could not be started: /nowhere/veritas: ")


@pytest.mark.parametrize(
    "options",
    [
        *({"cwd": one} for one in (5, [], "", "a\0b", "\ud800", {"a": 1})),
        *({"env": one} for one in (5, "A=1", {"A": 1}, {"": "x"}, {"A=B": "x"}, {"A": "\0"})),
        *({"timeout": one} for one in ("5", b"5", 0, -1, float("nan"), [], True)),
        *({"command": one} for one in (5, [], "", ["\ud800"], ["a", 5], "'open")),
    ],
)  # fmt: skip
async def test_what_no_engine_can_be_run_with_leaves_the_audit_queued(file_store, options):
    audit = await file_store.create("https://example.com")
    name = next(iter(options))
    with pytest.raises(InvalidAudit, match=name):
        await file_store.run(audit.id, **{"command": engine(), **options})
    assert (await file_store.get(audit.id)).status == "queued"
    assert await file_store.claim(audit.id)


async def test_odd_folders_and_times_that_an_engine_can_be_run_with(file_store, tmp_path):
    for options in ({"cwd": bytes(tmp_path)}, {"timeout": 10**400}, {"timeout": float("inf")}):
        audit = await file_store.create("https://example.com")
        assert (await file_store.run(audit.id, engine("result"), **options)).status == "completed"
    gone = await file_store.create("https://example.com")
    ended = await file_store.run(gone.id, engine("result"), cwd=tmp_path / "gone")
    assert ended.status == "error"
    assert str(tmp_path / "gone") in ended.error_message


@pytest.mark.parametrize("audit_id", [5, None, [], "\ud800", 10**400, b"x"])
async def test_whatever_is_no_audit_is_none_that_could_be_run(file_store, audit_id):
    with pytest.raises(AuditNotFound):
        await file_store.run(audit_id, engine())


async def test_only_a_queued_audit_is_run_and_only_by_one(file_store):
    audit = await file_store.create("https://example.com")
    done = []

    async def once():
        try:
            done.append((await file_store.run(audit.id, engine("result"))).status)
        except InvalidAudit as error:
            done.append(str(error))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(once)
    assert sorted(done)[0] == "completed"
    assert all("is not queued" in text for text in sorted(done)[1:])
    with pytest.raises(AuditNotFound):
        await file_store.run("none", engine("result"))
    for bad in ("", [], 5, [5], ["a\0b"], "an 'open quote"):
        with pytest.raises(InvalidAudit, match="command"):
            await file_store.run(audit.id, bad)
    with pytest.raises(InvalidAudit, match="timeout"):
        await file_store.run(audit.id, engine(), timeout=-1)


async def test_a_command_may_be_a_text_and_no_shell_reads_it(file_store):
    audit = await file_store.create("https://example.com")
    text = " ".join(f"'{word}'" for word in engine("say=$(touch x)", "exit=1"))
    assert (await file_store.run(audit.id, text)).error_message.endswith("$(touch x)")


async def test_images_are_found_where_the_engine_works(file_store, tmp_path):
    (tmp_path / "home.png").write_bytes(make_png())
    audit, _ = await run(file_store, "shot=home.png", cwd=tmp_path)
    (shot,) = audit.screenshots
    assert shot.label == "home"
    assert await file_store.screenshot(shot.file_path) == make_png()


async def test_its_environment_is_what_is_given(file_store, tmp_path):
    audit = await file_store.create("https://example.com")
    code = "import os, sys; sys.exit(os.environ['WHY'])"
    command = [sys.executable, "-S", "-c", code]
    found = await file_store.run(audit.id, command, env={"WHY": "none", "PATH": ""})
    assert found.error_message == "the engine ended with exit code 1: none"


async def test_an_audit_that_is_deleted_meanwhile_ends_the_engine(file_store):
    audit = await file_store.create("https://example.com")
    async with anyio.create_task_group() as group:

        async def fails():
            with pytest.raises(AuditNotFound):
                await file_store.run(audit.id, engine(*["progress", "wait=0.05"] * 100))

        group.start_soon(fails)
        async for event in file_store.follow(audit.id):
            if event.event_type == "phase_start":
                break
        await file_store.delete(audit.id)


@pytest.mark.skipif(not has_pidfd(), reason="the system has no pidfd")
async def test_no_thread_waits_for_an_engine(file_store):
    audits = [await file_store.create("https://example.com") for _ in range(8)]
    await run(file_store, "result")
    before = threading.active_count()
    async with anyio.create_task_group() as group:
        for audit in audits:
            group.start_soon(file_store.run, audit.id, engine("progress", "wait=60"))
        follower = file_store.follow_all(after=0)
        begun = 0
        async for event in follower:
            begun += event.event_type == "phase_start"
            if begun == len(audits):
                break
        names = [thread.name for thread in threading.enumerate()]
        assert threading.active_count() - before < len(audits), names
        assert not [name for name in names if "waitpid" in name]
        group.cancel_scope.cancel()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncio_s_own_cancelling_ends_it_too(file_store):
    audit = await file_store.create("https://example.com")
    task = asyncio.create_task(file_store.run(audit.id, engine("progress", "wait=60")))
    async for event in file_store.follow(audit.id):
        if event.event_type == "phase_start":
            break
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await file_store.get(audit.id)).status == "disconnected"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_all_that_was_read_is_recorded_once_when_asyncio_cancels(file_store):
    """Its own cancelling ignores anyio's shield: neither the event that is being recorded may be
    lost or come twice, nor those that were read with it."""
    lines = "\n".join(json.dumps({"type": "log_entry", "message": str(n)}) for n in range(80))
    for already in range(5, 15):
        audit = await file_store.create("https://example.com")
        running = asyncio.ensure_future(
            file_store.run(audit.id, engine(f"text={lines}", "wait=60"))
        )
        with anyio.fail_after(60):
            while len(await file_store.events(audit.id)) < already:
                await anyio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        events = await file_store.events(audit.id)
        told = [event.data["message"] for event in events if event.event_type == "log_entry"]
        assert told == [str(number) for number in range(80)]
        assert events[-1].event_type == "audit_disconnected"
