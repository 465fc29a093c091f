"""Measures which lines a test's child processes execute.

Each Python of a tree's environment imports this when it starts. It does nothing unless the map is
being made and pytest says, in the environment, which test it is running.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coverage import Coverage


def measure() -> None:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    folder = os.environ.get("MUTANTS_MAP")
    if not (test and folder):
        return
    import atexit

    import coverage

    measured = coverage.Coverage(
        data_file=f"{folder}/lines",
        data_suffix=True,
        context=test,
        source=["veritas_peewee"],
        config_file=False,
        messages=False,
    )
    measured.start()
    atexit.register(_save, measured, os.getpid())


def _save(measured: Coverage, process: int) -> None:
    if os.getpid() == process:  # and not in what was forked from it
        measured.stop()
        # A child that has given up its rights cannot write there, and its test must not see that.
        with suppress(Exception):
            measured.save()


measure()
