"""The two lists beside this module: changes that break promises, and those that break nothing."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutants.changes import Change
from mutants.trees import ROOT

_HERE = Path(__file__).parent


class NotFound(Exception):
    """A text of a list is not in the source, or not only once."""


@dataclass(frozen=True)
class Promise:
    """A change to the present source after which a promise no longer holds."""

    name: str
    file: str
    before: str
    after: str
    within: str = ""
    """The function that it is in, as `Class.method`, where the text alone stands in several."""

    def change(self) -> Change:
        """The change; raises NotFound if the source no longer has the text, or has it twice."""
        path = ROOT / self.file
        if not path.exists():
            raise NotFound(f"promises.toml: {self.name}: there is no {self.file} any more")
        source = path.read_bytes()
        first, last = 0, len(source)
        where = self.file
        if self.within:
            where += f", {self.within}"
            first, last = self._span(source)
        before = self.before.strip("\n")
        if (count := source[first:last].count(before.encode())) != 1:
            raise NotFound(
                f"promises.toml: {self.name}: {where} has this {count} times, not once; "
                f"write down what the line is now:\n{before}"
            )
        start = source.index(before.encode(), first, last)
        line = source[:start].count(b"\n") + 1 + (len(before) - len(before.lstrip("\n")))
        made = Change(
            self.file, start, start + len(before.encode()), self.after.strip("\n"),
            "promise", line, line, False,
        )  # fmt: skip
        if not made.compiles(source):
            raise NotFound(f"promises.toml: {self.name}: the changed {self.file} does not compile")
        return made

    @property
    def lines(self) -> int:
        return self.before.strip("\n").count("\n") + 1

    def _span(self, source: bytes) -> tuple[int, int]:
        found: Any = ast.parse(source)
        for name in self.within.split("."):
            found = next((node for node in found.body if getattr(node, "name", "") == name), None)
            if found is None:
                raise NotFound(
                    f"promises.toml: {self.name}: {self.file} has no {self.within} any more"
                )
        lines = source.splitlines(keepends=True)
        return len(b"".join(lines[: found.lineno - 1])), len(b"".join(lines[: found.end_lineno]))


def promises() -> list[Promise]:
    """The changes of promises.toml."""
    entries = tomllib.loads((_HERE / "promises.toml").read_text())["promise"]
    return [Promise(**entry) for entry in entries]


def equivalent(change: Change, source: bytes) -> str | None:
    """Why a change changes nothing that is promised, if equivalent.toml says so."""
    diff = change.diff(source)
    for entry in _entries():
        if entry["file"] == change.file and _same(entry["change"], diff):
            return str(entry["why"])
    return None


def stale() -> list[str]:
    """The entries of equivalent.toml whose lines are no longer in the source."""
    found = []
    for entry in _entries():
        path = ROOT / entry["file"]
        text = path.read_text() if path.exists() else ""
        lines = {line.strip() for line in text.splitlines()}
        before = [line[1:].strip() for line in entry["change"].splitlines() if line[:1] == "-"]
        found += [f"{entry['file']}: {line}" for line in before if line not in lines]
    return found


def _entries() -> list[dict[str, str]]:
    found: list[dict[str, str]] = tomllib.loads((_HERE / "equivalent.toml").read_text()).get(
        "change", []
    )
    return found


def _same(text: str, diff: list[str]) -> bool:
    return [(line[0], line[1:].strip()) for line in text.strip("\n").splitlines()] == [
        (line[0], line[1:].strip()) for line in diff
    ]
