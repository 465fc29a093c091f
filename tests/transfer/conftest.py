"""A database file with audits to export."""

from pathlib import Path

import pytest

from tests.support.audits import fill
from veritas_peewee import connect


@pytest.fixture
def ids(path: Path) -> list[str]:
    with connect(path):
        ids = fill()
    with connect(path):  # the one that was running is disconnected
        return ids
