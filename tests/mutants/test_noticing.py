"""Which test has noticed a change: one that fails with it, and not without it as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutants.__main__ import FIRST, Mutant, run
from mutants.changes import Change, changes_of
from mutants.coverage_map import Map
from mutants.trees import ROOT, Outcome, Tree

FILE = "veritas_peewee/threads/slots.py"
TESTS = [f"tests/test_a.py::test_{number}" for number in range(FIRST + 5)]


class Played(Tree):
    """A tree whose tests fail as they are told to: by turns, with the change and without it."""

    def __init__(self, folder: Path, fails: dict[int, tuple[list[bool], list[bool]]]) -> None:
        super().__init__(folder)
        self.left = {TESTS[number]: tuple(map(list, turns)) for number, turns in fails.items()}
        self.ran: list[int] = []
        self.changed = False
        self.cut_off = False

    def write(self, file: str, source: bytes) -> None:
        self.changed = source != (ROOT / file).read_bytes()

    def run(self, tests: list[str], seconds: float) -> Outcome:
        self.ran.append(len(tests))
        for test in tests:
            turns = self.left.get(test, ([], []))[0 if self.changed else 1]
            if turns and turns.pop(0):
                cut_off, self.cut_off = self.cut_off, False
                return Outcome(test, cut_off, cut_off)
        return Outcome(None)


@pytest.fixture
def mutant() -> Mutant:
    source = (ROOT / FILE).read_bytes()
    change: Change = next(one for one in changes_of(FILE, source) if one.compiles(source))
    return Mutant(change, TESTS)


@pytest.mark.parametrize(
    ("with_it", "without", "noticed"),
    [
        ([True, True], [False], True),
        ([True, False], [False], False),
        ([True], [True, True, True], False),
        ([True, True, True], [True, False], True),
        ([True, True, False], [True, False], False),
    ],
    ids=[
        "it alone",
        "only once",
        "as without it",
        "without it only once",
        "no more often than without it",
    ],
)
@pytest.mark.parametrize("number", [0, FIRST + 2])
def test_a_test_notices_a_change_if_it_fails_because_of_it(
    with_it: list[bool],
    without: list[bool],
    noticed: bool,
    number: int,
    mutant: Mutant,
    tmp_path: Path,
) -> None:
    tree = Played(tmp_path, {number: (with_it, without)})
    verdict = run(mutant, tree, Map([]))
    assert verdict.outcome.failed == (TESTS[number] if noticed else None)
    assert not tree.changed


def test_those_after_one_that_fails_in_any_case_are_run(mutant: Mutant, tmp_path: Path) -> None:
    always = ([True], [True, True, True])
    tree = Played(tmp_path, {3: always, 7: ([True, True], []), FIRST: ([True], [])})
    assert run(mutant, tree, Map([])).outcome.failed == TESTS[7]
    assert tree.ran == [FIRST, 1, 1, 1, FIRST - 4, 1, 1]


def test_the_one_that_was_running_when_the_time_was_over_is_asked_alone(
    mutant: Mutant, tmp_path: Path
) -> None:
    tree = Played(tmp_path, {0: ([True, False], []), 5: ([True, True], [])})
    tree.cut_off = True
    assert run(mutant, tree, Map([])).outcome.failed == TESTS[5]


def test_a_change_that_no_test_executes_is_told_apart(mutant: Mutant, tmp_path: Path) -> None:
    verdict = run(Mutant(mutant.change, []), Played(tmp_path, {}), Map([]))
    assert "SURVIVED: in the map no test executes it" in str(verdict)


def test_the_files_of_tests_take_turns_and_those_of_the_room_are_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = {
        "tests/store/test_a.py::test_1": 0.1,
        "tests/store/test_a.py::test_2": 0.2,
        "tests/store/test_b.py::test_3": 3.0,
        "tests/files/test_c.py::test_4": 0.5,
        "tests/files/test_c.py::test_5": 0.6,
        "tests/files/test_d.py::test_6": 0.7,
        "tests/files/test_d.py::test_7": 2.0,
    }
    found = Map([])
    monkeypatch.setattr(found, "seconds", seconds.__getitem__)
    order = [test[-1] for test in found.ordered("files", set(seconds))]
    assert "".join(order) == "4651732"
