"""Tests that ask what is SQLite's own and therefore do not run on a server, and why."""

from __future__ import annotations

SQLITE_ALONE: dict[str, str] = {}
"""By the beginning of a test's id: its file, or `file::test`."""


def sqlite_alone(nodeid: str) -> str | None:
    """Why a test is SQLite's alone; None if it also runs on a server."""
    path, _, test = nodeid.partition("::")
    return SQLITE_ALONE.get(path) or SQLITE_ALONE.get(f"{path}::{test.partition('[')[0]}")
