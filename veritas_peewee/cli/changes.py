"""What changed from audit to audit, line by line: findings, security, screenshots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from veritas_peewee.cli.render import SEVERITY, heading, in_words
from veritas_peewee.cli.terminal import NONE, columns, rest, when
from veritas_peewee.cli.text import one_line
from veritas_peewee.queries.comparison import Comparison, ScreenshotPair, Step
from veritas_peewee.queries.finding_matches import ComparedFinding, FindingChange

BETTER, WORSE, SAME = "green", "red", "dim"
_NARROW = 60
"""Characters below which a line has no room for descriptions and files."""
_MOST = 10
"""Lines of one kind that are listed without --all."""
_MOST_STEPS = 4
"""Steps from audit to audit whose changes are listed without --all."""
T = TypeVar("T")


class _Extent(NamedTuple):
    """How much is listed."""

    whole: bool
    many: bool

    def of(self, lines: list[T]) -> list[T]:
        return lines if self.whole else lines[:_MOST]


def print_changes(out: Console, found: Comparison, *, whole: bool) -> None:
    """Print what changed in each step; without `whole` only the first lines of each kind."""
    if len(found.steps) > _MOST_STEPS and not whole:
        out.print()
        out.print(Text("what changed: compare fewer, or --all", SAME))
        return
    extent = _Extent(whole, len(found.steps) > 1)
    for print_part in (_print_findings, _print_security, _print_screenshots):
        for step in found.steps:
            print_part(out, step, extent)


def _entry(name: str, before: Any, after: Any) -> str:
    """What changed in an entry: the items that left and joined a list, else both values."""
    if isinstance(before, list) and isinstance(after, list):
        old, new = (Counter(map(in_words, side)) for side in (before, after))
        left = [f"-{item}" for item in (old - new).elements()]
        joined = [f"+{item}" for item in (new - old).elements()]
        change = " ".join(left + joined) or f"{in_words(before)} > {in_words(after)}"
    elif before is None:
        change = in_words(after)
    else:
        change = f"{in_words(before)} > {NONE if after is None else in_words(after)}"
    return one_line(f"{name}: {change}" if name else change)


def _headed(step: Step, what: str, extent: _Extent) -> str:
    if not extent.many:
        return what
    return f"{what}, {when(step.before.time)} to {when(step.after.time)}"


def _print_findings(out: Console, step: Step, extent: _Extent) -> None:
    changes = step.findings
    if not (changes.new or changes.gone or changes.still or changes.unknown):
        return
    heading(out, _headed(step, "Findings", extent))
    table = columns()
    table.show_header = False
    narrow = out.width < _NARROW
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    if not narrow:
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=out.width // 4)
    rest(table, "", out.width)
    left_out = []
    for findings, sign, style in (
        (changes.new, "new", WORSE),
        (changes.gone, "gone", BETTER),
        (changes.unknown, "unknown", "yellow"),
    ):
        for one in extent.of(findings):
            table.add_row(
                Text(sign, style), _severity(one.severity, narrow), *_finding(one, narrow)
            )
        left_out.append((len(findings) - len(extent.of(findings)), sign))
    graver, milder, other, same = _by_severity(changes.still)
    for pairs, sign, style in (
        (graver, "graver", WORSE),
        (milder, "milder", BETTER),
        (other, "still", SAME),
        (same, "still", SAME),
    ):
        # In a series of audits, findings that stay as they were are only counted.
        listed = [] if pairs is same and extent.many and not extent.whole else extent.of(pairs)
        for pair in listed:
            severity = _severity(pair.after.severity, narrow)
            if pair.before.severity != pair.after.severity:
                before = _severity(pair.before.severity, narrow)
                severity = Text.assemble(before, " > ", severity)
            table.add_row(Text(sign, style), severity, *_finding(pair.after, narrow))
        left_out.append((len(pairs) - len(listed), sign))
    if table.row_count:
        out.print(table)
    _print_left_out(out, left_out)
    if changes.unknown:
        failed = [audit for audit in (step.before, step.after) if audit.status != "completed"]
        ids = " and ".join(one_line(audit.id) for audit in failed)
        out.print(Text(f"unknown: {ids} did not complete, so it may be there or not", SAME))


def _by_severity(pairs: Iterable[FindingChange]) -> tuple[list[FindingChange], ...]:
    """The pairs that became graver, that became milder, that changed otherwise, and the rest."""
    found: tuple[list[FindingChange], ...] = ([], [], [], [])
    for pair in pairs:
        steps = pair.severity_steps or 0
        differs = pair.before.severity != pair.after.severity
        found[0 if steps > 0 else 1 if steps < 0 else 2 if differs else 3].append(pair)
    return found


def _print_left_out(out: Console, left_out: Iterable[tuple[int, str]]) -> None:
    numbers: Counter[str] = Counter()
    for number, sign in left_out:
        numbers[sign] += number
    if counts := [f"{number:,} {sign}" for sign, number in numbers.items() if number]:
        out.print(Text(f"and {', '.join(counts)}: --all", SAME))


def _severity(severity: str, narrow: bool) -> Text:
    text = one_line(severity)
    return Text(text[:1] if narrow else text, SEVERITY.get(severity, ""))


def _finding(finding: ComparedFinding, narrow: bool) -> list[Text]:
    cells = [Text(one_line(finding.pattern_type), "bold"), Text(one_line(finding.description))]
    return cells[:1] if narrow else cells


def _print_security(out: Console, step: Step, extent: _Extent) -> None:
    """What the scores do not show: one line for each entry that differs."""
    entries = [
        (module, entry) for module, change in step.security.items() for entry in change.differences
    ]
    if entries:
        heading(out, _headed(step, "Security", extent))
        table = columns()
        table.show_header = False
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(10, out.width // 4))
        rest(table, "", out.width)
        for module, entry in extent.of(entries):
            table.add_row(one_line(module), _entry(entry.name, entry.before, entry.after))
        out.print(table)
        _print_left_out(out, [(len(entries) - len(extent.of(entries)), "changed")])


def _print_screenshots(out: Console, step: Step, extent: _Extent) -> None:
    if not step.screenshots:
        return
    heading(out, _headed(step, "Screenshots", extent))
    out.print(_screenshots(extent.of(step.screenshots), out.width))
    left_out = len(step.screenshots) - len(extent.of(step.screenshots))
    _print_left_out(out, [(left_out, "screenshots")])


def _screenshots(pairs: list[ScreenshotPair], width: int) -> Table:
    table = columns()
    table.show_header = False
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(10, width // 5))
    table.add_column(no_wrap=True)
    if width >= _NARROW:
        table.add_column(overflow="fold")
        table.add_column(overflow="fold")
    for pair in pairs:
        word = {True: "same", False: "differs", None: ""}[pair.same]
        if pair.before is None or pair.after is None:
            word = "new" if pair.before is None else "gone"
        shots = (pair.before, pair.after)
        files = [NONE if one is None else one_line(one.file_path) for one in shots]
        if width < _NARROW:
            files = []
        table.add_row(one_line(pair.label), Text(word, SAME), *files)
    return table
