"""Each command on a store on a server, named by --database and by $VERITAS_DATABASE."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.audits import fill
from tests.support.command_line import Result, process, run_here, run_program, wait_for
from tests.support.on_server import by_hand, past_triggers
from tests.support.places import Databases
from tests.support.processes import start
from tests.support.server import serving
from veritas_peewee import connect, sync
from veritas_peewee.config import DATABASE_VARIABLE

SAMPLES = Path("data/samples")
Run = Callable[..., Result]


@pytest.fixture
def url(server: Databases) -> Iterator[str]:
    with server.new() as made:
        yield made


@pytest.fixture
def empty(server: Databases) -> Iterator[str]:
    """The URL of a database in which there is no store."""
    made = server.running.new_database()
    yield made
    server.running.drop_database(made)


@pytest.fixture
def ids(url: str) -> list[str]:
    """The ids of three completed audits, and of one whose process has ended."""
    with connect(url):
        made = fill()
    with connect(url):
        return made


@pytest.fixture(params=["option", "environment"])
def run(
    request: pytest.FixtureRequest,
    url: str,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Runs the program on the store, which it is told in one of the two ways."""
    if request.param == "environment":
        monkeypatch.setenv(DATABASE_VARIABLE, url)
        return lambda *args: run_here(capsys, *args)
    return lambda *args: run_here(capsys, *args, "--database", url)


# ---- what is read ----


READING = {
    ("history", "--status", "completed", "--json"): lambda found, ids: (
        [audit["id"] for audit in found["items"]] == ids[2::-1]
    ),
    ("show", "{0}", "--json"): lambda found, ids: found["id"] == ids[0],
    ("search", "finding", "--json"): lambda found, ids: len(found["items"]) == 4,
    ("stats", "--json"): lambda found, ids: found["total"] == 4,
    ("trend", "https://shop0.example/", "--json"): lambda found, ids: len(found["points"]) == 1,
    ("compare", "{0}", "{1}", "--json"): lambda found, ids: found["audits"][0]["id"] == ids[0],
    ("head", "--json"): lambda found, ids: found["audits"] == 4,
    ("verify", "--json"): lambda found, ids: found["ok"] and found["audits"] == 4,
    ("prune", "--keep", "0", "--dry-run", "--json"): lambda found, ids: found["audits"] == 4,
}  # fmt: skip


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
def test_a_command_reads(run, ids, command):
    result = run(*(part.format(*ids) for part in command))
    assert (result.code, result.err) == (0, "")
    assert READING[command](result.json, ids)


@pytest.mark.parametrize("command", [("history",), ("stats",), ("show", "{0}"), ("head",)])
def test_a_command_prints_for_people(run, ids, command):
    result = run(*(part.format(*ids) for part in command))
    assert result.code == 0
    assert result.out


def test_watch_shows_events_until_the_audit_has_ended(run, ids):
    result = run("watch", ids[0], "--json")
    assert result.code == 0
    assert result.out.count("\n") == 8


def test_watch_shows_what_another_process_records(url, project):
    with connect(url):
        audit_id = sync.create("https://example.com/").id
        with process("watch", audit_id, "--json", "--database", url) as watching:
            sync.record(audit_id, {"type": "phase_start", "phase": "scout"})
            assert b"phase_start" in watching.stdout.readline()
            sync.record(audit_id, {"type": "audit_complete", "elapsed": 1})
            assert b"audit_complete" in watching.stdout.readline()
            assert watching.wait(30) == 0


def test_watch_says_that_the_process_of_an_audit_was_killed(url, project):
    with connect(url):
        sync.create("https://example.com/", id="one")
    with start("run_one.py", url) as runner, process("watch", "one", "--database", url) as watching:
        runner.stdin.write('{"type": "phase_start", "phase": "scout"}\n')
        runner.stdin.flush()
        assert b"phase_start" in watching.stdout.readline()
        runner.kill()
        runner.wait()
        # As if half a minute had passed without a sign of life.
        by_hand(url, "UPDATE store_sessions SET heartbeat = heartbeat - interval '1 hour'")
        out, err = watching.communicate(timeout=30)
        assert (watching.returncode, err) == (0, b"")
        assert out.startswith(b"disconnected  https://example.com/  (the process")


# ---- what writes ----


def test_init_makes_a_store_and_finds_it_there(server, empty, project, capsys):
    for action in ("created", "unchanged"):
        result = run_here(capsys, "init", "--json", "--database", empty)
        assert result.code == 0
        assert result.json == {"path": None, "url": empty, "action": action, "backup": None}


def test_ingest_stores_files_with_their_images(run, url):
    result = run("ingest", SAMPLES / "shop-2026-09.jsonl", SAMPLES / "news.json", "--json")
    assert result.code == 0
    assert len(result.json) == 2
    assert run("verify", "--json").json["screenshots"] > 0
    shown = run("show", result.json[0]["id"], "--json").json
    assert shown["url"] == result.json[0]["url"]


def test_ingest_records_a_pipe_as_it_comes(url, project):
    with process("ingest", "-", "--url", "https://example.com/", "--database", url) as piped:
        piped.stdin.write(b'{"type": "phase_start", "phase": "scout"}\n')
        piped.stdin.flush()

        def recorded() -> bool:
            return by_hand(url, "SELECT event_type FROM audit_events") == [("phase_start",)]

        wait_for(recorded)
        piped.stdin.close()
        assert piped.wait(30) == 0


def test_delete_removes_an_audit(run, ids):
    assert run("delete", ids[1], "--yes").code == 0
    assert run("show", ids[1]).code == 1
    assert run("verify", "--json").json["ok"]


def test_prune_removes_old_audits(run, ids):
    result = run("prune", "--keep", "0", "--yes", "--json")
    assert result.code == 0
    assert (result.json["audits"], result.json["free_bytes"]) == (4, None)
    assert result.json["bytes_after"] > 0
    assert run("stats", "--json").json["total"] == 0
    assert run("verify", "--json").json["ok"]


def test_verify_against_a_head_and_with_fix(run, url, ids, tmp_path):
    head = tmp_path / "head.txt"
    head.write_text(run("head").out)
    assert run("verify", "--against", head).code == 0
    past_triggers(url, "DELETE FROM audit_counts", f"DELETE FROM audit_events WHERE id = {4}")
    result = run("verify", "--against", head, "--json")
    assert result.code == 1
    assert "the counts of audits are not those of the catalog" in result.json["problems"]
    assert "event 4: missing from the store" in result.json["problems"]
    mended = run("verify", "--fix", "--json").json
    assert mended["fixed"] == ["counted the audits again"]
    assert "the counts of audits are not those of the catalog" not in mended["problems"]
    assert not mended["ok"]


def test_demo_plays_the_samples(run, url):
    result = run("demo", "--copies", "1", "--speed", "0", "--json")
    assert result.code == 0
    assert result.json["events_acknowledged"] == result.json["events_read_back"] > 100
    assert result.json["database"] == url
    assert run("verify", "--json").json["ok"]


def test_serve_answers_on_it(url, ids, project):
    with serving(url, "--writable") as served:
        assert served.ask("GET", "api/health")["database"] == "postgresql"
        assert len(served.ask("GET", "api/audits")["items"]) == 4
        assert served.ask("POST", "api/audits", {"url": "https://new.example/"})["id"]
        code, _ = served.stop(signal.SIGTERM)
        assert code in (0, 143)


# ---- what there is not ----


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("backup",), "pg_dump and pg_restore"),
        (("restore", "{folder}"), "pg_dump and pg_restore"),
        (("prune", "--keep", "1", "--yes", "--vacuum"), "VACUUM (FULL)"),
    ],
)
def test_what_a_server_has_its_own_way_for_says_so(run, url, ids, tmp_path, command, named):
    result = run(*(part.format(folder=tmp_path) for part in command))
    assert result.code == 1
    assert named in result.err
    assert result.err.count("\n") == 1
    assert run("stats", "--json").json["total"] == 4


EXISTING = ("history", "stats", "head", "verify", "search x", "show x", "delete x --yes",
            "prune --keep 1 --yes", "watch", "verify --fix", "serve")  # fmt: skip


@pytest.mark.parametrize("command", EXISTING)
def test_a_database_without_a_store_is_said_to_be_one_and_stays_so(empty, project, capsys, command):
    result = run_here(capsys, *command.split(), "--database", empty)
    assert result.code == 1
    assert "there is no store in this database" in result.err
    assert result.err.count("\n") == 1
    assert by_hand(empty, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []


def test_another_program_s_tables_are_left_alone(empty, project, capsys):
    by_hand(empty, "CREATE TABLE audits (id int)")
    result = run_here(capsys, "init", "--database", empty)
    assert result.code == 1
    assert "a table audits of another program" in result.err
    assert "The older store's file is upgraded by `veritas-peewee init`" in result.err


def test_a_program_needs_no_driver_for_a_file(tmp_path, project):
    done = run_program("init", "--database", tmp_path / "audits.db")
    assert done.returncode == 0
