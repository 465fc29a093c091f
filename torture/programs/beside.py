"""One process of several on a store: its roles in turn, again and again, until its input ends.

    python -m torture.programs.beside DATABASE ROLE,… [FILE]

Roles that look, through the program's commands: `verify` (every other time against a head of just
before), `export`, `report`, `backup`. Roles that change the store: `record`, `prune`, `delete`,
`import` (of FILE, whose audits it deletes again), `fix` (`verify --fix`), `checkpoint`.

For each time a line of JSON on standard output: what, whether it went well, and what was said.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, cycle
from pathlib import Path

from torture.command_line import program
from torture.programs.record import finding, log_entry, shot
from veritas_peewee import AuditNotFound, StoreError, connect, sync
from veritas_peewee.database.current import current_database

SITES = 5
KEEP = 6
"""Ended audits of a site that a prune leaves."""
Step = Callable[[], tuple[bool, str]]


def _told(code: int, err: str) -> tuple[bool, str]:
    return code == 0, err.strip()[:400]


def verifying(path: Path) -> Iterator[Step]:
    def plain() -> tuple[bool, str]:
        code, _, err = program("verify", "--database", path)
        return _told(code, err)

    def against() -> tuple[bool, str]:
        _, head, _ = program("head", "--database", path)
        code, _, err = program("verify", "--against", head.strip(), "--database", path)
        return _told(code, err)

    while True:
        yield plain
        yield against


def exporting(path: Path) -> Iterator[Step]:
    target = path.parent / f"export-{os.getpid()}.jsonl.gz"

    def step() -> tuple[bool, str]:
        target.unlink(missing_ok=True)
        code, _, err = program("export", "--output", target, "--database", path)
        return _told(code, err)

    while True:
        yield step


def reporting(path: Path) -> Iterator[Step]:
    def step() -> tuple[bool, str]:
        with connect(path, read_only=True):
            audits = sync.history(limit=50).items
        for audit in audits[-1:]:
            code, out, err = program("export", "--format", "html", audit.id, "--database", path)
            gone = code == 1 and "there is no audit" in err
            # What a report found is on the page itself.
            if not gone and (code or "was altered" in out or "is missing" in out):
                return False, f"report of {audit.id}: {err.strip()[:300]}"
        return True, ""

    while True:
        yield step


def backing_up(path: Path) -> Iterator[Step]:
    target = path.parent / f"backup-{os.getpid()}"

    def step() -> tuple[bool, str]:
        shutil.rmtree(target, ignore_errors=True)
        code, _, err = program("backup", target, "--database", path)
        return _told(code, err)

    while True:
        yield step


def recording(path: Path) -> Iterator[Step]:
    for seed in count(os.getpid() * 1000):

        def step(seed: int = seed) -> tuple[bool, str]:
            url = f"https://site{seed % SITES}.example.com/"
            with connect(path):
                audit = sync.create(url).id
                sync.record(audit, finding(seed))
                sync.record_many(audit, [shot(seed), log_entry(seed), finding(seed + 1)])
                sync.record(audit, {"type": "audit_complete", "elapsed": 1})
                for number in range(4):
                    result = {"url": url, "status": "completed", "trust_score": 50}
                    told = {"type": "audit_result", "result": result}
                    sync.ingest([shot(seed + number), finding(number), told])
            return True, ""

        yield step


def pruning(path: Path) -> Iterator[Step]:
    def step() -> tuple[bool, str]:
        code, _, err = program("prune", "--keep", KEEP, "--yes", "--database", path)
        return _told(code, err)

    while True:
        yield step


def deleting(path: Path) -> Iterator[Step]:
    def step() -> tuple[bool, str]:
        with connect(path):
            for audit in sync.history(limit=3, status="completed").items[1:]:
                with suppress(AuditNotFound):  # another process was faster
                    sync.delete(audit.id)
        return True, ""

    while True:
        yield step


def importing(path: Path, file: str) -> Iterator[Step]:
    with open(file) as lines:
        audits = [json.loads(line)["audit"]["id"] for line in lines]

    def step() -> tuple[bool, str]:
        code, _, err = program("import", "--skip-existing", file, "--database", path)
        with connect(path):
            for audit in audits:
                with suppress(AuditNotFound):
                    sync.delete(audit)
        return _told(code, err)

    while True:
        yield step


def fixing(path: Path) -> Iterator[Step]:
    def step() -> tuple[bool, str]:
        code, _, err = program("verify", "--fix", "--database", path)
        return _told(code, err)

    while True:
        yield step


def checkpointing(path: Path) -> Iterator[Step]:
    def step() -> tuple[bool, str]:
        with connect(path):
            current_database().execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return True, ""

    while True:
        yield step


ROLES: dict[str, Callable[..., Iterator[Step]]] = {
    "verify": verifying,
    "export": exporting,
    "report": reporting,
    "backup": backing_up,
    "record": recording,
    "prune": pruning,
    "delete": deleting,
    "import": importing,
    "fix": fixing,
    "checkpoint": checkpointing,
}
PAUSE = 0.02
"""Seconds between two times; `verify` alone never rests."""


def main(path: str, roles: str, *rest: str) -> None:
    names = roles.split(",")
    pause = 0 if names == ["verify"] else PAUSE
    turns = [(name, ROLES[name](Path(path), *rest)) for name in names]
    for name, steps in cycle(turns):
        try:
            well, said = next(steps)()
        except StoreError as error:
            well, said = False, f"{type(error).__name__}: {error}"
        told = json.dumps({"what": name, "well": well, "said": said})
        os.write(1, f"{told}\n".encode())
        if select.select([0], [], [], pause)[0]:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
