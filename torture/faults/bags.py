"""Bags that somebody has altered: the script and `check` must both refuse each, and say why."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from torture.model import Row, Run, fault
from torture.mutations import NAMED, Bags, make, mutated
from veritas_peewee import NotProven, StoreError
from veritas_peewee.evidence.bag_check import check_bag

SCRIPT = resources.files("veritas_peewee.evidence") / "verify.sh"
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}


@fault("bags", "bags of audits that somebody has altered", rounds=200, quick=9)
def run(run: Run) -> Iterator[Row]:
    made = make(run.folder / "made")
    yield by_check(run, made)
    for shell in SHELLS:
        yield by_shell(run, made, shell)


def by_check(run: Run, made: Bags) -> Row:
    """Alter bags, and have each checked by the library."""
    row = Row("bags check", run.rounds)
    check_bag(made.whole, made.key, root=made.root)
    for number in range(run.rounds):
        name, how = mutated(made, run.folder / "bag", run.seed + number)
        try:
            check_bag(run.folder / "bag", made.key, root=made.root)
            row.missing += 1
            row.problem(f"{name}, {how}: was not noticed")
        except (NotProven, StoreError) as error:
            _judge(row, name, how, str(error))
    return row


def by_shell(run: Run, made: Bags, shell: str) -> Row:
    """Alter the same bags, and have each checked by the script."""
    row = Row(f"bags {shell}", run.rounds)
    if shutil.which(SHELLS[shell][0]) is None:
        row.not_run = f"there is no {shell}"
        return row
    code, said = verify(shell, made.whole, made)
    if code:
        row.problem(f"the whole bag was refused: {said}")
    for number in range(run.rounds):
        name, how = mutated(made, run.folder / "bag", run.seed + number)
        code, said = verify(shell, run.folder / "bag", made)
        if code == 0:
            row.missing += 1
            row.problem(f"{name}, {how}: was not noticed")
        elif code != 1 or not re.fullmatch(r"NOT VERIFIED: [^\n]+\n", said):
            row.problem(f"{name}, {how}: code {code}, {said}")
        else:
            _judge(row, name, how, said)
    return row


def verify(shell: str, bag: Path, made: Bags, env: dict[str, str] | None = None) -> tuple[int, str]:
    """The script's exit code, and what it says: on standard error, or if it is 0 on the output."""
    program, *words = SHELLS[shell]
    done = subprocess.run(
        [shutil.which(program) or program, *words, str(SCRIPT), bag, made.key, made.root],
        capture_output=True,
        text=True,
        env=env,
    )
    return done.returncode, done.stderr if done.returncode else done.stdout + done.stderr


def only_applets(folder: Path) -> dict[str, str]:
    """An environment in which all commands but `openssl` are those of BusyBox."""
    folder.mkdir()
    subprocess.run(["busybox", "--install", "-s", str(folder)], check=True, capture_output=True)
    (folder / "openssl").symlink_to(str(shutil.which("openssl")))
    return {"PATH": str(folder)}


def _judge(row: Row, name: str, how: str, said: str) -> None:
    row.count(name)
    if not re.search(NAMED[name], said):
        row.problem(f"{name}, {how}: refused for something else: {said}")
