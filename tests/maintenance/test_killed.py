"""Killed before any of its steps, an operation leaves what was there or what was to be there.

And the next one of its kind works, and clears up.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.amount import amount
from tests.support.audits import add_screenshot
from tests.support.older_store import ONE_AUDIT
from veritas_peewee import Audit, connect
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.files.durable import leftovers
from veritas_peewee.maintenance.backup import backup, restore
from veritas_peewee.maintenance.copying import DATABASE
from veritas_peewee.maintenance.repair import repair
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.recording import operations, recorder, removal
from veritas_peewee.testing import make_png
from veritas_peewee.transfer.exporting import export_jsonl

STEPS = ("rename", "link", "unlink", "mkdir", "rmdir", "fsync", "open")
"""The functions of `os` by which files and folders appear, change their names and go."""


def run_until(step: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that is killed before its `step`th step; whether there was one."""
    child = os.fork()
    if not child:
        status = 3
        try:
            count_down(step)
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 77)
    return os.waitstatus_to_exitcode(status) == 77


def count_down(left: int) -> None:
    def counted(name: str) -> Callable[..., Any]:
        function = getattr(os, name)

        def step(*args: Any, **options: Any) -> Any:
            nonlocal left
            if name == "open" and not args[1] & os.O_CREAT:
                return function(*args, **options)
            left -= 1
            if left < 0:
                os._exit(77)
            return function(*args, **options)

        return step

    for name in STEPS:
        setattr(os, name, counted(name))


def each_step(
    work: Callable[[], object], prepare: Callable[[], None], apart: int = 1
) -> Iterator[int]:
    """Kills `work` before each of its steps in turn, each time as `prepare` has made it."""
    step = 0
    prepare()
    while run_until(step, work):
        yield step
        step += apart
        prepare()
    assert step > 3


def ids_of(path: Path) -> set[str]:
    """The ids of a store's audits, which is whole."""
    with connect(path):
        assert verify().problems == []
        return {audit.id for audit in Audit.select()}


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def add(*labels: int) -> None:
    for number in labels:
        audit = operations.create(f"https://shop{number}.example/")
        add_screenshot(audit.id, number, make_png(number))
        recorder.record(audit.id, {"type": "audit_complete"})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A backup of a store, in which one audit was then removed and another one added."""
    path = tmp_path / "before" / "audits.db"
    with connect(path):
        add(1, 2)
    saved = backup(tmp_path / "saved", database=path).path
    with connect(path):
        removal.delete(Audit.get().id)
        add(3)
    return saved


@pytest.mark.parametrize("there", [True, False], ids=["over a store", "into an empty folder"])
def test_a_restore(tmp_path: Path, saved: Path, there: bool) -> None:
    path = tmp_path / "store" / "audits.db"
    new = ids_of(saved / DATABASE)
    old = ids_of(tmp_path / "before" / "audits.db") if there else set()

    def prepare() -> None:
        shutil.rmtree(path.parent, ignore_errors=True)
        if there:
            shutil.copytree(tmp_path / "before", path.parent)

    seen = []
    for _ in each_step(lambda: restore(saved, path, force=True), prepare, amount(2, 1)):
        seen.append(ids_of(path) if path.exists() else set())
        assert seen[-1] in (old, new)
        restore(saved, path, force=True)
        assert ids_of(path) == new
        assert leftovers(path.parent) == []
        with connect(path):
            repair(orphan_age=0)
        assert hidden(path.parent / "screenshots") == []
    assert [old, new] == [value for n, value in enumerate(seen) if value not in seen[:n]]


def test_a_backup(tmp_path: Path, saved: Path) -> None:
    path, target = tmp_path / "before" / "audits.db", tmp_path / "target" / "new"
    ids = ids_of(path)

    def prepare() -> None:
        shutil.rmtree(target.parent, ignore_errors=True)
        target.parent.mkdir()

    seen = set()
    for _ in each_step(lambda: backup(target, database=path), prepare):
        seen.add(target.exists())
        if not target.exists():
            backup(target, database=path)
        assert ids_of(target / DATABASE) == ids
        if True not in seen:
            assert hidden(target.parent) == []
    assert seen == {True, False}


def test_an_export(tmp_path: Path, saved: Path) -> None:
    path, target = tmp_path / "before" / "audits.db", tmp_path / "target" / "old.jsonl"

    def prepare() -> None:
        shutil.rmtree(target.parent, ignore_errors=True)
        target.parent.mkdir()

    def work() -> None:
        with connect(path, read_only=True):
            export_jsonl(target)

    prepare()
    work()
    whole = target.read_bytes().splitlines()[1:]  # the first line says when it was made
    seen = set()
    for _ in each_step(work, prepare):
        seen.add(target.exists())
        if not target.exists():
            work()
        assert target.read_bytes().splitlines()[1:] == whole
        if True not in seen:
            assert hidden(target.parent) == []
    assert seen == {True, False}


def test_an_upgrade_of_an_older_file(tmp_path: Path) -> None:
    path = tmp_path / "store" / "audits.db"

    def prepare() -> None:
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        with closing(driver.connect(path)) as database:
            database.executescript(ONE_AUDIT)

    def work() -> None:
        with connect(path):
            pass

    for _ in each_step(work, prepare):
        assert ids_of(path) == {"old1"}
        assert [name for name in hidden(path.parent) if name.endswith(".partial")] == []
        for copy in path.parent.glob("*.backup-*"):
            with closing(driver.connect(copy)) as database:
                assert database.execute("SELECT id FROM audits").fetchall() == [("old1",)]
