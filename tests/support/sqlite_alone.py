"""Tests that ask what is SQLite's own and therefore do not run on a server, and why."""

from __future__ import annotations

_ENDS = "only in SQLite an error of one statement ends the transaction of all"
_PLANS = "it reads SQLite's plans; for a server's there is tests/queries/test_plans_on_server.py"
_CLOSED = "a connection to a server that was closed is made anew"

SQLITE_ALONE: dict[str, str] = {
    "tests/queries/test_trend.py::test_a_series_is_read_by_an_index_in_its_order": _PLANS,
    "tests/threads/test_starvation.py::test_a_writer_that_dies_tells_everybody_why": _CLOSED,
    "tests/threads/test_writer.py::"
    "test_an_error_that_ends_the_transaction_fails_the_whole_batch": _ENDS,
    "tests/threads/test_writer_log.py::test_a_batch_whose_transaction_was_lost": _ENDS,
    "tests/threads/test_writer_log.py::test_each_job_of_a_lost_batch_is_undone_once": _ENDS,
}
"""By the beginning of a test's id: its file, or `file::test`."""


def sqlite_alone(nodeid: str) -> str | None:
    """Why a test is SQLite's alone; None if it also runs on a server."""
    path, _, test = nodeid.partition("::")
    return SQLITE_ALONE.get(path) or SQLITE_ALONE.get(f"{path}::{test.partition('[')[0]}")
