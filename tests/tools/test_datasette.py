"""Datasette on a file that is open, and on a backup: each page, and the search box."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.support.audits import add_audit, ended, fill
from tests.support.database_files import select
from tests.support.invariants import check_invariants
from tests.support.tools import running
from veritas_peewee import connect, sync
from veritas_peewee.maintenance.backup import backup

READABLE = (
    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%'"
)
BOX = re.compile(r'<input[^>]*name="_search"')


class Datasette:
    """Datasette in a process of its own, asked as a browser asks it."""

    def __init__(self, port: int, name: str) -> None:
        self.url = f"http://127.0.0.1:{port}/{name}"

    def page(self, path: str = "", **asked: str) -> str:
        query = f"?{urlencode(asked)}" if asked else ""
        with urlopen(f"{self.url}{path}{query}", timeout=30) as answer:  # an error is raised
            assert answer.status == 200
            return str(answer.read().decode())

    def rows(self, table: str, **asked: str) -> list[dict[str, Any]]:
        rows = json.loads(self.page(f"/{table}.json", _shape="array", **asked))
        assert isinstance(rows, list)
        return rows


@contextmanager
def served(path: Path, *options: str) -> Iterator[Datasette]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    asked = ("serve", *options, path, "--port", port)
    with running("datasette", *asked, says="Uvicorn running", ends=-signal.SIGTERM):
        yield Datasette(port, path.stem)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Datasette, Path]]:
    """Datasette on a store with four audits."""
    path = tmp_path_factory.mktemp("store") / "audits.db"
    with connect(path):
        fill(2)
        ended("https://hidden.example/", "hidden cost of insurance", narrative="It hides.")
    with served(path) as datasette:
        yield datasette, path


@pytest.fixture
def datasette(live: tuple[Datasette, Path]) -> Datasette:
    return live[0]


@pytest.fixture
def path(live: tuple[Datasette, Path]) -> Path:
    return live[1]


def test_each_table_and_view_is_a_page_while_the_file_is_written(
    datasette: Datasette, path: Path
) -> None:
    with connect(path):
        for (name,) in select(path, READABLE):
            audit_id = add_audit(f"https://new.example/{name}")
            assert name in datasette.page(f"/{name}")
            assert datasette.rows("audits", id=audit_id)[0]["url"].endswith(name)
        check_invariants()


def test_the_search_box_finds_audits_and_leads_to_them(datasette: Datasette, path: Path) -> None:
    assert BOX.search(datasette.page("/audit_catalog"))
    (entry,) = datasette.rows("audit_catalog", _search="insurance")
    shown = datasette.page("/audit_catalog", _search="insurance")
    assert f"/audits/{entry['audit_id']}" in shown  # a link to its row
    assert "hidden.example" in datasette.page(f"/audits/{entry['audit_id']}")


def test_the_texts_that_are_searched_are_a_page_with_the_box(datasette: Datasette) -> None:
    assert BOX.search(datasette.page("/audit_catalog_texts"))
    (texts,) = datasette.rows("audit_catalog_texts", _search="insurance hides")
    assert texts["url"] == "https://hidden.example/"
    assert texts["narrative"] == "It hides."
    assert datasette.rows("audit_catalog_texts", _search="nowhere") == []


def test_what_ends_while_it_looks_is_found_at_once(datasette: Datasette, path: Path) -> None:
    with connect(path):
        ended("https://late.example/", "a countdown that begins anew")
        assert len(datasette.rows("audit_catalog", _search="countdown")) == 1
        sync.delete(datasette.rows("audits", url="https://late.example/")[0]["id"])
        assert datasette.rows("audit_catalog", _search="countdown") == []


def test_it_is_only_read(datasette: Datasette, path: Path) -> None:
    with pytest.raises(HTTPError, match="400"):
        datasette.page(sql="DELETE FROM audits")
    assert select(path, "SELECT id FROM audits")


def test_a_backup_is_served_as_a_file_that_never_changes(path: Path, tmp_path: Path) -> None:
    with connect(path):
        backup(tmp_path / "monday")
    (copy,) = (tmp_path / "monday").glob("*.db")
    before = copy.read_bytes()
    with served(copy, "--immutable") as datasette:
        for (name,) in select(path, READABLE):
            assert name in datasette.page(f"/{name}")
        assert len(datasette.rows("audit_catalog", _search="finding")) == 2
    assert copy.read_bytes() == before
