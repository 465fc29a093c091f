"""DuckDB reads every table and every view of a file, with the types that they say."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.audits import ended
from tests.support.database_files import opened, verified
from tests.support.tools import answer
from veritas_peewee import connect, sync

ATTACH = """
import json, sys
import duckdb
from duckdb_extensions import import_extension
duckdb.sql("SET enable_progress_bar = false")  # it is shown where a query takes long
import_extension("sqlite_scanner")
duckdb.sql(f"ATTACH '{sys.argv[1]}' AS store (TYPE sqlite, READ_ONLY)")
"""
EVERYTHING = (
    ATTACH
    + """
def told(value):
    return value.hex() if isinstance(value, bytes) else value if value is None else str(value)

found = {}
names = "SELECT table_name FROM information_schema.tables WHERE table_catalog = 'store'"
for (name,) in duckdb.sql(names).fetchall():
    part = duckdb.sql(f'FROM store."{name}"')
    rows = [[told(value) for value in row] for row in part.fetchall()]
    found[name] = [dict(zip(part.columns, map(str, part.types))), rows]
print(json.dumps(found))
"""
)
SCORES = (
    ATTACH
    + """
print(json.dumps(duckdb.sql('''
    SELECT year(audits.created_at) > 2000, avg(trust_score), count(*)
    FROM store.audits JOIN store.audit_findings AS f ON f.audit_id = audits.id
    WHERE trust_score IS NOT NULL GROUP BY ALL
''').fetchall()))
"""
)
NAMES = (
    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%' "
    "AND name NOT LIKE 'search_index%'"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> str:
    """It keeps its extensions, 35 MB, below the user's home."""
    return str(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def extensions(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)


def told(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None else str(value)


def same_moment(text: str | None) -> str | None:
    """Times are shown without zeros at their end."""
    try:
        return str(datetime.datetime.fromisoformat(text or ""))
    except ValueError:
        return text


def test_every_table_and_view_has_the_rows_that_sqlite_reads(path: Path, ids: list[str]) -> None:
    with connect(path):
        # Without a risk level, of two pattern types, on a site that was audited before; removed.
        ended("https://shop0.example/", "hidden cost", "a timer", narrative="It hides.\\nSo it is.")
        ended("https://other.example/", risk_level="trusted", site_type="shop", trust_score=99.5)
        sync.delete(ids[1])
        seen = answer(EVERYTHING, path)  # while the file is open
        sync.create("https://after.example/")
    assert verified(path).problems == []
    with opened(path) as file:
        file.execute("DELETE FROM audits WHERE url = 'https://after.example/'")
        for (name,) in file.execute(NAMES).fetchall():
            rows = [[told(value) for value in row] for row in file.execute(f"SELECT * FROM {name}")]
            _, read = seen[name]
            if name in ("removed_audits", "removed", "store_changes"):
                continue  # the row that was deleted by hand just now
            assert sorted([list(map(same_moment, row)) for row in read], key=str) == sorted(
                [list(map(same_moment, row)) for row in rows], key=str
            ), name


def test_values_have_the_types_of_their_columns(path: Path, ids: list[str]) -> None:
    seen = answer(EVERYTHING, path)
    types = seen["audits"][0]
    assert (types["trust_score"], types["created_at"]) == ("DOUBLE", "TIMESTAMP")
    assert (types["pages_scanned"], types["url"]) == ("BIGINT", "VARCHAR")
    assert seen["latest_audit_of_each_site"][0]["audits"] == "BIGINT"
    assert seen["audit_findings"][0]["digest"] == "BLOB"


def test_it_joins_and_reckons(path: Path, ids: list[str]) -> None:
    assert answer(SCORES, path) == [[True, 51.0, 6]]
