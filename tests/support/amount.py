"""How much of a test with very many cases is run: some by `make test`, all by `make test-all`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

ALL = os.environ.get("VERITAS_TESTS") == "all"
Case = TypeVar("Case")


def amount(some: int, all_of_them: int) -> int:
    """A number of rounds, examples or tasks."""
    return all_of_them if ALL else some


def one_in(step: int, cases: Sequence[Case], first: int = 0) -> list[Case]:
    """Every so many of the cases, or each."""
    return list(cases if ALL else cases[first % step :: step])
