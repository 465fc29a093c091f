"""Every command on any line, with any streams, and ended by anybody: what is printed, the exit
code, and what is left behind."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.support.audits import fill
from tests.support.command_line import DEADLINE, PROGRAM, Result, wait_for
from tests.support.processes import environment, forked
from veritas_peewee import connect, sync
from veritas_peewee.cli import app
from veritas_peewee.cli.app import MODULES, program, run
from veritas_peewee.cli.terminal import NARROWEST
from veritas_peewee.ledger.keeper import LedgerKeeper
from veritas_peewee.maintenance.backup import backup
from veritas_peewee.maintenance.repair import repair, repairing
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditScreenshot
from veritas_peewee.transfer.exporting import export_jsonl

WIDTHS = ["0", "1", "20", "40", "80", "300", "", "-5", "wide", "\u00b2", "99999999999999999999"]
RESULT = (
    '{"url": "https://new.example/", "status": "completed", "judge_decision": '
    '{"narrative": "x", "trust_score_result": {"final_score": 88, "risk_level": "trusted"}}}'
)


class Place:
    """A store with audits, a backup and an export of it, and an empty folder for what is made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "store" / "audits.db"
        with connect(self.database):
            self.ids = fill()
            for one in self.ids[:2]:
                sync.update(one, narrative="hidden costs")
            export_jsonl(root / "old.jsonl")
        backup(root / "saved", database=self.database)
        (root / "result.json").write_text(RESULT)
        self.before = root / "before"
        shutil.copytree(root / "store", self.before)
        self.new = root / "new"
        self.fresh()

    def fresh(self) -> None:
        """As it was at first."""
        shutil.rmtree(self.new, ignore_errors=True)
        self.new.mkdir()
        shutil.rmtree(self.database.parent)
        shutil.copytree(self.before, self.database.parent)

    def command(self, name: str) -> list[str]:
        values = {
            "id": self.ids[0], "other": self.ids[1], "root": str(self.root), "new": str(self.new),
            "db": str(self.database),
        }  # fmt: skip
        return [name.split()[0], *COMMANDS[name].format(**values).split()]


# What follows after the command's name in each; a name may have a second word to tell two apart.
READING = {
    "history": "--database {db}",
    "search": "hidden --database {db}",
    "stats": "--database {db}",
    "show": "{id} --events --database {db}",
    "compare": "{id} {other} --database {db}",
    "trend": "--host shop0.example --database {db}",
    "verify": "--database {db}",
    "head": "--database {db}",
    "doctor": "--database {db}",
    "watch": "{id} --database {db}",
    "prune dry": "--keep 0 --dry-run --database {db}",
    "export pipe": "--database {db}",
    "export page": "{id} --format html --database {db}",
}
WRITING = {
    "init": "--database {new}/a.db",
    "ingest": "{root}/result.json --database {new}/a.db",
    "import": "{root}/old.jsonl --database {new}/a.db",
    "copy": "{db} {new}/a.db",
    "export file": "--output {new}/a.jsonl.gz --database {db}",
    "export table": "--format csv --output {new}/a.csv --database {db}",
    "export pages": "--format html --output {new}/pages --database {db}",
    "backup": "{new}/saved --database {db}",
    "restore": "{root}/saved --force --database {db}",
    "restore new": "{root}/saved --database {new}/a.db",
    "prune": "--keep 0 --yes --vacuum --database {db}",
    "delete": "{id} {other} --yes --database {db}",
    "verify fix": "--fix --database {db}",
}
COMMANDS = READING | WRITING
NAMING = ("history", "search", "show", "compare", "ingest", "delete")
"""The commands that print audits' ids."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("place"))


PROGRAMS = functools.cache(program)
MADE = functools.cache(typer.main.get_command)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's commands are made once: making them takes longer than most of them run."""
    monkeypatch.setattr(app, "program", PROGRAMS)
    monkeypatch.setattr(typer.main, "get_command", MADE)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("COLUMNS", raising=False)


def here(arguments: list[str], out: Any = None) -> Result:
    """The program in this process; `out` is what it has as standard output."""
    written = [io.BytesIO(), io.BytesIO()]
    given, errors = (io.TextIOWrapper(stream, "utf-8") for stream in written)
    with contextlib.redirect_stdout(out or given), contextlib.redirect_stderr(errors):
        code = run(arguments)
    given.flush()
    errors.flush()
    return Result(code, *(stream.getvalue().decode() for stream in written))


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def test_every_command_is_tried() -> None:
    known = {name for names in MODULES.values() for name in names}
    assert {name.split()[0] for name in COMMANDS} == known - {
        *("demo", "serve"),
        *("keygen", "vkey", "check"),
    }  # these have tests of their own


# ---- lines of any length ----


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_on_lines_of_any_length(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It prints, and does, the same; an id is never cut; and only a table fills the line."""
    expected = here(place.command(name))
    for columns in WIDTHS if name in READING else ("0", "1", "40"):
        if name in WRITING:
            place.fresh()
        monkeypatch.setenv("COLUMNS", columns)
        shown = here(place.command(name))
        assert (shown.code, shown.err) == (expected.code, expected.err), columns
        assert "\x1b" not in shown.out
        assert len(shown.out.split()) > len(expected.out.split()) / 3, columns
        if name in ("history", "show", "compare", "search", "delete"):
            assert [one for one in place.ids if one in expected.out and one not in shown.out] == []
        assert os.environ["COLUMNS"] == columns
    place.fresh()


@pytest.mark.parametrize("columns", ["0", "1", "20"])
def test_help_on_lines_of_any_length(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    shown = here(["history", "--help"])
    assert shown.code == 0
    assert "--status" in shown.out


def test_the_longest_id_is_whole_on_the_shortest_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, path = "audit-6789abcdef", str(tmp_path / "audits.db")
    monkeypatch.setenv("COLUMNS", "20")
    result = tmp_path / "r.json"
    result.write_text(RESULT)
    for arguments in (
        ["ingest", str(result), "--id", long], ["history"], ["show", long], ["search", "x"],
        ["delete", long, "--yes"],
    ):  # fmt: skip
        shown = here([*arguments, "--database", path])
        assert (shown.code, long in shown.out) == (0, True), shown


def test_a_line_that_has_room_for_it_is_filled(place: Place, monkeypatch: Any) -> None:
    for columns in (NARROWEST * 2, 80, 100, 120, 300):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert max(map(len, here(place.command("history")).out.splitlines())) <= columns


# ---- an output that fails ----


@contextlib.contextmanager
def without_reader() -> Iterator[Any]:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as stream:
        yield stream


@contextlib.contextmanager
def on_a_full_disk() -> Iterator[Any]:
    with open("/dev/full", "w") as stream:
        yield stream


@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_fails_has_one_exit_code_in_every_command(place: Place, name: str) -> None:
    command = place.command(name)
    for form in ([], ["--json"]):
        if form and name in ("export pipe", "export page"):
            continue
        for failing, code in ((without_reader, 141), (on_a_full_disk, 1)):
            if name in WRITING:
                place.fresh()
            with failing() as out:
                shown = here([*command, *form], out)
            assert shown.code == code, failing
            said = "the standard output cannot be written: No space left on device"
            assert shown.err == ("" if code == 141 else f"veritas-peewee: {said}\n")
    place.fresh()


def shell(text: str, *arguments: str, **options: Any) -> Result:
    """What a shell makes of the program with these arguments, which is `"$@"` in the text."""
    done = subprocess.run(
        ["sh", "-c", text, "sh", *PROGRAM, *arguments],
        env=environment(), capture_output=True, text=True, timeout=DEADLINE, **options,
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "words",
    ["head --database {db}", "--version", "check --script", "vkey {new}/key", "keygen {new}/other "
     "--name a.example/store", "head --json --database {db}", "history --database {db}",
     "head --signed {new}/key --database {db}", "history --help"],
)  # fmt: skip
def test_what_a_process_could_not_print_is_no_success(place: Place, words: str) -> None:
    """Of a real process, whose standard output is the one that libraries look for themselves."""
    here(["keygen", str(place.new / "key"), "--name", "a.example/store"])
    command = words.format(new=place.new, db=place.database).split()
    full = shell('"$@" >/dev/full', *command)
    assert full.code == 1
    said = "the standard output cannot be written: No space left on device"
    assert full.err == f"veritas-peewee: {said}\n"
    place.fresh()


def test_streams_that_the_shell_has_closed(place: Place) -> None:
    closed = shell('"$@" >&-', *place.command("history"))
    assert (closed.code, closed.out) == (1, "")
    assert closed.err == "veritas-peewee: the standard output cannot be written: it is closed\n"
    # The file that is written gets none of their numbers, into which others may print.
    target = place.new / "whole.jsonl"
    command = [*place.command("export pipe"), "--output", str(target)]
    assert shell('"$@" <&- 2>&- | cat', *command).code == 0
    assert len(target.read_text().splitlines()) == len(place.ids)
    place.fresh()


def test_standard_error_without_a_reader_changes_no_exit_code(place: Place) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [*PROGRAM, "show", "nobody", "--database", str(place.database)]
    assert (
        subprocess.run(command, stderr=write, env=environment(), timeout=DEADLINE).returncode == 1
    )
    os.close(write)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["export --database {db}", "show {id} --json --database {db}"])
def test_what_an_output_that_does_not_wait_has_no_room_for_is_no_success(
    place: Place, unbuffered: str, words: str
) -> None:
    """A parent's end of a pipe may be so; without a buffer Python then drops what has no room."""
    with connect(place.database):
        sync.record_many(place.ids[0], [{"type": "log_entry", "message": "x" * 1000}] * 200)
    read, write = os.pipe()
    os.set_blocking(write, False)
    command = [*PROGRAM, *words.format(db=place.database, id=place.ids[0]).split()]
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=DEADLINE,
        env=environment() | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(write)
    os.close(read)
    assert done.returncode == 1
    assert "the standard output cannot be written: write could not complete" in done.stderr
    place.fresh()


def test_an_input_that_is_not_there_yet_is_waited_for(place: Place) -> None:
    """Who has it too may have left it so that a read does not wait for it."""
    lines = [b'{"type":"phase_start","phase":"scout"}\n', b'{"type":"audit_complete"}\n']
    exported = (place.root / "old.jsonl").read_bytes().splitlines(keepends=True)
    target = ["--database", str(place.new / "a.db")]
    for pieces, words, said in (
        (lines, ["ingest", "-", "--url", "https://new.example/"], "completed"),
        (lines, ["ingest", "-"], "url: none is told in the events"),
        (exported, ["import", "-"], f"imported {len(exported)} audits"),
    ):
        read, write = os.pipe()
        os.set_blocking(read, False)
        with subprocess.Popen(
            [*PROGRAM, *words, *target], stdin=read, env=environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            os.close(read)
            wait_for((place.new / "a.db").exists)
            for piece in pieces:
                time.sleep(0.1)
                os.write(write, piece)
            os.close(write)
            assert said in process.communicate(timeout=DEADLINE)[0]
    place.fresh()


# ---- wrong input ----

WRONG = [
    ("ingest {root}/none.json", "none.json: cannot be read: No such file or directory"),
    ("ingest {new}", "new: cannot be read: Is a directory"),
    ("ingest {new}/socket", "socket: cannot be read: No such device or address"),
    ("ingest /dev/null", "/dev/null: there is no audit in it"),
    ("ingest -", "-: there is no audit in it"),
    ("import {root}/none.jsonl", "none.jsonl: cannot be read: No such file or directory"),
    ("import {new}", "new: cannot be read: Is a directory"),
    ("import /dev/zero", "/dev/zero: line 1 is cut off, or is no JSON"),
    ("export --output {new}/no/a.jsonl", "a.jsonl: cannot be written: No such file or directory"),
    ("export --output {new}", "new: is there already; an export never replaces a file"),
    ("export --format html --output {root}/result.json", "result.json: cannot be made a folder"),
    ("backup {new}/no/saved", "no: there is no such folder to put a backup in"),
    ("backup {new}", "new: is there already"),
    ("restore {new}", "new: is no backup"),
    ("verify --against {new}", "new: Is a directory"),
    ("verify --against /dev/zero", "/dev/zero: "),
    ("verify --against nofile", "is no head: it is printed by `veritas-peewee head`, and there is"),
    ("demo --ack {new}/no/acks", "no/acks: No such file or directory"),
    ("show nobody", "there is no audit 'nobody'"),
    ("watch nobody", "there is no audit 'nobody'"),
    ("delete nobody --yes", "there is no audit 'nobody'"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_wrong_input_is_one_line_with_its_name(
    place: Place, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    arguments = words.format(root=place.root, new=place.new).split()
    with open(os.devnull) as nothing, closing(socket.socket(socket.AF_UNIX)) as listening:
        monkeypatch.chdir(place.new)
        listening.bind("socket")
        monkeypatch.setattr("sys.stdin", nothing)
        shown = here([*arguments, "--database", str(place.database)])
    assert shown.code == (2 if "--against" in arguments else 1)
    assert shown.out == ""
    assert said in shown.err
    assert "Errno" not in shown.err
    assert shown.err.count("\n") == 1
    place.fresh()


def test_a_choice_that_there_is_not_is_told_in_our_words(place: Place) -> None:
    shown = here(["history", "--order", "sideways", "--database", str(place.database)])
    assert shown.code == 2
    assert "'sideways' is not one of 'newest', " in shown.err
    assert "Value error" not in shown.err


@pytest.mark.parametrize("command", ["history", "init", "doctor", "verify", "backup", "watch"])
def test_what_is_no_file_is_no_database(place: Place, command: str) -> None:
    for path in (str(place.new), os.devnull, "/dev/zero"):
        shown = here([command, "--database", path])
        assert shown.code == 1
        assert path in shown.err
        assert "file" in shown.err
        assert "creates it" not in shown.err


@pytest.mark.parametrize("command", ["head", "verify", "watch"])
def test_in_memory_there_is_nothing_to_be_read(command: str) -> None:
    for name in (":memory:", "sqlite://"):
        shown = here([command, "--database", name])
        said = "a database in memory begins empty: there is nothing in it to be read"
        assert (shown.code, shown.out, shown.err) == (1, "", f"veritas-peewee: {said}\n")


def test_a_link_that_leads_to_itself_is_told_without_a_number(place: Place) -> None:
    loop = place.new / "loop.db"
    loop.symlink_to(loop)
    shown = here(["doctor", "--database", str(loop)])
    assert shown.code == 1
    assert "file: cannot be seen: there is a link" in shown.err
    assert "Errno" not in shown.err + shown.out
    place.fresh()


def test_in_a_folder_that_was_removed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = place.new / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    shown = here(["history"])
    assert (shown.code, shown.out) == (1, "")
    assert shown.err == "veritas-peewee: the current folder was removed: change to another one\n"
    assert here(place.command("history")).code == 0


@pytest.mark.parametrize(
    "variables",
    [{"TERM": "dumb"}, {"LINES": "0"}, {"TERMINAL_WIDTH": "wide"}, {"TMPDIR": "/no/such"},
     {"HOME": None}, {"PYTHONIOENCODING": "ascii"}, {"FORCE_COLOR": "1"}],
)  # fmt: skip
def test_in_an_odd_environment(
    place: Place, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str | None]
) -> None:
    for name, value in variables.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    for name in ("history", "show", "verify", "export pipe", "backup", "prune"):
        shown = here(place.command(name))
        assert (shown.code, shown.err) == (0, "")
        assert shown.out
    assert here(["show", "--help"]).code == 0
    place.fresh()


# ---- ended by a signal ----

STEPS = ("rename", "link", "unlink", "mkdir", "rmdir", "fsync", "open")
"""The functions of `os` by which files and folders appear, change their names and go."""


def asked_before(step: int, number: int) -> None:
    """Have this process asked to end before its `step`th step."""
    left = step

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal left
            if function.__name__ != "open" or args[1] & os.O_CREAT:
                left -= 1
                if left == -1:
                    signal.raise_signal(number)
            return function(*args, **options)

        return call

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


@pytest.mark.parametrize("name", WRITING)
def test_a_command_that_is_asked_to_end_leaves_nothing_half_done(place: Place, name: str) -> None:
    """In torture any of them is, at any moment."""
    step = random.Random(name).randrange(0, 12)

    def asked() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        asked_before(step, signal.SIGTERM)
        done = here(place.command(name))
        # There are commands with fewer steps.
        assert done.code == 0 or (done.code, done.err) == (128 + signal.SIGTERM, "")

    place.fresh()
    _, status = os.waitpid(forked(asked), 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert hidden(place.root) == []
    for path in place.root.glob("*/*.db"):
        with connect(path):
            assert verify().problems == []
    place.fresh()


@pytest.mark.parametrize("name", ["prune", "delete"])
def test_a_command_that_is_asked_to_end_while_it_removes_images_ends_and_says_nothing(
    place: Place, name: str
) -> None:
    """What it has not removed any more is left to `verify --fix`."""
    unlink = os.unlink
    left = [2]

    def asked() -> None:
        def counted(file: Any, **options: Any) -> None:
            left[0] -= str(file).endswith(".png")
            if left[0] == 0:
                left[0] = -1
                signal.raise_signal(signal.SIGTERM)
            unlink(file, **options)

        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        logging.getLogger("veritas_peewee").propagate = False  # on standard error, as usual
        os.unlink = counted
        done = here(place.command(name))
        assert left[0] < 0
        assert (done.code, done.err) == (128 + signal.SIGTERM, "")

    place.fresh()
    _, status = os.waitpid(forked(asked), 0)
    assert os.waitstatus_to_exitcode(status) == 0
    with repairing(place.database):
        assert verify().problems == []
        repair(orphan_age=0)
    with connect(place.database):
        rows = {row.file_path for row in AuditScreenshot.select(AuditScreenshot.file_path)}
        images = place.database.parent / "screenshots"
        assert {str(path.relative_to(images)) for path in images.rglob("*.png")} == rows
    place.fresh()


def test_a_program_that_waits_ends_when_it_is_asked(place: Place) -> None:
    place.fresh()
    with connect(place.database):
        # No process runs it, whose end would be the end of watching too.
        waits = sync.create("https://shop.example/").id
        sync.record(waits, {"type": "log_entry", "message": "first"})
    command = [*PROGRAM, "watch", waits, "--database", str(place.database)]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline()
        watching.send_signal(signal.SIGTERM)
        _, err = watching.communicate(timeout=DEADLINE)
    assert (watching.returncode, err) == (128 + signal.SIGTERM, b"")


@contextlib.contextmanager
def live_pipe(path: str, came: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """`ingest -` into the audit "live", with its first event recorded and more on its way."""
    arguments = ["ingest", "-", "--url", "https://a.example/", "--id", "live", "--database", path]
    with subprocess.Popen(
        [*PROGRAM, *arguments], env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as started:
        assert started.stdin is not None
        started.stdin.write(f'{{"type": "phase_start", "phase": "scout"}}\n{came}'.encode())
        started.stdin.flush()
        wait_for(lambda: Path(path).exists() and recorded(path))
        yield started


def test_a_live_pipe_whose_program_is_asked_to_end_is_marked(place: Place) -> None:
    path = str(place.new / "a.db")
    with live_pipe(path) as started:
        started.terminate()
        _, err = started.communicate(timeout=DEADLINE)
    assert (started.returncode, err) == (128 + signal.SIGTERM, b"")
    with connect(path, read_only=True):
        audit = sync.get("live")
    assert audit.status == "disconnected"
    assert "interrupted" in audit.errors[-1]
    place.fresh()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("came", "status", "said"),
    [
        ('{"type": "finding", "finding": {"id": "f1", oh}', "disconnected", "line 2: the JSON"),
        ('"type": "finding" oh', "disconnected", "line 2: looks like an event"),
        ('{\n "scout_results": [],\n "status": oh,\n "judge_decision": {"trust_score_result": '
         '{"final_score": 12}}\n}', "completed", "line 4: cannot be read"),
    ],
)  # fmt: skip
def test_what_came_through_a_live_pipe_before_the_signal_is_kept_or_named(
    place: Place, number: int, came: str, status: str, said: str
) -> None:
    """Also what was held back, because the next line could have belonged to it."""
    path = str(place.new / "a.db")
    with live_pipe(path, f"{came}\n") as started:
        time.sleep(0.3)  # until the second line is read: nothing shows that it is held
        started.send_signal(number)
        _, err = started.communicate(timeout=DEADLINE)
    assert started.returncode == 128 + number
    assert err.decode().startswith(f"veritas-peewee: -: {said}")
    assert err.count(b"\n") == 1
    with connect(path, read_only=True):
        audit = sync.get("live")
        types = [event.event_type for event in sync.events("live")]
    assert audit.status == status
    assert [error for error in audit.errors if error.startswith(said)]
    assert types[-1] == ("audit_disconnected" if status == "disconnected" else "engine_result")
    place.fresh()


@pytest.mark.parametrize(
    ("came", "last", "said"),
    [
        ('{"type": "audit_complete", "elapsed": 5}', "audit_complete", None),
        ('{"type": "log_entry", "message": "all of it"}', "log_entry", None),
        ('{"type": "log_entry", "message": "a pa', "audit_disconnected", "line 2: "),
    ],
)
def test_a_last_line_without_its_newline_is_kept_or_named_too(
    place: Place, came: str, last: str, said: str | None
) -> None:
    path = str(place.new / "a.db")
    with live_pipe(path, came) as started:
        time.sleep(0.3)  # until it waits for more: nothing shows that
        for _ in range(3):  # whoever is impatient takes nothing away
            started.send_signal(signal.SIGTERM)
        _, err = started.communicate(timeout=DEADLINE)
    assert started.returncode == 128 + signal.SIGTERM
    assert (said or "") in err.decode()
    with connect(path, read_only=True):
        types = [event.event_type for event in sync.events("live")]
        assert (said is None) or any(said in error for error in sync.get("live").errors)
    assert last in types
    place.fresh()


def test_an_event_that_was_read_is_recorded_before_the_signal_is_heeded(place: Place) -> None:
    path = str(place.new / "a.db")
    lines = [json.dumps({"type": "log_entry", "message": str(number)}) for number in range(80)]
    with live_pipe(path) as started:
        assert started.stdin is not None
        started.stdin.write("\n".join(lines).encode())  # less than is read in one step
        started.stdin.flush()
        wait_for(lambda: told(path) > 1)
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=DEADLINE)
    assert (started.returncode, err) == (128 + signal.SIGINT, b"")
    with connect(path, read_only=True):
        found = [
            (event.data or {})["message"] for event in sync.events("live", types=["log_entry"])
        ]
    assert found == [str(number) for number in range(80)]
    place.fresh()


def told(path: str) -> int:
    with connect(path, read_only=True):
        return len(sync.events("live"))


def recorded(path: str) -> bool:
    with contextlib.suppress(Exception), connect(path, read_only=True):
        return bool(sync.get("live").status == "running")
    return False


def test_the_exit_code_is_ours_wherever_the_interrupt_was_met(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from veritas_peewee import cli\n"
        "def main():\n"
        "    try:\n"
        "        exec('raise KeyboardInterrupt')\n"
        "    except KeyboardInterrupt:\n"
        "        return 143\n"
        "cli.main = main\n"
    )
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    done = subprocess.run(PROGRAM, env=environment(PYTHONPATH=path), timeout=DEADLINE)
    assert done.returncode == 143


def commands_of(name: str | None = None) -> Any:
    return getattr(typer.main.get_command(program(name)), "commands", {})


def test_each_command_is_found_in_the_module_that_is_named_for_it() -> None:
    whole = commands_of()
    assert [name for names in MODULES.values() for name in names] == list(whole)
    for name in whole:
        part = commands_of(name)
        assert name in part
        assert len(part) <= 3
    assert list(commands_of("histroy")) == list(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("function", ["_compiling", "began"])
def test_an_interrupt_of_which_sqlite_makes_another_error_is_one_all_the_same(
    place: Place, number: signal.Signals, function: str
) -> None:
    def asked() -> None:
        called = getattr(LedgerKeeper, function)

        def interrupted(self: LedgerKeeper, *args: Any) -> Any:
            setattr(LedgerKeeper, function, called)
            signal.raise_signal(number)
            return called(self, *args)

        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        logging.getLogger("veritas_peewee").propagate = False
        setattr(LedgerKeeper, function, interrupted)
        done = here(place.command("delete"))
        assert getattr(LedgerKeeper, function) is called
        assert done.code == 128 + number, done

    place.fresh()
    _, status = os.waitpid(forked(asked), 0)
    assert os.waitstatus_to_exitcode(status) == 0
    place.fresh()
