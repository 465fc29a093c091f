"""One database has one place, by whatever name and through whichever door it is given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from veritas_peewee import AuditStore, StoreError, connect, init_database
from veritas_peewee.cli.app import run
from veritas_peewee.config import BUSY_TIMEOUT, DATABASE_VARIABLE, database_url, locate
from veritas_peewee.database.sqlite import current_sqlite

NAMES = [
    "v.db", "./v.db", "~/v.db", "sqlite:///v.db", "sqlite:///~/v.db", "sqlite+aiosqlite:///v.db",
    "sqlite+aiosqlite:///v.db?timeout=30", "sqlite+pysqlite:///v.db?check_same_thread=false",
    "sqlite:///v.db?", "sqlite:////{home}/v.db?timeout=0.5&check_same_thread=True",
]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, which is also the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_path_and_a_url_lead_to_the_same_file(home: Path, name: str) -> None:
    location = locate(name.format(home=home))
    assert location.path == home / "v.db"
    assert location.screenshots == home / "screenshots"
    assert locate(Path("~/v.db")).path == home / "v.db"
    assert locate("v.db", "~/shots").screenshots == home / "shots"
    assert database_url("~/v.db") == f"sqlite:///{home}/v.db"


@pytest.mark.anyio
async def test_every_door_reads_the_name_alike(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "sqlite+aiosqlite:///~/v.db?timeout=7"
    assert await to_thread.run_sync(run, ["init", "--database", name]) == 0
    await init_database(name)
    monkeypatch.setenv(DATABASE_VARIABLE, name)
    assert await to_thread.run_sync(run, ["init"]) == 0
    async with AuditStore.open() as store:
        assert (store.location.path, store.location.timeout) == (home / "v.db", 7)
        await store.create("https://a.example/")
        assert await store.read(lambda: current_pragma("busy_timeout")) == 7000
    assert sorted(entry.name for entry in home.iterdir() if entry.is_file()) == ["v.db"]
    assert [entry for entry in home.rglob("*") if "?" in entry.name or "~" in entry.name] == []


def current_pragma(name: str) -> Any:
    return current_sqlite("the test").pragma(name)


def test_a_script_waits_as_long_as_the_url_says(home: Path) -> None:
    for name, seconds in (("v.db", BUSY_TIMEOUT), ("sqlite:///v.db?timeout=0.25", 0.25)):
        with connect(name):
            assert current_pragma("busy_timeout") == seconds * 1000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sqlite:///v.db?mode=ro", "the parameter 'mode' is not understood, only `timeout` is"),
        ("sqlite:///v.db?timeout=5&cache=shared", "the parameter 'cache' is not understood"),
        ("sqlite:///file:v.db?uri=true", "the parameter 'uri' is not understood"),
        ("sqlite:///v.db?timeout=soon", "timeout 'soon' is no number of seconds"),
        ("sqlite:///v.db?timeout=-1", "timeout '-1' is no number of seconds"),
        ("sqlite:///v.db?timeout=nan", "timeout 'nan' is no number of seconds"),
        ("sqlite://v.db", "only sqlite:///relative.db, sqlite:////absolute.db and paths"),
        ("sqlite:v.db", "only sqlite:///relative.db"),
        ("file:v.db?mode=rwc", "only sqlite:///relative.db"),
        ("mysql://host/v", "only sqlite:///relative.db"),
        ("~nobody-of-this-name/v.db", "nobody knows that user's folder; write ./~ for a file"),
    ],
)
def test_what_is_not_understood_is_refused_by_name_and_makes_no_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    name: str, message: str,
) -> None:  # fmt: skip
    with pytest.raises(StoreError) as raised, connect(name):
        pass
    assert message in str(raised.value)
    assert repr(name) in str(raised.value)
    with pytest.raises(StoreError, match="database"):
        AuditStore.open(name)
    assert run(["history", "--database", name]) == 2
    monkeypatch.setenv(DATABASE_VARIABLE, name)
    assert run(["history"]) in (1, 2)
    assert message in " ".join(capsys.readouterr().err.split())
    assert os.listdir(home) == []


def test_a_file_whose_name_only_looks_so_can_be_named(home: Path) -> None:
    assert locate("./~nobody-of-this-name/v.db").path == home / "~nobody-of-this-name" / "v.db"
    assert locate("v.db?timeout=30").path == home / "v.db?timeout=30"
    assert locate("~v.db").path == home / "~v.db"
    assert locate("./file:v.db").path == home / "file:v.db"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mysql://me:s3cret@host/v", "database 'mysql://me@host/v': only sqlite"),
        ("postgresql:/me:s3cret@host/v", "database 'postgresql:…host/v': only sqlite"),
        ("host=host dbname=v password=s3cret", "a connection string of libpq is not understood"),
    ],
)
def test_a_url_that_is_mistyped_is_refused_without_its_password(
    home: Path, name: str, message: str
) -> None:
    with pytest.raises(StoreError) as raised, connect(name):
        pass
    assert message in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert list(home.iterdir()) == []
