"""The results as JSON and as Markdown tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks import peers, targets
from benchmarks.cases import CASES
from benchmarks.model import Case, Outcome, Outcomes, View

METHOD = (
    "One process per measurement; the peers take turns within a round; medians of the rounds. "
    "Equal PRAGMAs for all (WAL, synchronous NORMAL, cache_size -64000, temp_store MEMORY, "
    "foreign_keys ON, busy_timeout 30000, wal_autocheckpoint 1000), the same file, indexes and "
    "rows; every acknowledged row is counted on disk. Ratios are formed within a round."
)


def as_json(machine: dict[str, object], outcomes: Outcomes, rounds: int) -> str:
    found = {
        "machine": machine,
        "rounds": rounds,
        "targets": [
            {
                "case": one.target.case,
                "what": one.target.what,
                "target": f"{one.target.sign} {one.target.value:g}{one.target.unit}",
                "pinned": pinned,
                "measured": one.measured,
                "met": one.met,
            }
            for pinned in _pins(outcomes)
            for one in targets.verdicts(outcomes, pinned)
        ],
        "measurements": [asdict(outcome) for outcome in outcomes.values()],
    }
    return json.dumps(found, indent=1) + "\n"


def as_markdown(machine: dict[str, Any], outcomes: Outcomes, rounds: int) -> str:
    lines = ["# Benchmark", "", METHOD, ""]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines += [
        f"{machine['date']} · {machine['cores']} cores ({machine['processor']}) · "
        f"{machine['system']} · Python {machine['python']} · SQLite {machine['sqlite']} · "
        f"{rounds} round{'s' * (rounds != 1)}",
        "",
        f"{versions} · source {machine['source']}",
        "",
    ]
    for pinned in _pins(outcomes):
        lines += [f"## Targets{_pin_title(pinned)}", "", *_target_table(outcomes, pinned), ""]
    for case in CASES.values():
        if any(key[0] == case.name for key in outcomes):
            for pinned in _pins(outcomes):
                lines += _case(case, outcomes, pinned)
    problems = [outcome for outcome in outcomes.values() if outcome.problem]
    if problems:
        lines += ["## Not measured", ""]
        lines += sorted({f"- {one.case} {one.param}, {_title(one.peer)}: {one.problem}"
                         for one in problems})  # fmt: skip
        lines.append("")
    failed = [
        f"- {one.case} {one.param}, {_title(one.peer)}: {int(count)} operations failed"
        for one in outcomes.values()
        if (count := max((found.get("errors", 0) for found in one.rounds), default=0))
    ]
    if failed:
        lines += ["## Measured, with failures", "", *failed, ""]
    return "\n".join(lines)


def _pins(outcomes: Outcomes) -> list[bool]:
    return sorted({key[3] for key in outcomes})


def _pin_title(pinned: bool) -> str:
    return ", pinned to one core" if pinned else ""


def _target_table(outcomes: Outcomes, pinned: bool) -> list[str]:
    rows = []
    for target, measured in (verdict for verdict in targets.verdicts(outcomes, pinned)):
        met = targets.Verdict(target, measured).met
        sign = "≥" if target.sign == ">=" else "≤"
        shown = "not measured" if measured is None else f"{_number(measured, 2)}{target.unit}"
        answer = {None: "-", True: "yes", False: "**no**"}[met]
        wanted = f"{sign} {_number(target.value, 2)}{target.unit}"
        rows.append([target.case, target.what, wanted, shown, answer])
    return _table(["case", "what", "target", "measured", "met"], rows)


def _case(case: Case, outcomes: Outcomes, pinned: bool) -> list[str]:
    found = {key: one for key, one in outcomes.items() if key[0] == case.name and key[3] == pinned}
    names = [name for name in peers.PEERS if any(key[1] == name for key in found)]
    params = [param for param in case.params if any(key[2] == param for key in found)]
    lines = [f"## {case.name}: {case.title}{_pin_title(pinned)}", ""]
    if case.note:
        lines += [case.note, ""]
    alone = names[0] if len(names) == 1 else None
    if alone and case.views:
        rows = [
            [view.title, *_cells(found, case.name, alone, params, pinned, view)]
            for view in case.views
        ]
        return [*lines, *_table([_title(alone), *params], rows), ""]
    for view in case.views:
        rows = [
            [_title(name), *_cells(found, case.name, name, params, pinned, view)] for name in names
        ]
        if any(cell != "-" for row in rows for cell in row[1:]):
            lines += [*_table([view.title, *params], rows), ""]
    if not case.views:
        for name in names:
            by_param = [found.get((case.name, name, param, pinned)) for param in params]
            metrics = next((list(one.rounds[0]) for one in by_param if one and one.rounds), [])
            rows = [[metric, *(_cell(one, metric, 2) for one in by_param)] for metric in metrics]
            lines += [*_table([_title(name), *params], rows), ""]
    return lines


def _cells(
    found: Outcomes, case: str, name: str, params: Sequence[str], pinned: bool, view: View
) -> list[str]:
    return [
        _cell(found.get((case, name, param, pinned)), view.metric, view.digits) for param in params
    ]


def _cell(outcome: Outcome | None, metric: str, digits: int) -> str:
    if outcome is None:
        return "-"
    if not outcome.rounds:
        return "not measured"
    values = [one[metric] for one in outcome.rounds if metric in one]
    return _number(median(values), digits) if values else "-"


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _title(name: str) -> str:
    return f"**{peers.PEERS[name].title}**" if name == peers.OURS else peers.PEERS[name].title


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    marks = ["---", *["---:"] * (len(head) - 1)]
    return ["| " + " | ".join(cells) + " |" for cells in (head, marks, *rows)]
