"""`verify` again and again beside everything that changes a store, each in a process of its own.

The store is sound, so each accusation is a false one, and each failed export, report and backup
is one too.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from torture.checks import check_files, check_verify
from torture.followed import ROOT, TIMEOUT, command
from torture.model import Row, Run, fault
from torture.programs.record import finding, shot
from veritas_peewee import connect, sync

PROCESSES = ("record", "prune,delete", "import", "fix,checkpoint", "export,report,backup", "verify")
"""What each process does, in turn."""
BEFORE = 60
"""Audits that are there at the beginning, and as many that are imported."""


class Process:
    """A process that does the same again and again until it is asked to end."""

    def __init__(self, path: Path, roles: str, *rest: object) -> None:
        self.roles = roles
        self.times: Counter[str] = Counter()
        self.bad: Counter[tuple[str, str]] = Counter()
        """How often a role has failed, by the first line of what was said."""
        self._process = subprocess.Popen(
            command("beside", path, roles, *rest), cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self.news = threading.Event()
        self._reader.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            self.times[told["what"]] += 1
            if not told["well"]:
                first = re.sub(r"\d+|vrts_\w+|'.*'", "…", told["said"].partition("\n")[0])
                self.bad[told["what"], first] += 1
            self.news.set()
        self.news.set()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, times: int) -> bool:
        """Wait until it has done its thing so often; false if it ends before, or stands still."""
        while (done := self.times.total()) < times:
            self.news.clear()
            if self.times.total() == done and not (self.runs and self.news.wait(TIMEOUT)):
                return False
        return True

    def end(self) -> str:
        """Ask it to end; what went wrong with that, or nothing."""
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.stdin.close()
        try:
            code = self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            return "does not end"
        self._reader.join()
        return f"ended with {code}: {self._process.stderr.read()[-500:]}" if code else ""


@fault("beside", "verify beside prune, import, backup and recording", rounds=500, quick=8)
def run(run: Run) -> Iterator[Row]:
    row = Row("beside", run.rounds)
    path, exported = run.folder / "audits.db", run.folder / "exported.jsonl"
    _fill(path)
    _fill(run.folder / "other" / "audits.db")
    with connect(run.folder / "other" / "audits.db", read_only=True):
        sync.export(str(exported))
    with ExitStack() as stack:
        started = [
            stack.enter_context(Process(path, roles, *([exported] if roles == "import" else [])))
            for roles in PROCESSES
        ]
        for one in started:
            if not one.wait_until(len(one.roles.split(","))):
                row.problem(f"{one.roles}: does not begin")
        if not started[-1].wait_until(run.rounds):
            row.problem(f"verify stands still after {started[-1].times.total()} times")
        for one in started:
            if said := one.end():
                row.problem(f"{one.roles}: {said}")
            _count(row, one)
    check_files(row, path)
    check_verify(row, path)
    yield row


def _fill(path: Path) -> None:
    with connect(path):
        for number in range(BEFORE):
            url = f"https://site{number % 5}.example.com/"
            result = {"type": "audit_result", "result": {"url": url, "status": "completed"}}
            sync.ingest([shot(number), finding(1), result])


def _count(row: Row, process: Process) -> None:
    for role, times in process.times.items():
        row.figures[f"{role}: times"] = times
    for (role, said), times in process.bad.most_common():
        row.count(f"{role}: failed", times)
        row.problem(f"{role}, {times} times of {process.times[role]}: {said}")
