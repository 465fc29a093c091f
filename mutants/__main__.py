"""`python -m mutants`: change the code in small ways, and see whether the tests notice."""

from __future__ import annotations

import argparse
import random
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from time import monotonic

from mutants.changes import Change, changes_of
from mutants.coverage_map import Map, current_map
from mutants.lists import NotFound, equivalent, promises
from mutants.trees import LIMIT_OF_A_TEST, ROOT, Outcome, Tree, scratch

ROOMS = ("threads", "database", "ledger", "recording", "files", "maintenance", "transfer")
ENOUGH = 0.97
"""The part of the changes that tests have to notice."""
FEWEST = 150
"""The least number of changes from which a rate says something."""
FIRST = 40
"""How many tests are run before the rest are collected; most changes end here."""
AGAIN = 3
"""How often a test that failed with a change may fail without it before it is passed over."""


@dataclass(frozen=True)
class Mutant:
    """A change, and the tests that can notice it."""

    change: Change
    tests: list[str]
    name: str = ""


@dataclass(frozen=True)
class Verdict:
    mutant: Mutant
    outcome: Outcome
    why: str | None
    seconds: float

    @property
    def caught(self) -> bool:
        return self.outcome.failed is not None

    def __str__(self) -> str:
        change = self.mutant.change
        said = "SURVIVED" if self.mutant.tests else "SURVIVED: in the map no test executes it"
        if self.caught:
            said = f"caught by {self.outcome.failed}" + " (it hangs)" * self.outcome.hung
        elif self.why is not None:
            said = f"survived: {self.why}"
        head = f"{self.mutant.name}: " if self.mutant.name else ""
        head += f"{change.file}:{change.line} {said} ({self.seconds:.0f} s)"
        return "\n".join([head, *(f"    {line}" for line in change.diff(_source(change)))])


def _source(change: Change) -> bytes:
    return (ROOT / change.file).read_bytes()


def sample(found: Map, seed: int, rooms: list[str]) -> Iterator[Mutant]:
    """Changes to executed lines in a seeded order, one for each line."""
    chance = random.Random(seed)
    lines: dict[tuple[str, int], list[Change]] = defaultdict(list)
    for room in rooms:
        for path in sorted((ROOT / "veritas_peewee" / room).rglob("*.py")):
            file = path.relative_to(ROOT).as_posix()
            for change in changes_of(file, path.read_bytes()):
                lines[file, change.line].append(change)
    order = sorted(lines)
    chance.shuffle(order)
    for key in order:
        kinds: dict[str, list[Change]] = defaultdict(list)
        for change in lines[key]:
            kinds[change.kind].append(change)
        change = chance.choice(kinds[chance.choice(sorted(kinds))])
        if change.compiles(_source(change)) and (tests := found.tests(change)):
            yield Mutant(change, tests)


def promised(found: Map, chosen: str) -> Iterator[Mutant]:
    """The changes of promises.toml whose name contains `chosen`."""
    missing = []
    for promise in promises():
        if chosen not in promise.name:
            continue
        try:
            change = promise.change()
        except NotFound as error:
            missing.append(str(error))
            continue
        tests: set[str] = set()
        for line in range(change.line, change.line + promise.lines):
            at = Change(change.file, 0, 0, "", "", line, line, False)
            tests.update(found.tests(at))
        if not tests:  # in the map nothing executes it; then whatever executes its module
            at = Change(change.file, 0, 0, "", "", change.line, change.line, True)
            tests.update(found.tests(at))
        yield Mutant(change, found.ordered(change.room, tests), promise.name)
    if missing:
        raise NotFound("\n\n".join(missing))


def run(mutant: Mutant, tree: Tree, found: Map) -> Verdict:
    """Make a change in a tree, run its tests, and take it back."""
    began = monotonic()
    source = _source(mutant.change)
    outcome = _noticed(mutant, tree, found, source)
    why = None if outcome.failed else equivalent(mutant.change, source)
    return Verdict(mutant, outcome, why, monotonic() - began)


def _noticed(mutant: Mutant, tree: Tree, found: Map, source: bytes) -> Outcome:
    """The first test that fails because of the change, if there is one."""
    changed = mutant.change.applied(source)
    try:
        for part in (mutant.tests[:FIRST], mutant.tests[FIRST:]):
            while part:
                tree.write(mutant.change.file, changed)
                outcome = tree.run(part, 120 + 5 * sum(map(found.seconds, part)))
                failed = outcome.failed
                if failed is None:
                    break
                if failed not in part or _tells(failed, outcome, mutant, tree, found, source):
                    return outcome
                part = part[part.index(failed) + 1 :]
    finally:
        tree.write(mutant.change.file, source)
    return Outcome(None)


def _tells(
    test: str, outcome: Outcome, mutant: Mutant, tree: Tree, found: Map, source: bytes
) -> bool:
    """Whether a test that has failed with the change passes without it, and fails with it again.

    Some fail now and then beside other work: if it passed without the change only when it was asked
    again, it must fail with the change more often than it did without.
    """
    limit = LIMIT_OF_A_TEST + 30 + 5 * found.seconds(test)
    failures = 0
    if test not in tree.passed:
        tree.write(mutant.change.file, source)
        while tree.run([test], limit).failed is not None:
            failures += 1
            if failures == AGAIN:
                return False
        tree.passed.add(test)
    tree.write(mutant.change.file, mutant.change.applied(source))
    # One that hangs would take its whole time again; but where the time of all was over, the one
    # that was running need not be at fault.
    once_more = outcome.cut_off or not outcome.hung
    more = failures + 1 if failures else int(once_more)
    return all(tree.run([test], limit).failed is not None for _ in range(more))


def run_all(mutants: Iterator[Mutant], found: Map, workers: int, until: float) -> list[Verdict]:
    """Run changes side by side until there are none left, or the time is over."""
    verdicts: list[Verdict] = []
    lock = threading.Lock()
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        trees: SimpleQueue[Tree] = SimpleQueue()
        for number in range(workers):
            trees.put(stack.enter_context(Tree(folder / str(number))))

        def work() -> None:
            tree = trees.get()
            while monotonic() < until:
                with lock:
                    mutant = next(mutants, None)
                if mutant is None:
                    return
                verdict = run(mutant, tree, found)
                with lock:
                    verdicts.append(verdict)
                    print(f"{len(verdicts)}. {verdict}", flush=True)

        with ThreadPoolExecutor(workers) as pool:
            for done in [pool.submit(work) for _ in range(workers)]:
                done.result()
    return verdicts


def table(verdicts: list[Verdict]) -> str:
    """The rate of each room, and of all."""
    lines = [
        f"{'room':12} {'changes':>8} {'caught':>8} {'no change':>10} {'survived':>9} {'rate':>7}"
    ]
    rooms = sorted({verdict.mutant.change.room for verdict in verdicts})
    for room in [*rooms, "all"]:
        of_room = [one for one in verdicts if room in ("all", one.mutant.change.room)]
        caught = sum(one.caught for one in of_room)
        nothing = sum(one.why is not None for one in of_room)
        lines.append(
            f"{room:12} {len(of_room):8} {caught:8} {nothing:10} "
            f"{len(of_room) - caught - nothing:9} {rate(of_room):7.1%}"
        )
    return "\n".join(lines)


def rate(verdicts: list[Verdict]) -> float:
    """The part of the changes that were caught, of those that change something."""
    counted = [one for one in verdicts if one.why is None]
    return sum(one.caught for one in counted) / len(counted) if counted else 1.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument("--count", type=int, default=160, help="how many changes (default: 160)")
    parser.add_argument("--minutes", type=float, default=55,
                        help="when no further change is begun (default: 55)")  # fmt: skip
    parser.add_argument("--workers", type=int, default=2, help="how many at once (default: 2)")
    parser.add_argument("--rooms", type=lambda text: text.split(","), default=list(ROOMS),
                        metavar="ROOM,…", help="of these rooms alone")  # fmt: skip
    parser.add_argument("--promises", nargs="?", const="", metavar="TEXT",
                        help="the changes of promises.toml (whose name has this text)")  # fmt: skip
    parser.add_argument("--fresh", action="store_true",
                        help="measure anew which tests execute which lines")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="show the changes and end")
    return parser.parse_args()


def main() -> int:
    chosen = _arguments()
    until = monotonic() + 60 * chosen.minutes
    found = current_map(chosen.workers, fresh=chosen.fresh)
    if chosen.promises is None:
        mutants = list(islice(sample(found, chosen.seed, chosen.rooms), chosen.count))
    else:
        mutants = list(promised(found, chosen.promises))
    if chosen.list:
        for mutant in mutants:
            print(Verdict(mutant, Outcome(f"{len(mutant.tests)} tests"), None, 0))
        return 0
    verdicts = run_all(iter(mutants), found, chosen.workers, until)
    survivors = [one for one in verdicts if not one.caught and one.why is None]
    if survivors:
        print("\nno test noticed:")
        print("\n".join(map(str, survivors)))
    print(f"\nseed {chosen.seed}, {len(verdicts)} of {len(mutants)} changes\n{table(verdicts)}")
    if len(verdicts) < len(mutants):
        print("the time was over before all were run")
    if chosen.promises is not None:
        return 1 if survivors or len(verdicts) < len(mutants) else 0
    return 0 if rate(verdicts) >= ENOUGH and len(verdicts) >= min(FEWEST, chosen.count) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NotFound as error:
        sys.exit(str(error))
