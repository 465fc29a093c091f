"""What type checkers know: mypy and pyright refuse the same lines of a user's program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

import veritas_peewee
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot
from veritas_peewee.recording import operations
from veritas_peewee.values.columns import (
    AuditChanges,
    AuditColumns,
    EventColumns,
    FindingColumns,
    ScreenshotColumns,
)
from veritas_peewee.values.states import AuditStatus, Severity, SeverityText, StatusText

ROOT = Path(__file__).parent.parent
PROGRAM = Path(__file__).parent / "programs" / "typed.py"
CHILDREN = {
    AuditFinding: FindingColumns,
    AuditScreenshot: ScreenshotColumns,
    AuditEvent: EventColumns,
}
ENUMS = {"status": "AuditStatus", "severity": "Severity"}


def agreeing_lines() -> str:
    """Functions that both checkers accept where fields and columns have the same types."""
    lines = ["import veritas_peewee.values.columns as columns"]
    for model, columns in {Audit: AuditColumns, **CHILDREN}.items():
        lines.append(
            f"def agree_{model.__name__}(row: {model.__name__}, "
            f"given: columns.{columns.__name__}) -> None:"
        )
        for name in columns.__annotations__:
            read = f'given["{name}"]'
            lines += [
                f'    if "{name}" in given:',
                f"        row.{name} = {f'{ENUMS[name]}({read})' if name in ENUMS else read}",
                f"    {read} = row.{name}",
            ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("user") / "program.py"
    path.write_text(PROGRAM.read_text() + agreeing_lines())
    return path


def run(module: str, *options: str, cwd: Path, **env: str) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MYPY", "PYRIGHT"))}
    done = subprocess.run(
        [sys.executable, "-m", module, *options],
        cwd=cwd, env=clean | env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr  # 0: nothing refused; 2: it failed
    return done.stdout


def mypy(program: Path) -> dict[int, str]:
    output = run(
        "mypy", "--strict", "--output=json", "--config-file=", "--follow-imports=silent",
        f"--cache-dir={program.parent / 'cache'}", program.name,
        cwd=program.parent, MYPYPATH=str(ROOT),
    )  # fmt: skip
    found = [json.loads(line) for line in output.splitlines()]
    return {one["line"]: one["message"] for one in found if one["severity"] == "error"}


def pyright(program: Path) -> dict[int, str]:
    config = {"include": [program.name], "extraPaths": [str(ROOT)]}
    (program.parent / "pyrightconfig.json").write_text(json.dumps(config))
    output = run("pyright", "--outputjson", "--pythonpath", sys.executable, cwd=program.parent)
    found = json.loads(output)["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1: one["message"] for one in found}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_checker_refuses_the_wrong_lines_of_a_users_program_and_no_others(
    program: Path, checker: Callable[[Path], dict[int, str]]
) -> None:
    lines = dict(enumerate(program.read_text().splitlines(), 1))
    wrong = {number for number, line in lines.items() if line.endswith("# refused")}
    refused = checker(program)
    assert {lines[number]: refused[number] for number in refused.keys() - wrong} == {}
    assert [lines[number] for number in wrong - refused.keys()] == []
    assert len(wrong) >= 40


def test_the_columns_that_checkers_know_are_those_of_the_models() -> None:
    assert set(AuditChanges.__annotations__) == set(operations.COLUMNS)
    assert set(AuditColumns.__annotations__) == set(Audit._meta.fields)
    for model, columns in CHILDREN.items():
        given: Any = columns.__annotations__
        assert set(given) - {"audit_id"} == set(model._meta.fields) - {"audit"}
    assert veritas_peewee.AuditChanges is AuditChanges


def test_the_texts_that_checkers_know_are_those_of_the_enums() -> None:
    assert get_args(StatusText) == tuple(AuditStatus)
    assert get_args(SeverityText) == tuple(Severity)
