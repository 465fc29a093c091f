"""Which tests execute a line, and how long each takes: made once, and added to.

The map is in parts, one for each folder of tests, so that a run that was stopped goes on where it
was; further ones have only the test files that were changed or added since. Where the package
itself has changed, the lines that have not are found again by their text, and a new line is taken
to be executed by the tests that execute the lines around it.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import shutil
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import coverage

from mutants.changes import Change
from mutants.trees import ROOT, Tree, scratch

_FOLDER = ROOT / "build" / "mutants"
_PACKAGE = "veritas_peewee"
_LONGEST = 3 * 3600.0


class Part:
    """One run of test files, measured; the folder has the package as it was then."""

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, str] = json.loads((folder / "files.json").read_text())
        self.seconds: dict[str, float] = json.loads((folder / "seconds.json").read_text())
        self._folder = folder
        self._data = coverage.CoverageData(str(folder / "lines"))
        self._data.read()
        self._names = {
            f"{_PACKAGE}{name.rpartition(_PACKAGE)[2]}": name
            for name in self._data.measured_files()
        }

    def knows(self, file: str) -> bool:
        return (self._folder / file).exists()

    def lines(self, file: str) -> dict[int, set[str]]:
        """The tests that execute each line that a file has now."""
        name = self._names.get(file)
        if name is None:
            return {}
        found = {
            line: set(tests) - {""} for line, tests in self._data.contexts_by_lineno(name).items()
        }
        before = (self._folder / file).read_text().splitlines()
        after = (ROOT / file).read_text().splitlines()
        return found if before == after else _moved(found, before, after)


def _moved(found: dict[int, set[str]], before: list[str], after: list[str]) -> dict[int, set[str]]:
    """`found`, by the lines of a file as it was, by those that it has now."""
    moved: dict[int, set[str]] = {}
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for what, first, last, start, end in matcher.get_opcodes():
        if what == "equal":
            for line in range(first, last):
                if line + 1 in found:
                    moved[start + line - first + 1] = found[line + 1]
        else:
            near = [found[line] for line in range(first - 1, last + 3) if line in found]
            for line in range(start, end):
                moved[line + 1] = set().union(*near)
    return moved


class Map:
    """The lines of the package, and the tests that execute them."""

    def __init__(self, parts: list[Part]) -> None:
        self._newest = {file: part for part in parts for file in part.files}
        self._parts = parts
        self._seconds = {
            test: seconds
            for part in parts
            for test, seconds in part.seconds.items()
            if self._newest.get(_file_of(test)) is part and (ROOT / _file_of(test)).exists()
        }
        self._lines = cache(self._lines_of)

    def seconds(self, test: str) -> float:
        return self._seconds.get(test, 1.0)

    def tests(self, change: Change) -> list[str]:
        """The tests that execute a change, in the order in which they are to be run.

        What is executed once for all of them is tested by whatever calls something in its module.
        """
        lines = self._lines(change.file)
        if change.at_first:
            found = {test for tests in lines.values() for test in tests}
        else:
            found = lines.get(change.line) or lines.get(change.statement) or set()
        return self.ordered(change.room, found)

    def ordered(self, room: str, tests: set[str]) -> list[str]:
        """The cheap tests of the room's folder before all others, and the files of tests by turns.

        A file is about one capability: from each its cheapest test first, then each one's second.
        """
        turns: Counter[tuple[bool, str]] = Counter()
        keys = {}
        for test in sorted(tests, key=lambda test: (self.seconds(test), test)):
            seconds = self.seconds(test)
            near = test.startswith(f"tests/{room}/") and seconds < 1
            of_file = (near, _file_of(test))
            turns[of_file] += 1
            keys[test] = (not near, turns[of_file], seconds, test)
        return sorted(tests, key=keys.__getitem__)

    def _lines_of(self, file: str) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        for part in self._parts:
            for line, tests in part.lines(file).items():
                known = {test for test in tests if self._newest.get(_file_of(test)) is part}
                known &= self._seconds.keys()
                if known:
                    found.setdefault(line, set()).update(known)
        return found


def current_map(workers: int, *, fresh: bool) -> Map:
    """The map of the present source; runs those tests that it does not have yet.

    All of them, if it is to be `fresh`, or if the package has a module that it does not know.
    """
    parts = [Part(path) for path in sorted(_FOLDER.glob("[0-9]*"))]
    modules = [path.relative_to(ROOT).as_posix() for path in (ROOT / _PACKAGE).rglob("*.py")]
    if fresh or not all(any(part.knows(module) for part in parts) for module in modules):
        shutil.rmtree(_FOLDER, ignore_errors=True)
        parts = []
    known: dict[str, str] = {}
    for part in parts:
        known.update(part.files)
    present = {
        path.relative_to(ROOT).as_posix(): _digest(path)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
    }
    changed = {file: digest for file, digest in present.items() if known.get(file) != digest}
    if changed:
        print(f"the lines that the tests of {len(changed)} files execute are measured", flush=True)
        shares: dict[Path, dict[str, str]] = defaultdict(dict)
        for file, digest in changed.items():
            shares[Path(file).parent][file] = digest
        names = [_FOLDER / f"{len(parts) + n:03}" for n in range(len(shares))]
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(_make, names, shares.values()))
        parts += map(Part, names)
    return Map(parts)


def _make(folder: Path, files: dict[str, str]) -> None:
    with scratch() as made, Tree(made / "map") as tree:
        measured = made / "measured"
        measured.mkdir()
        outcome = tree.measure(list(files), _LONGEST, measured)
        if not (measured / "seconds.json").exists():
            raise SystemExit(f"the tests did not end:\n{outcome.output[-5000:]}")
        if outcome.failed:
            print(f"a test fails when it is measured, or always: {outcome.failed}")
        combined = coverage.Coverage(data_file=str(measured / "lines"), config_file=False)
        combined.combine([str(measured)], strict=True)
        combined.save()
        for module in (tree.project / _PACKAGE).rglob("*.py"):
            copy = measured / module.relative_to(tree.project)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(module.read_bytes())
        (measured / "files.json").write_text(json.dumps(files))
        shutil.copytree(measured, folder)


def _file_of(test: str) -> str:
    return test.partition("::")[0]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
