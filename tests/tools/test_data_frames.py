"""pandas and polars read the file, live, in processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.audits import ended
from tests.support.database_files import verified
from tests.support.tools import answer
from veritas_peewee import connect, sync

TABLES = ("audits", "audit_findings", "audit_events", "completed_audits", "findings_with_urls",
          "latest_audit_of_each_site", "audit_counts")  # fmt: skip
READ = """
import json, sqlite3, sys
import pandas, polars
path, tables = sys.argv[1], sys.argv[2:]
file = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
found = {}
for name in tables:
    query = f"SELECT * FROM {name}"
    frames = [
        pandas.read_sql_query(query, file),
        polars.read_database(query, file, infer_schema_length=None),
        polars.read_database_uri(query, f"sqlite:///{path}", engine="adbc"),
    ]
    wanted = file.execute(query).fetchall()
    # In pandas NULL is its own sign for a value that is missing.
    missing = frames[0].astype(object).where(frames[0].notna(), None)
    rows = [list(missing.itertuples(index=False, name=None)), *(f.rows() for f in frames[1:])]
    found[name] = [len(wanted), *(one == wanted for one in rows)]
audits = pandas.read_sql_query("SELECT * FROM audits", file, parse_dates=["created_at"])
file.close()
print(json.dumps([found, str(audits.dtypes["created_at"]), str(audits.dtypes["trust_score"])]))
"""
BESIDE = """
import json, sys
import polars
from veritas_peewee import StoreMoved, connect, sync
path = sys.argv[1]
with connect(path):
    sync.create("https://before.example/")
    polars.read_database_uri("SELECT id FROM audits", f"sqlite:///{path}", engine="adbc")
    try:
        sync.create("https://after.example/")
        print(json.dumps("written"))
    except StoreMoved as error:
        print(json.dumps("not in its place"))
"""
THROUGH_OURS = """
import json, sys
import polars
from veritas_peewee import connect, sync
path = sys.argv[1]
with connect(path):
    sync.create("https://before.example/")
    with connect(path, read_only=True) as reader:
        read = polars.read_database("SELECT id FROM audits", reader.raw)
    sync.create("https://after.example/")
    print(json.dumps(len(read)))
"""


def test_each_row_is_as_sqlite_reads_it_while_the_file_is_open(path: Path, ids: list[str]) -> None:
    # polars takes a column's type from the first hundred rows, ADBC from the first thousand.
    late = "(SELECT id, site_type FROM audits ORDER BY site_type)"
    with connect(path):
        ended("https://other.example/", "hidden cost", site_type="shop", trust_score=99.5)
        for number in range(150):
            sync.create(f"https://new{number}.example/")
        found, times, scores = answer(READ, path, *TABLES, late)
        sync.create("https://after.example/")
    assert found == {name: [rows, True, True, True] for name, (rows, *_) in found.items()}
    assert (found["audits"][0], found[late][0]) == (155, 155)
    assert (times, scores) == ("datetime64[us]", "float64")
    assert verified(path).problems == []


@pytest.mark.parametrize("program", [BESIDE, THROUGH_OURS], ids=["with its own", "with ours"])
def test_a_second_sqlite_in_the_process_of_an_open_store_is_noticed(
    path: Path, ids: list[str], program: str
) -> None:
    assert answer(program, path) == ("not in its place" if program == BESIDE else 5)
