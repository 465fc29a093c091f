"""A pytest plugin for both kinds of runs: the one that makes the map, and those of one change.

With MUTANTS_MAP, a folder, it writes there which lines each test executes and how long it takes.
With MUTANTS_TESTS, a file, it runs the tests that are named there, in that order. MUTANTS_LOG is a
file to which it adds a line of JSON when a test begins, and one when it has failed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import coverage
import pytest

_map = os.environ.get("MUTANTS_MAP")
_tests = os.environ.get("MUTANTS_TESTS")
_log = os.environ.get("MUTANTS_LOG")
_measured: coverage.Coverage | None = None
_seconds: dict[str, float] = {}

if _map:  # before any module of the package is imported
    _measured = coverage.Coverage(
        data_file=f"{_map}/lines",
        data_suffix=True,
        source=["veritas_peewee"],
        concurrency=["thread"],
        config_file=False,
        messages=False,
    )
    _measured.start()


def _write(**line: Any) -> None:
    if _log:
        with open(_log, "a") as file:
            file.write(json.dumps(line) + "\n")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _tests:
        found = {item.nodeid: item for item in items}
        items[:] = [found[name] for name in json.loads(Path(_tests).read_text()) if name in found]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _write(began=item.nodeid)
    if _measured is not None:
        _measured.switch_context(item.nodeid)
    began = perf_counter()
    try:
        return (yield)
    finally:
        _seconds[item.nodeid] = perf_counter() - began


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _write(failed=report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _write(failed=report.nodeid)


def pytest_unconfigure() -> None:
    if _map and _measured is not None:
        _measured.stop()
        _measured.save()
        Path(_map, "seconds.json").write_text(json.dumps(_seconds))
