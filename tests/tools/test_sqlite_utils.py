"""sqlite-utils finds the full-text index by its declaration, and reads what is stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.audits import ended
from tests.support.database_files import verified
from tests.support.tools import answer, run
from veritas_peewee import connect

INDEXED = """
import json, sys
import sqlite_utils
file = sqlite_utils.Database(sys.argv[1])
print(json.dumps([file["audit_catalog"].detect_fts(), [
    row["audit_id"] for row in file["audit_catalog"].search("insurance OR nagging")
]]))
file.close()
"""


@pytest.fixture
def audit_id(path: Path, ids: list[str]) -> str:
    with connect(path):
        return ended("https://hidden.example/", "hidden cost of insurance")


def test_it_finds_the_index_of_the_catalog(path: Path, audit_id: str) -> None:
    assert answer(INDEXED, path) == ["search_index", [audit_id]]


def test_a_search_in_the_shell(path: Path, audit_id: str) -> None:
    found = run("sqlite-utils", "search", path, "audit_catalog", "insurance", "-c", "audit_id")
    assert json.loads(found) == [{"audit_id": audit_id}]


def test_its_upkeep_of_the_index_leaves_the_index_right(path: Path, audit_id: str) -> None:
    for work in ("rebuild-fts", "optimize"):
        run("sqlite-utils", work, path)
        assert verified(path).problems == []


def test_views_are_rows_of_json(path: Path, audit_id: str) -> None:
    rows = json.loads(run("sqlite-utils", "rows", path, "completed_audits"))
    assert {row["url"] for row in rows} >= {"https://hidden.example/", "https://shop0.example/"}
    assert verified(path).problems == []
