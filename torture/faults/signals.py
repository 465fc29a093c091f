"""Every command of the program, told to end at a random moment: SIGTERM, SIGINT, SIGHUP.

Its exit code says what happened, nothing half-written is left, and the store is whole.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from time import perf_counter, sleep
from typing import IO

from torture.checks import check_verify, select
from torture.model import Row, Run, fault
from veritas_peewee import connect, sync
from veritas_peewee.cli.app import MODULES
from veritas_peewee.evidence.keys import make_key
from veritas_peewee.maintenance.backup import backup
from veritas_peewee.testing import make_audit

LIVE = "live"
AUDITS = 31
"""One of them has not ended: a viewer waits for it."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LIMIT = 60.0
"""Seconds after which a command that was told to end counts as hung."""
COMMANDS = (
    "init --database {new}/a.db",
    "ingest {base}/result.jsonl --database {store}",
    "import {base}/all.jsonl --database {new}/a.db",
    "export --output {new}/a.jsonl.gz --database {store}",
    "export --format html --output {new}/pages --database {store}",
    "backup {new}/saved --database {store}",
    "restore {base}/saved --force --database {store}",
    "restore {base}/saved --database {new}/a.db",
    "prune --keep 0 --yes --vacuum --database {store}",
    "delete {id} --yes --database {store}",
    "verify --fix --database {store}",
    "verify --database {store}",
    "demo --speed 0 --database {new}/a.db",
    "history --database {store}",
    "search countdown --database {store}",
    "show {id} --events --database {store}",
    "stats --database {store}",
    "doctor --database {store}",
    "head --database {store}",
    "trend --host shop.example --database {store}",
    "compare --url https://shop.example/ --database {store}",
    "watch {id} --database {store}",
    "serve --port 0 --database {store}",
    "copy {store} {new}/a.db",
    "keygen {new}/store.key --name audits.example/new",
    "vkey {base}/store.key",
    "head --signed {base}/store.key --database {store}",
    "export --format bag {id} --checkpoint {base}/checkpoint --output {new}/bag --database {store}",
    "check {base}/bag --key {base}/store.vkey",
)
PYTHON_BEGINS = "Fatal Python error: init_"
"""What Python says that is interrupted in its own beginning, be it with its streams or its path."""
SERVED = 0.5
"""Seconds for which `serve` has a viewer at most before it is told to end."""


@fault("signals", "every command told to end at a random moment", rounds=580, quick=29)
def run(run: Run) -> Iterator[Row]:
    # Under `nohup`, and in the background of some shells, the commands would pass it over.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    base = run.folder / "base"
    ids = _fill(base)
    lasted: dict[str, float] = {}
    chance, row = run.chance, Row("signals", run.rounds)
    if lost := {name for one in MODULES.values() for name in one} - {
        command.split()[0] for command in COMMANDS
    }:
        row.problem(f"not tried: {', '.join(sorted(lost))}")
    for number in range(run.rounds):
        command = COMMANDS[number % len(COMMANDS)]
        if command not in lasted:
            lasted[command] = _seconds(run, base, ids, command)
        sent = chance.choice(SIGNALS)
        after = chance.uniform(0, lasted[command])
        _round(row, run.folder / f"{number}", base, ids[0], command, sent, after)
    yield row


def _fill(base: Path) -> list[str]:
    path = base / "store" / "audits.db"
    with connect(path):
        made = [
            sync.ingest(make_audit("https://shop.example/", findings=3, screenshots=2))
            for _ in range(AUDITS - 1)
        ]
        sync.create("https://shop.example/", id=LIVE)
        sync.export(base / "all.jsonl")
        key = make_key(base / "store.key", "audits.example/store")
        (base / "store.vkey").write_text(key.vkey)
        checkpoint = sync.head(key=base / "store.key")
        (base / "checkpoint").write_text(checkpoint.note)
        sync.export_bag(made[0].id, base / "bag", checkpoint=checkpoint)
    backup(base / "saved", database=path)
    (base / "result.jsonl").write_text(
        '{"type": "audit_result", "result": {"url": "https://new.example/", "status": "completed"}}'
    )
    return [audit.id for audit in made]


class Command:
    """A command in a process of its own; whoever serves has a viewer from its first moment on."""

    def __init__(self, folder: Path, base: Path, audit_id: str, command: str) -> None:
        new = folder / "new"
        new.mkdir(parents=True)
        shutil.copytree(base / "store", folder / "store")
        words = [
            word.format(new=new, base=base, store=folder / "store" / "audits.db", id=audit_id)
            for word in command.split()
        ]
        self.serves = words[0] == "serve"
        self.is_viewed = threading.Event()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "veritas_peewee.cli", *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self.serves else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self.serves:
            self._viewer = threading.Thread(target=self._view, args=(self.process.stdout,))
            self._viewer.start()

    def end(self) -> tuple[int, str]:
        """Wait until it has ended; returns its exit code and its errors. TimeoutExpired."""
        if self.serves:
            self.process.wait(LIMIT)
            self._viewer.join()
            assert self.process.stderr is not None
            return self.process.returncode, self.process.stderr.read()
        _, errors = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, errors

    def _view(self, printed: IO[str]) -> None:
        """Look at the audit that goes on, until the server ends."""
        with printed:
            address = printed.readline().partition(" ")[0]
        if not address:  # it was ended before
            return
        request = urllib.request.Request(
            f"{address}api/audits/{LIVE}/events", headers={"Accept": "text/event-stream"}
        )
        with (
            suppress(OSError, HTTPException),
            urllib.request.urlopen(request, timeout=LIMIT) as answer,
        ):
            self.is_viewed.set()
            while answer.read1():
                pass


def _seconds(run: Run, base: Path, ids: list[str], command: str) -> float:
    """How long a command takes that nobody ends, or `serve` until it has had its viewer."""
    folder = run.folder / "whole"
    begin = perf_counter()
    started = Command(folder, base, ids[0], command)
    due = 0
    if started.serves:
        if not started.is_viewed.wait(LIMIT):
            raise RuntimeError(f"{command}: has no viewer")
        sleep(SERVED)
        due = 128 + signal.SIGTERM
        started.process.send_signal(signal.SIGTERM)
    seconds = perf_counter() - begin
    code, errors = started.end()
    if code != due:
        raise RuntimeError(f"{command}: {code}: {errors}")
    if not started.serves:
        seconds = perf_counter() - begin
    shutil.rmtree(folder)
    return seconds


def _round(
    row: Row, folder: Path, base: Path, audit_id: str, command: str, sent: int, after: float
) -> None:
    name = f"{command.split()[0]}, {signal.Signals(sent).name} after {after:.2f} s"
    started = Command(folder, base, audit_id, command)
    sleep(after)
    started.process.send_signal(sent)
    try:
        code, errors = started.end()
    except subprocess.TimeoutExpired:
        started.process.kill()
        started.end()
        row.problem(f"{name}: goes on")
        return
    if code == -sent or PYTHON_BEGINS in errors:
        row.count("ended before the program began")
    elif code == 0:
        row.count("was done")
    elif code == 128 + sent:
        row.count("ended")
        row.count("ended with a viewer", started.is_viewed.is_set())
        if errors:
            row.problem(f"{name}: said {errors!r}")
    else:
        row.problem(f"{name}: exit code {code}: {errors!r}")
    # Whoever dies before it could clear up leaves it to the next; nobody here does.
    for left in folder.rglob(".*"):
        row.problem(f"{name}: left {left.relative_to(folder)}")
    _check(row, name, folder, command)
    shutil.rmtree(folder)


def _check(row: Row, name: str, folder: Path, command: str) -> None:
    """The stores are whole, and hold what was there before or what was to be there."""
    before = row.problem_count
    for path in folder.rglob("*.db"):
        with connect(path):
            pass
        check_verify(row, path)
        row.acknowledged += len(select(path, "SELECT id FROM audits"))
    (number,) = select(folder / "store" / "audits.db", "SELECT COUNT(*) FROM audits")[0]
    least = {"delete": AUDITS - 1, "prune": 1}.get(command.split()[0], AUDITS)
    row.missing += max(0, least - number)
    if row.problem_count > before:
        row.problem(f"({name})")
