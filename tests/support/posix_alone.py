"""Tests that need what only POSIX has and are left out on Windows, and in its simulation, and why.

What Windows itself is to do instead is in tests/files/test_on_windows.py.
"""

from __future__ import annotations

_FORK = "no process can be forked"

POSIX_ALONE: dict[str, str] = {}
"""By a test's file, or `file::test`, or that with one case, `file::test[case]`."""


def posix_alone(nodeid: str) -> str | None:
    """Why a test is left out on Windows; None if it runs there."""
    path, _, test = nodeid.partition("::")
    name = f"{path}::{test.partition('[')[0]}"
    return POSIX_ALONE.get(path) or POSIX_ALONE.get(name) or POSIX_ALONE.get(nodeid)
