"""A fault, how it is run, and the rows of the table that come of it."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

OK = "ok"
CONTROL_ROUNDS = 100
"""How many rounds a control that shows no loss is continued at most, unless it has more."""
MOST_PROBLEMS = 20
"""The most problems that a row lists in full; the others are counted."""


@dataclass
class Row:
    """One line of the table: a fault, or one form of it, and what it cost."""

    fault: str
    rounds: int = 0
    acknowledged: int = 0
    """Writes whose await had returned."""
    missing: int = 0
    """Acknowledged writes that are not there afterwards."""
    half_saved: int = 0
    """Audits and batches that were written at once and are there only in part."""
    seconds: float = 0.0
    control: str = ""
    """`loses` for a row that must show loss: a check that finds none there finds none anywhere.
    `breaks` for such a row in which the store may be damaged too. Else empty."""
    not_run: str = ""
    """Why the fault could not be run; empty if it was."""
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0
    figures: dict[str, Any] = field(default_factory=dict)
    """What else was counted, by name."""

    def problem(self, text: str) -> None:
        """Note something that must not happen."""
        self.problem_count += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(text)

    def count(self, name: str, more: int = 1) -> None:
        self.figures[name] = self.figures.get(name, 0) + more

    def most(self, name: str, value: float) -> None:
        """Keep the largest value of a figure, rounded to milliseconds."""
        self.figures[name] = max(self.figures.get(name, 0.0), round(value, 3))

    def goes_on(self, rounds: int) -> bool:
        """Whether more of so many rounds are to be run."""
        if self.control and not self.missing:  # a short run must not call it broken by chance
            return self.rounds < max(rounds, CONTROL_ROUNDS)
        return self.rounds < rounds

    @property
    def verdict(self) -> str:
        if self.not_run:
            return f"NOT RUN: {self.not_run}"
        if self.control and not self.missing:
            return "BAD: the control lost nothing, so this proves nothing"
        if self.control == "breaks":
            return OK
        bad = [f"{self.missing} missing"] if self.missing and not self.control else []
        bad += [f"{self.half_saved} half-saved"] if self.half_saved else []
        bad += [f"{self.problem_count} problems"] if self.problem_count else []
        return "BAD: " + ", ".join(bad) if bad else OK

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Row:
        return cls(**{name: value for name, value in values.items() if name != "verdict"})


@dataclass(frozen=True)
class Run:
    """The settings with which a fault is run."""

    rounds: int
    folder: Path
    """An empty folder for whatever the fault needs; removed afterwards."""
    seed: int = 0

    @property
    def chance(self) -> random.Random:
        """Random numbers that are the same for the same seed."""
        return random.Random(self.seed)


Function = Callable[[Run], Iterator[Row]]


@dataclass(frozen=True)
class Fault:
    """A fault by its name; `rounds` in the full form, `quick` in the quick one."""

    name: str
    title: str
    rounds: int
    quick: int
    function: Function

    def run(self, rounds: int, seed: int = 0) -> list[Row]:
        """Run it in a folder of its own; an error of the harness itself is a bad row too."""
        with scratch() as folder:
            rows: list[Row] = []
            begin = perf_counter()
            try:
                for row in self.function(Run(rounds, folder, seed)):
                    rows.append(row)
                    row.seconds = row.seconds or perf_counter() - begin
                    begin = perf_counter()
            except Exception as error:
                row = Row(self.name, seconds=perf_counter() - begin)
                row.problem(f"the fault could not be run: {type(error).__name__}: {error}")
                rows.append(row)
            return rows


FAULTS: dict[str, Fault] = {}


def fault(name: str, title: str, *, rounds: int, quick: int) -> Callable[[Function], Function]:
    """Register a function that yields the rows of a fault."""

    def register(function: Function) -> Function:
        FAULTS[name] = Fault(name, title, rounds, quick, function)
        return function

    return register


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder that other users can enter, because a child without rights must."""
    folder = Path(tempfile.mkdtemp(prefix="veritas-torture-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
