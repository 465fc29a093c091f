"""Which tests execute a line, and how long each takes: made once, and added to.

The map is in parts. The first is a run of the whole suite; as long as the package stays the same, a
further one has only the test files that were changed or added since.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import coverage

from mutants.changes import Change
from mutants.trees import ROOT, Tree

_FOLDER = ROOT / "build" / "mutants"
_LONGEST = 3 * 3600.0


class Part:
    """One run of test files, measured."""

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, str] = json.loads((folder / "files.json").read_text())
        self.seconds: dict[str, float] = json.loads((folder / "seconds.json").read_text())
        self._data = coverage.CoverageData(str(folder / "lines"))
        self._data.read()
        self._names = {
            f"veritas_peewee{name.rpartition('veritas_peewee')[2]}": name
            for name in self._data.measured_files()
        }

    def lines(self, file: str) -> dict[int, list[str]]:
        """The tests that execute each line of a file."""
        name = self._names.get(file)
        return {} if name is None else self._data.contexts_by_lineno(name)


class Map:
    """The lines of the package, and the tests that execute them."""

    def __init__(self, parts: list[Part]) -> None:
        newest = {file: part for part in parts for file in part.files}
        self._parts = parts
        self._seconds = {
            test: seconds
            for part in parts
            for test, seconds in part.seconds.items()
            if newest[_file_of(test)] is part and (ROOT / _file_of(test)).exists()
        }
        self._newest = newest
        self._lines = cache(self._lines_of)

    def seconds(self, test: str) -> float:
        return self._seconds.get(test, 1.0)

    def tests(self, change: Change) -> list[str]:
        """The tests that execute a change, in the order in which they are to be run.

        What is executed by loading a module is tested by whatever calls something in it.
        """
        lines = self._lines(change.file)
        if change.at_import:
            found = {test for tests in lines.values() for test in tests}
        else:
            found = lines.get(change.line) or lines.get(change.statement) or set()
        return self.ordered(change.room, found)

    def ordered(self, room: str, tests: set[str]) -> list[str]:
        """The cheapest tests first, and before all others the cheap ones of the room's folder."""

        def key(test: str) -> tuple[bool, float, str]:
            seconds = self.seconds(test)
            near = test.startswith(f"tests/{room}/") and seconds < 1
            return not near, seconds, test

        return sorted(tests, key=key)

    def _lines_of(self, file: str) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        for part in self._parts:
            for line, tests in part.lines(file).items():
                known = {
                    test
                    for test in tests
                    if test in self._seconds and self._newest[_file_of(test)] is part
                }
                if known:
                    found.setdefault(line, set()).update(known)
        return found


def current_map(workers: int) -> Map:
    """The map of the present source; runs those tests that it does not have yet."""
    folder = _FOLDER / _digest(*sorted((ROOT / "veritas_peewee").rglob("*.py")))
    if _FOLDER.exists():
        for other in _FOLDER.iterdir():
            if other != folder:  # of an older source
                shutil.rmtree(other)
    parts = [Part(path) for path in sorted(folder.glob("[0-9]*"))]
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
        shares = [dict(sorted(changed.items())[n::workers]) for n in range(workers)]
        shares = [share for share in shares if share]
        names = [folder / f"{len(parts) + n:03}" for n in range(len(shares))]
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(_make, names, shares))
        parts += map(Part, names)
    return Map(parts)


def _make(folder: Path, files: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="mutants-") as made, Tree(Path(made) / "map") as tree:
        measured = Path(made) / "measured"
        measured.mkdir()
        outcome = tree.measure(list(files), _LONGEST, measured)
        if not (measured / "seconds.json").exists():
            raise SystemExit(f"the tests did not end:\n{outcome.output[-5000:]}")
        if outcome.failed:
            print(f"a test fails when it is measured, or always: {outcome.failed}")
        combined = coverage.Coverage(data_file=str(measured / "lines"), config_file=False)
        combined.combine([str(measured)], strict=True)
        combined.save()
        (measured / "files.json").write_text(json.dumps(files))
        shutil.copytree(measured, folder)


def _file_of(test: str) -> str:
    return test.partition("::")[0]


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
