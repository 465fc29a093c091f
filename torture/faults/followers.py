"""Viewers of audits whose engines end late, are killed, and run again, with clocks that jump.

In each round one process views, another runs audits (and views them too) until it is killed, and a
third runs what is left. Then the store is put back to an earlier state, and viewers go on with the
tokens that they had.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from time import sleep

from torture.checks import check_verify, select
from torture.followed import Followed
from torture.legacy import write_legacy
from torture.model import Row, Run, fault
from veritas_peewee import connect, sync
from veritas_peewee.maintenance.backup import backup
from veritas_peewee.maintenance.restore import restore

AUDITS = 5
LINGER, QUICK_LINGER = 30.0, 0.4
"""The most seconds from a result to its engine's end, in the long form and in the quick one."""


class Viewers(Followed):
    """A process that views audits, and perhaps runs them."""

    def __init__(
        self, path: Path, linger: float, chance: random.Random, audits: list[str], *, runs: bool
    ) -> None:
        self.is_open = self.closed = False
        self.seen: dict[str, list[int]] = {one.partition("=")[0]: [] for one in audits}
        self.tokens: dict[str, str] = {}
        self.how: dict[str, str] = {}
        hours = chance.choice([0, -48, 48, chance.uniform(-1, 1)])
        options = (chance.choice(["asyncio", "trio"]), chance.randrange(10**6), hours, linger)
        super().__init__("follow", path, *options, *["run"] * runs, *audits)

    def heard(self, line: str) -> None:
        match line.split():
            case ["event", audit, event_id, token]:
                self.seen[audit].append(int(event_id))
                self.tokens[audit] = token
            case ["ended", audit, how]:
                self.how[audit] = how
            case ["error", audit, kind, *_]:
                self.how[audit] = kind
            case [word]:
                self.is_open, self.closed = True, word == "closed"


@fault("followers", "viewers of engines that end late, die, run again; clocks, restores",
       rounds=40, quick=1)  # fmt: skip
def run(run: Run) -> Iterator[Row]:
    row, chance = Row("followers", run.rounds), run.chance
    linger = LINGER if run.rounds > 5 else QUICK_LINGER
    for number in range(run.rounds):
        folder = run.folder / f"{number}"
        _round(row, folder / "audits.db", folder / "kept", linger, chance, upgraded=number % 2 == 0)
    yield row


def _round(
    row: Row, path: Path, kept: Path, linger: float, chance: random.Random, *, upgraded: bool
) -> None:
    audits = []
    if upgraded:
        write_legacy(path)
        audits = [name for (name,) in select(path, "SELECT id FROM audits WHERE status LIKE 'c%'")]
    with connect(path):
        audits += [sync.create(f"https://example.com/{n}").id for n in range(AUDITS)]
        for audit in audits[-2:]:
            sync.record(audit, {"type": "log_entry", "message": "before the backup"})
        backup(kept)

    first = _phase(row, path, linger, chance, audits, dies=True)
    newest = _newest(path)
    restore(kept, path, force=True)
    # Each viewer goes on with the token of the last event that it saw.
    again = [f"{audit}={first.tokens[audit]}" if audit in first.tokens else audit
             for audit in audits]  # fmt: skip
    there = {audit: {one for (one,) in _events(path, audit)} for audit in audits}
    second = _phase(row, path, linger, chance, audits, again=again)
    for audit, token in first.tokens.items():
        stale = int(token.partition("-")[0]) not in there[audit]
        if stale != (second.how.get(audit) == "StaleToken"):
            row.problem(f"audit {audit}: its viewer with {token} ended {second.how.get(audit)}")
        row.count("stale tokens", stale)
    old = {one for ids in there.values() for one in ids}
    for audit in audits:
        for (event_id,) in _events(path, audit):
            if event_id not in old and event_id <= newest:
                row.problem(f"event {event_id} has the id of another one")
    check_verify(row, path)


def _phase(
    row: Row,
    path: Path,
    linger: float,
    chance: random.Random,
    audits: list[str],
    *,
    again: list[str] | None = None,
    dies: bool = False,
) -> Viewers:
    """View the audits while they are run; returns the viewers, who resumed as in `again`."""
    viewers = Viewers(path, linger, chance, again or audits, runs=False)
    others = Viewers(path, linger, chance, audits, runs=False) if again else viewers
    whole = [others]
    viewers.wait_until(lambda: viewers.is_open)
    if dies:
        killed = Viewers(path, linger, chance, audits, runs=True)
        killed.wait_until(lambda: killed.is_open)
        sleep(chance.random() ** 2 * 1.5)
        killed.kill()
        _check_part(row, path, killed)
    runner = Viewers(path, linger, chance, audits, runs=True)
    whole.append(runner)
    for one in dict.fromkeys([*whole, viewers]):
        if one.end() != 0 or not one.closed:
            row.problem(f"a process ended badly: {one.errors}")
    for one in whole:
        _check_whole(row, path, one, audits)
    if again:
        _check_part(row, path, viewers)
    return viewers


def _check_whole(row: Row, path: Path, viewers: Viewers, audits: list[str]) -> None:
    """Each viewer saw every event once, in order, and how its audit ended."""
    for audit in audits:
        stored = [event_id for (event_id,) in _events(path, audit)]
        seen = viewers.seen[audit]
        row.acknowledged += len(stored)
        row.missing += len(set(stored) - set(seen))
        if seen != stored:
            row.problem(f"audit {audit}: a viewer saw {seen} of {stored}")
        ((status,),) = select(path, "SELECT status FROM audits WHERE id = ?", audit)
        if viewers.how.get(audit) != status:
            row.problem(f"audit {audit} is {status}; a viewer ended {viewers.how.get(audit)}")
        row.count(f"ended {status}")


def _check_part(row: Row, path: Path, viewers: Viewers) -> None:
    """What a viewer saw before its end, or after its token, is a part of the log without gaps."""
    for audit, seen in viewers.seen.items():
        stored = [event_id for (event_id,) in _events(path, audit)]
        if seen and seen != [one for one in stored if seen[0] <= one <= seen[-1]]:
            row.problem(f"audit {audit}: a viewer saw {seen} of {stored}")


def _events(path: Path, audit: str) -> list[tuple[int]]:
    return select(path, "SELECT id FROM audit_events WHERE audit_id = ? ORDER BY id", audit)


def _newest(path: Path) -> int:
    return int(select(path, "SELECT MAX(id) FROM audit_events")[0][0])
