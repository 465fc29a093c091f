"""Run by each Python that a test starts: one that is told of no server does without its driver.

Peewee loads the driver wherever it is installed, and that takes longer than all else that is
loaded. Without it a process is like one of a machine where stores are files.
"""

import os
import sys

_told = (*sys.orig_argv, *os.environ.values())
if "server" not in os.environ.get("PYTEST_CURRENT_TEST", "") and not any(
    "postgres" in text and "://" in text for text in _told
):
    sys.modules["psycopg"] = None  # type: ignore[assignment]
