"""The command line, in this process and in real ones."""

from __future__ import annotations

import inspect
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest
import typer

from tests.support.command_line import (
    DEADLINE,
    PROGRAM,
    Result,
    process,
    run_here,
    shown_on,
    wait_for,
)
from tests.support.older_store import ONE_AUDIT
from tests.support.posix_modules import fcntl, termios
from tests.support.processes import ROOT, environment
from veritas_peewee import Audit, connect
from veritas_peewee.cli.filtering import OPTIONS
from veritas_peewee.cli.text import clean
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.queries import history, lookups
from veritas_peewee.queries.filters import Filters
from veritas_peewee.recording import ingest, operations

SAMPLES = Path("data", "samples")
SHOP = "https://shop.example/checkout"
PRIZE = "http://prize-draw.example/claim"

RESULTS = sorted(str(path) for path in (ROOT / SAMPLES).glob("*.json"))
Cli = Callable[..., Result]


@pytest.fixture
def database(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the database of a test will be; the working directory is the project's."""
    path = tmp_path / "store" / "audits.db"
    monkeypatch.setenv("VERITAS_DATABASE", str(path))
    return path


@pytest.fixture
def cli(database: Path, capfd: pytest.CaptureFixture[str]) -> Cli:
    """The program in this process."""
    return partial(run_here, capfd)


@pytest.fixture
def stored(cli: Cli) -> dict[str, str]:
    """The results among the samples, stored: file name → audit id."""
    rows = cli("ingest", *RESULTS, "--json").json
    return {Path(row["file"]).name: row["id"] for row in rows}


def one_error(err: str) -> str:
    """The error told: one line, with the program's name, and no traceback."""
    assert err.count("\n") == 1, err
    assert err.startswith("veritas-peewee: ")
    assert "Traceback" not in err
    return err.strip()


def piped(data: bytes, *args: object) -> Result:
    done = subprocess.run(
        [*PROGRAM, *map(str, args)], input=data, capture_output=True, timeout=DEADLINE
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def on_terminal(*args: object, columns: int = 80, typed: str = "") -> Result:
    """The program on a terminal of its own; what it writes comes back as `out`."""
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    with process(*args, stdin=inner, stdout=inner, stderr=inner, env=environment) as started:
        os.close(inner)
        os.write(outer, typed.encode())
        seen = shown_on(outer)
        code = started.wait(DEADLINE)
    return Result(code, seen.decode().replace("\r\n", "\n"), "")


def send(pipe: IO[bytes] | None, *events: dict[str, Any]) -> None:
    assert pipe is not None
    for event in events:
        pipe.write(json.dumps(event).encode() + b"\n")
    pipe.flush()


def look(database: Path, audit_id: str) -> Audit | None:
    """An audit as another program sees it now."""
    with connect(database, read_only=True):
        found = [audit for audit in history.history().items if audit.id == audit_id]
        return lookups.get(audit_id) if found else None


# ---- the program ----


def test_without_a_command_it_shows_its_help(cli: Cli) -> None:
    shown = cli()
    assert shown.code == 2
    assert "history" in shown.out + shown.err


def test_version(cli: Cli) -> None:
    assert cli("--version").out == "veritas-peewee 0.2.0\n"


COMMANDS = ["init", "ingest", "history", "compare", "trend", "show", "delete", "demo"]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(cli: Cli, command: str) -> None:
    shown = cli(command, "--help")
    assert shown.code == 0
    assert "Example" in shown.out
    assert "--database" in shown.out
    assert "--json" in shown.out


@pytest.mark.parametrize(
    "args",
    [
        ["frobnicate"],
        ["show"],
        ["history", "--frobnicate"],
        ["history", "--min-score", "high"],
        ["history", "--min-score", "nan"],
        ["history", "--status", "finished"],
        ["history", "--limit", "0"],
        ["history", "--since", "last week"],
        ["history", "--cursor", "nonsense"],
        ["history", "--url", "shop.example"],
        ["history", "--database", "mysql://host/name"],
        ["ingest", "-", "file.json"],
        ["ingest", "a.json", "b.json", "--id", "one"],
        ["ingest", "a.json", "--id", "../../etc"],
        ["ingest", "a.json", "--url", "ftp://shop.example"],
        ["delete", "some-id"],
        ["demo", "--copies", "0"],
    ],
)
def test_wrong_usage_is_one_line_and_code_2(cli: Cli, args: list[str]) -> None:
    cli("init")
    told = cli(*args)
    assert told.code == 2
    assert told.out == ""
    one_error(told.err)


def test_without_the_extra_it_says_what_to_install() -> None:
    for missing in ("typer", "rich"):
        code = f"import sys; sys.modules[{missing!r}] = None; from veritas_peewee.cli import main"
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; sys.exit(main())"],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=DEADLINE,
        )
        assert done.returncode == 1
        assert done.stderr == "veritas-peewee: install the extra `veritas-peewee[cli]`\n"


@pytest.mark.parametrize(
    ("args", "loads"),
    [([], False), (["--status", "queued"], True), (["--host", "example.com", "--json"], False)],
)
def test_pydantic_is_loaded_only_for_what_has_to_be_converted(
    tmp_path: Path, args: list[str], loads: bool
) -> None:
    with connect(tmp_path / "audits.db"):
        operations.create("https://example.com/")
    code = (
        "import sys; from veritas_peewee.cli import main; code = main(); "
        "print(*{'pydantic', 'anyio'}.intersection(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    words = ["history", "--database", str(tmp_path / "audits.db"), *args]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=DEADLINE,
    )
    assert (done.returncode, "example.com" in done.stdout) == (0, True)
    has_validators = "_runtime_param" in inspect.getsource(typer.core)
    assert done.stderr.split() == ["pydantic"] * (loads and has_validators)


@pytest.mark.parametrize(
    "words", [["--limit", "x"], ["--limit", "0"], ["--status", "x"], ["--min-score", "x"]]
)
def test_what_is_no_value_of_an_option_is_wrong_usage(cli: Cli, words: list[str]) -> None:
    told = cli("history", *words)
    assert told.code == 2
    assert words[0] in told.err


@pytest.mark.parametrize("args", [["history"], ["show", "x"], ["delete", "x", "--yes"]])
def test_a_missing_database_is_not_created(cli: Cli, database: Path, args: list[str]) -> None:
    told = cli(*args)
    assert told.code == 1
    assert "veritas-peewee init" in one_error(told.err)
    assert not database.parent.exists()


def test_a_file_that_is_no_database(cli: Cli, database: Path) -> None:
    database.parent.mkdir()
    database.write_bytes(b"this is no database, " * 100)
    told = cli("history")
    assert told.code == 1
    assert str(database) in one_error(told.err)


def test_ids_are_completed_by_the_shell(stored: dict[str, str], database: Path) -> None:
    wanted = stored["news.json"]
    environment = {
        "_VERITAS_PEEWEE_COMPLETE": "complete_bash",
        "COMP_WORDS": f"veritas-peewee show {wanted[:9]}",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        PROGRAM, env={**os.environ, **environment}, capture_output=True, text=True, timeout=DEADLINE
    )
    assert wanted in done.stdout
    environment["VERITAS_DATABASE"] = str(database.with_name("nowhere.db"))
    done = subprocess.run(
        PROGRAM, env={**os.environ, **environment}, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.stdout.strip() == done.stderr == ""


# ---- init ----


def test_init_creates_then_leaves_alone(cli: Cli, database: Path) -> None:
    assert "created" in cli("init").out
    assert cli("init", "--json").json == {
        "path": str(database),
        "url": f"sqlite:///{database}",
        "action": "unchanged",
        "backup": None,
    }
    url = f"sqlite:///{database.with_name('other.db')}"
    assert cli("init", "--database", url, "--json").json["action"] == "created"


@pytest.mark.parametrize("name", ["older.db", "older[1].db"])
def test_init_upgrades_an_older_file_and_tells_the_backup(
    cli: Cli, database: Path, name: str
) -> None:
    database.parent.mkdir()
    older = database.with_name(name)
    with closing(driver.connect(older)) as old:
        old.executescript(ONE_AUDIT)
    told = cli("init", "--json", "--database", older).json
    assert told["action"] == "upgraded"
    assert Path(told["backup"]).is_file()
    shown = cli("show", "old1", "--json", "--database", older)
    assert shown.json["status"] == "completed"


# ---- ingest: files ----


def test_every_sample_is_stored_with_its_screenshots(cli: Cli) -> None:
    files = [str(path) for path in SAMPLES.iterdir() if path.suffix in (".json", ".jsonl", ".txt")]
    files.remove(str(SAMPLES / "bank-failed.jsonl"))
    told = cli("ingest", *files, "--json")
    assert (told.code, told.err) == (0, "")
    assert [row["file"] for row in told.json] == files
    seen = {Path(row["file"]).name: row for row in told.json}
    assert seen["prize-draw.jsonl"]["screenshots_count"] == 4
    assert seen["travel-stdout.txt"]["screenshots_count"] == 3
    assert seen["shop-2026-01.json"]["signal_scores"]["temporal"] == 22
    assert seen["clinic-unreachable.json"]["status"] == "error"
    assert len(seen["stream-odd-values.json"]["errors"]) == 3
    for name in ("news.json", "prize-draw.jsonl", "shop-2026-04.json", "shop-2026-11.json"):
        assert seen[name]["errors"] == []
    scores = [row["trust_score"] for row in cli("history", "--url", SHOP, "--json").json["items"]]
    assert sorted(scores) == [34, 52, 68, 71]


def test_output_that_tells_no_url_needs_one(cli: Cli) -> None:
    file = str(SAMPLES / "bank-failed.jsonl")
    told = cli("ingest", file)
    assert told.code == 1
    assert file in one_error(told.err)
    told = cli("ingest", file, "--url", "https://bank-login.example/", "--id", "bank1", "--json")
    assert told.json[0]["id"] == "bank1"
    assert told.json[0]["error_message"].startswith("the browser crashed")


def test_a_bad_file_does_not_keep_the_others_out(cli: Cli, tmp_path: Path) -> None:
    cut = tmp_path / "cut.json"
    cut.write_bytes((SAMPLES / "news.json").read_bytes()[:-40])
    missing = tmp_path / "missing.json"
    told = cli("ingest", SAMPLES / "news.json", cut, missing, SAMPLES / "shop-2026-04.json")
    assert told.code == 1
    lines = told.err.splitlines()
    assert len(lines) == 2
    assert str(cut) in lines[0]
    assert str(missing) in lines[1]
    assert len(cli("history", "--json").json["items"]) == 2
    assert "news.json" in told.out
    assert "shop-2026-04.json" in told.out


# ---- history ----


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], 6),
        (["--status", "error"], 1),
        (["--risk", "suspicious"], 2),
        (["--url", SHOP], 3),
        (["--site-type", "news"], 1),
        (["--min-score", "52"], 3),
        (["--max-score", "51.9"], 2),
        (["--since", "2020-01-01"], 6),
        (["--since", "2999-01-01T00:00+02:00"], 0),
        (["--until", "2020-01-01"], 0),
        (["--until", "2999-12-31T23:59:59", "--url", SHOP, "--max-score", "40"], 1),
    ],
)
@pytest.mark.usefixtures("stored")
def test_filters(cli: Cli, options: list[str], expected: int) -> None:
    assert len(cli("history", "--json", *options).json["items"]) == expected
    table = cli("history", *options)
    assert (table.code, table.err) == (0, "")
    assert len(table.out.splitlines()) == expected + 1


def test_every_filter_of_the_history_is_an_option() -> None:
    assert set(OPTIONS) == set(Filters.__annotations__)


@pytest.mark.parametrize("command", [["history"], ["search", "words"], ["stats"], ["export"]])
def test_every_option_is_given_to_the_store_under_its_filter_s_name(
    cli: Cli, command: list[str]
) -> None:
    given = {
        "--status": "completed", "--risk": "trusted", "--url": SHOP, "--host": "shop.example",
        "--site-type": "shop", "--tier": "quick", "--min-score": "1", "--max-score": "2",
        "--pattern": "p", "--min-severity": "low", "--since": "2026-01", "--until": "2026-02",
    }  # fmt: skip
    assert len(given) == len(OPTIONS)
    assert cli("init").code == 0
    for option, value in given.items():
        assert cli(*command, option, value).code == 0
    assert cli(*command, *(word for pair in given.items() for word in pair)).code == 0


def test_pages_hold_each_audit_once(cli: Cli, stored: dict[str, str]) -> None:
    seen: list[str] = []
    cursor: list[str] = []
    while True:
        page = cli("history", "--json", "--limit", "4", *cursor).json
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        assert f"--cursor {page['next_cursor']}" in cli("history", "--limit", "4", *cursor).out
        cursor = ["--cursor", page["next_cursor"]]
    assert sorted(seen) == sorted(stored.values())
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.usefixtures("stored")
def test_tables_fit_the_line(cli: Cli, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    cli("ingest", SAMPLES / "shop-2026-09.jsonl")
    monkeypatch.setenv("COLUMNS", str(columns))
    for args in (["history"], ["show", "vrts_shop202609a", "--events"], ["history", "--help"]):
        shown = cli(*args)
        assert shown.code == 0
        assert max(map(len, shown.out.splitlines())) <= columns
        assert "\x1b" not in shown.out
    assert "vrts_shop202609a" in cli("history").out
    assert cli("show", "vrts_shop202609a", "--events").out.count("log_entry") > 30


@pytest.mark.usefixtures("database")
def test_off_a_terminal_nothing_is_cut(cli: Cli) -> None:
    url = "https://long.example/" + "x" * 300
    cli("init")
    with connect():
        operations.create(url, id="long")
    assert url.removeprefix("https://") in cli("history").out


def test_colours_only_where_they_are_wanted(
    stored: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[31m" in on_terminal("history").out
    monkeypatch.setenv("NO_COLOR", "1")
    for args in (["history"], ["show", stored["stream-odd-values.json"]]):
        shown = on_terminal(*args).out
        assert "\x1b[3" not in shown.replace("\x1b[3m", "")  # italics are no colour
        assert max(len(clean(line)) for line in shown.splitlines()) <= 80


# Root may write everything: such a process becomes somebody else, who may not be allowed to read
# this Python's own files; so whatever is imported late is imported before.
UNPRIVILEGED = """
import contextlib, io, os, sys
from veritas_peewee import connect
from veritas_peewee.cli.app import program, run
if getattr(os, "geteuid", os.getpid)() == 0:
    program()  # what is loaded late cannot be found by another user
    with connect(":memory:"):
        pass
    with contextlib.redirect_stderr(io.StringIO()):
        run(["history", "--database", "absent.db"])
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(run())
"""


@pytest.mark.usefixtures("database")
def test_a_file_that_cannot_be_written_can_be_read() -> None:
    def unprivileged(*args: str) -> Result:
        command = [sys.executable, "-c", UNPRIVILEGED, *args, "--database", str(database)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        return Result(done.returncode, done.stdout, done.stderr)

    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "audits.db")
        with connect(database):  # while it is open its WAL is there to be read
            operations.create("https://shop.example/", id="kept")
            files = list(Path(folder).iterdir())
            for path in files:
                path.chmod(0o444)
            Path(folder).chmod(0o555)
            try:
                shown = unprivileged("history", "--json")
                assert (shown.err, shown.code) == ("", 0)
                assert shown.json["items"][0]["id"] == "kept"
                assert unprivileged("show", "kept").code == 0
                refused = unprivileged("delete", "kept", "--yes")
                assert refused.code == 1
                assert "written" in one_error(refused.err)
            finally:
                Path(folder).chmod(0o755)
                for path in files:
                    path.chmod(0o644)


# ---- show ----


def test_show_tells_everything(cli: Cli) -> None:
    cli("ingest", SAMPLES / "prize-draw.jsonl")
    shown = cli("show", "vrts_prizedraw01").out
    for text in (PRIZE, "likely_fraudulent", "card_number_for_prize", "phishing_lists", "59.00"):
        assert text in shown
    assert shown.index("card_number_for_prize") < shown.index("back_button_trap")  # by severity
    assert "phase_start" not in shown
    assert "phase_start" in cli("show", "vrts_prizedraw01", "--events").out
    whole = cli("show", "vrts_prizedraw01", "--json").json
    assert (len(whole["findings"]), len(whole["screenshots"]), len(whole["events"])) == (8, 4, 56)
    assert whole["created_at"].endswith("+00:00")


def test_show_of_no_audit(cli: Cli) -> None:
    cli("init")
    for absent in ("nothing", "x" * 5000, "\x1b[2J"):
        told = cli("show", absent)
        assert told.code == 1
        assert "\x1b" not in one_error(told.err)


HOSTILE = "[bold]b[/bold] [/] :smile: \x1b[2J\x1b]0;title\x07\x9b31m \u202eevil\x08 &#x202e; end"


def test_text_of_an_audit_steers_no_terminal(cli: Cli, database: Path) -> None:
    finding = {"category": HOSTILE, "sub_type": HOSTILE, "severity": "low", "confidence": 0.5}
    result = {
        "url": "https://evil.example/[red]x",
        "status": "completed",
        "site_type": HOSTILE[:50],
        "errors": [HOSTILE],
        "security_results": {HOSTILE: {HOSTILE: [HOSTILE]}},
        "vision_result": {"findings": [{**finding, "evidence": f"{HOSTILE}\n{HOSTILE}"}]},
        "judge_decision": {
            "narrative": f"# {HOSTILE}\n\n[{HOSTILE}](https://other.example)\n\n- `{HOSTILE}`\n",
            "trust_score_result": {"final_score": 50, "risk_level": HOSTILE[:50]},
        },
    }
    with connect(database):
        audit_id = ingest.ingest(result).id
    for args in (["history"], ["show", audit_id, "--events"]):
        plain = cli(*args)
        terminal = on_terminal(*args, columns=200)
        assert (plain.code, terminal.code) == (0, 0)
        for bad in ("\x1b]", "\x1b[2J", "\x07", "\x08", "\x9b", "\u202e"):
            assert bad not in plain.out
            assert bad not in terminal.out
        assert "\x1b" not in plain.out
    assert "[bold]b[/bold] [/] :smile:" in cli("show", audit_id).out
    assert "\x1b" not in cli("show", audit_id, "--json").out


# ---- delete ----


def test_delete_removes_rows_and_files(cli: Cli, stored: dict[str, str], database: Path) -> None:
    gone = stored["shop-2026-01.json"]
    images = database.parent / "screenshots" / gone
    assert len(list(images.iterdir())) == 2
    told = cli("delete", gone, "nobody", stored["news.json"], "--yes", "--json")
    assert told.code == 1
    assert "nobody" in one_error(told.err)
    assert told.json == {"deleted": [gone, stored["news.json"]]}
    assert not images.exists()
    assert cli("show", gone).code == 1
    assert len(cli("history", "--json").json["items"]) == 4


def test_delete_asks_on_a_terminal(cli: Cli, stored: dict[str, str]) -> None:
    audit_id = stored["news.json"]
    refused = on_terminal("delete", audit_id, typed="n\n")
    assert refused.code == 1
    assert "news.example" in refused.out
    assert cli("show", audit_id).code == 0
    assert on_terminal("delete", audit_id, typed="y\n").code == 0
    assert cli("show", audit_id).code == 1


# ---- ingest: pipes ----


def test_a_pipe_is_recorded_while_it_runs(cli: Cli, database: Path) -> None:
    cli("init")
    with process("ingest", "-", "--url", SHOP, "--id", "live", "--json") as started:
        wait_for(lambda: look(database, "live"))
        send(started.stdin, {"type": "phase_start", "phase": "scout", "message": "", "pct": 0})
        wait_for(lambda: (found := look(database, "live")) and found.status == "running")
        finding = {"id": "1", "category": "c", "pattern_type": "p", "severity": "high"}
        finding |= {"confidence": 1.0, "description": "d"}
        send(started.stdin, {"type": "finding", "finding": finding})
        wait_for(lambda: (found := look(database, "live")) and found.findings)
        send(started.stdin, {"type": "audit_complete", "audit_id": "live", "elapsed": 3})
        out, err = started.communicate(timeout=DEADLINE)
    assert (started.returncode, err) == (0, b"")
    assert json.loads(out)[0]["status"] == "completed"


def test_a_pipe_that_ends_too_early(cli: Cli) -> None:
    told = piped(
        b'##PROGRESS:{"phase": "scout", "step": "starting"}\n', "ingest", "-", "--url", SHOP
    )
    assert (told.code, told.err) == (0, "")
    assert "disconnected" in told.out
    # The engine comes back, and goes on with the audit.
    audit_id = told.out.split()[-5]
    data = b'text\n{"type": "audit_complete", "elapsed": 2}\n'
    assert piped(data, "ingest", "-", "--id", audit_id).code == 0
    assert cli("show", audit_id, "--json").json["status"] == "completed"
    told = piped(data, "ingest", "-", "--id", audit_id)
    assert told.code == 1
    assert "already ended" in one_error(told.err)
    told = piped(data, "ingest", "-", "--id", "nobody")
    assert told.code == 1
    assert "nobody" in one_error(told.err)


def test_json_cut_off_in_a_live_pipe(cli: Cli) -> None:
    data = Path(SAMPLES, "travel-stdout.txt").read_bytes()[:-100]
    told = piped(data, "ingest", "-", "--url", "https://travel.example/", "--id", "cut", "--json")
    assert told.code == 1
    assert "cut off" in one_error(told.err)
    assert told.json[0]["status"] == "disconnected"
    assert "cut off" in told.json[0]["errors"][-1]


def test_json_cut_off_in_a_whole_pipe_leaves_nothing(cli: Cli, database: Path) -> None:
    for name in ("travel-stdout.txt", "prize-draw.jsonl", "news.json"):
        told = piped(Path(SAMPLES, name).read_bytes()[:-20], "ingest", "-")
        assert told.code == 1
        assert told.out == ""
        assert "cut off" in one_error(told.err)
    assert cli("history", "--json").json["items"] == []
    folder = database.parent / "screenshots"
    assert not folder.exists() or not [path for path in folder.rglob("*") if path.is_file()]


def test_each_form_through_a_pipe(cli: Cli) -> None:
    for name in ("travel-stdout.txt", "prize-draw.jsonl", "news.json"):
        data = Path(SAMPLES, name).read_bytes()
        whole = piped(data, "ingest", "-", "--json")
        assert (whole.code, whole.err) == (0, "")
        live = piped(data, "ingest", "-", "--url", whole.json[0]["url"], "--json")
        assert (live.code, live.err) == (0, "")
        one, other = (cli("show", told.json[0]["id"], "--json").json for told in (whole, live))
        for key in ("status", "trust_score", "narrative", "errors", "screenshots_count"):
            assert one[key] == other[key]
        assert len(one["findings"]) == len(other["findings"])
        assert len(one["events"]) == len(other["events"])


def test_bytes_that_are_no_text(cli: Cli) -> None:
    data = b'\xff\xfe garbage \xff\n{"type": "audit_error", "error": "caf\xe9"}\n\x00\x9b\n'
    for args in (["--url", SHOP], ["--id", "bytes", "--url", SHOP]):
        told = piped(data, "ingest", "-", *args, "--json")
        assert (told.code, told.err) == (0, "")
        assert told.json[0]["error_message"] == "caf\ufffd"
        assert any("U+FFFD" in error for error in told.json[0]["errors"])


def test_an_interrupted_pipe_is_marked(cli: Cli, database: Path) -> None:
    cli("init")
    with process("ingest", "-", "--url", SHOP, "--id", "live") as started:
        send(started.stdin, {"type": "phase_start", "phase": "scout", "message": "", "pct": 0})
        wait_for(lambda: (found := look(database, "live")) and found.status == "running")
        started.send_signal(signal.SIGINT)
        assert started.wait(DEADLINE) == 130
        assert started.stderr is not None
        assert started.stderr.read() == b""
    found = look(database, "live")
    assert found is not None
    assert found.status == "disconnected"
    assert "interrupted" in found.errors[-1]


@pytest.mark.usefixtures("stored")
def test_a_reader_that_goes_away_is_no_error(cli: Cli) -> None:
    cli("ingest", SAMPLES / "shop-2026-09.jsonl")
    for args in (["show", "vrts_shop202609a", "--json"], ["history"]):
        with process(*args) as started:
            assert started.stdout is not None
            started.stdout.close()
            code = started.wait(DEADLINE)
            assert started.stderr is not None
            assert (code, started.stderr.read()) == (141, b"")


def test_commands_at_once_on_a_new_database(cli: Cli) -> None:
    names = ["news.json", "shop-2026-01.json", "prize-draw.jsonl", "travel-stdout.txt"]
    command = [*PROGRAM, "ingest"]
    started = [
        subprocess.Popen(
            [*command, str(SAMPLES / name)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for name in names
    ]
    for one in started:
        _, err = one.communicate(timeout=DEADLINE)
        assert (one.returncode, err) == (0, b"")
    items = cli("history", "--json").json["items"]
    assert {item["status"] for item in items} == {"completed"}
    assert len(items) == len(names)
