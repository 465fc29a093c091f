"""Stores in memory, on file and on a server, on asyncio and on trio; each is checked when it is
closed."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from shutil import copyfile
from typing import Any
from zlib import crc32

import pytest

from tests.support import places, tools
from tests.support.amount import ALL
from tests.support.audits import fill
from tests.support.invariants import check_invariants
from tests.support.loops import UVLOOP
from tests.support.posix_alone import POSIX_ALONE, posix_alone
from tests.support.processes import ROOT
from tests.support.sqlite_alone import sqlite_alone
from torture.hostile import no_hang
from veritas_peewee import AuditStore, connect
from veritas_peewee.testing import make_event, make_finding

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has what it starts in the background ignore Ctrl-C, and programs would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # so has `nohup`


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """On Windows leave out what needs a module that only POSIX has; see `tests/support`."""
    if sys.platform != "win32" or not collection_path.is_relative_to(ROOT):
        return None
    return bool(posix_alone(collection_path.relative_to(ROOT).as_posix())) or None


EACH_CASE = ("tests/torture/", "tests/guide/", "tests/tools/")
"""Rooms each of whose cases is a thing of its own: a fault, a page, a tool."""
LONG_FILES = (
    *EACH_CASE, "tests/web/test_browser.py", "tests/cli/test_serve.py",
    "tests/test_public_surface.py", "tests/test_testing.py", "tests/files/test_hostile_files.py",
)  # fmt: skip
"""Files that take longest. They are run first: of several processes none is left alone with one."""
ONE_FILE = re.compile(r"tests/(queries|recording|web|test_\w+\.py)\b")
"""Rooms that do not know whether a store is in memory or in a file, by the ids of their tests."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the pairs of a place and an event loop leave each test three: two of memory and file, with
    both of either, and one of the server. Some rooms are left one of memory and file, and of each
    third test the server's. On uvloop, where a module has it, those of files run.

    Which ones goes by the test's name. The writer is the same in all; `make test-all` has them. A
    test that asks what is SQLite's own has none on the server.
    """
    kept, left = [], []
    for item in items:
        named: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        place, loop = named.get("database"), named.get("anyio_backend")
        turned, rest = divmod(crc32(item.nodeid.partition("[")[0].encode()), 2)[::-1]
        on_file, on_trio = place == "file", loop == "trio"
        if loop == UVLOOP and sys.platform == "win32":
            unwanted = True  # it is not for Windows
        elif loop == UVLOOP and place != "file":
            unwanted = place == "server" or (place == "memory" and not ALL)
        elif place == "server":
            other_loop = bool(loop) and on_trio != turned
            left_out = bool(ONE_FILE.match(item.nodeid)) and rest % 3 > 0
            unwanted = bool(sqlite_alone(item.nodeid)) or ((other_loop or left_out) and not ALL)
        elif place and loop != UVLOOP and ONE_FILE.match(item.nodeid):
            unwanted = (on_file != rest % 2 or (bool(loop) and on_trio == turned)) and not ALL
        else:
            unwanted = bool(place and loop and on_file ^ on_trio ^ turned and not ALL)
        (left if unwanted else kept).append(item)
    if not ALL:
        kept, more = some_of(kept)
        left += more
    if left:
        config.hook.pytest_deselected(items=left)
    items[:] = sorted(kept, key=lambda item: not item.nodeid.startswith(LONG_FILES))
    if sys.platform == "win32":
        for item in items:
            if reason := posix_alone(item.nodeid):
                item.add_marker(pytest.mark.skip(reason=f"on Windows: {reason}"))


def some_of(items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Of a test with more than eight cases every second, of one with more than thirty every third;
    and the rest."""
    cases = Counter(item.nodeid.partition("[")[0] for item in items)
    seen: Counter[str] = Counter()
    kept, left = [], []
    for item in items:
        name = item.nodeid.partition("[")[0]
        step = 3 if cases[name] > 30 else 2 if cases[name] > 8 else 1
        if name.startswith(EACH_CASE):
            step = 1
        (left if seen[name] % step else kept).append(item)
        seen[name] += 1
    return kept, left


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which server was tried, or that none was, and whether other tools were."""
    places.summarize(terminalreporter)
    tools.summarize(terminalreporter)
    if sys.platform == "win32":
        files = sum("::" not in name for name in POSIX_ALONE)
        terminalreporter.line(
            f"{files} files and {len(POSIX_ALONE) - files} tests are left out on Windows, "
            "with reasons: tests/support/posix_alone.py"
        )


@pytest.fixture(scope="session")
def server() -> Iterator[places.Databases]:
    """A server of this process's own, with an empty store to copy."""
    with places.databases() as made:
        yield made


@pytest.fixture(params=["memory", "file", "server"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The path of the store under test, `:memory:`, or the URL of a server's database."""
    if request.param == "server":
        with request.getfixturevalue("server").new() as url:
            yield url
    else:
        yield ":memory:" if request.param == "memory" else str(tmp_path / "audits.db")


@pytest.fixture(scope="session")
def new_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store in a file, to copy: to make its schema takes longer than most tests."""
    path = tmp_path_factory.mktemp("new") / "audits.db"
    with connect(path, on_event_loop=True):  # also if a test of one asks first
        pass
    return path


@pytest.fixture
def made(database: str, new_file: Path) -> str:
    """The store under test, whose schema is made."""
    if database.endswith(".db"):
        copyfile(new_file, database)
        Path(database).chmod(0o600)
    return database


@pytest.fixture
async def store(made: str) -> AsyncIterator[AuditStore]:
    async with AuditStore.open(made) as opened:
        yield opened
        await opened.read(check_invariants)


@pytest.fixture
async def file_store(tmp_path: Path) -> AsyncIterator[AuditStore]:
    async with AuditStore.open(tmp_path / "audits.db") as opened:
        yield opened
        await opened.read(check_invariants)


@pytest.fixture
def script(made: str) -> Iterator[Any]:
    """A database opened by a script, for sync code in this thread."""
    with connect(made) as opened:
        yield opened
        check_invariants()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a test's database file; neither the file nor its folder exists yet."""
    return tmp_path / "store" / "audits.db"


@pytest.fixture
def ids(path: Path) -> list[str]:
    """The ids of the audits in a new file at `path`; the last one is running."""
    with connect(path):
        return fill()


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder, which is the working directory, for programs too."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(ROOT)
    return ROOT


@pytest.fixture
def finding() -> Callable[..., dict[str, Any]]:
    def make(number: int = 1, **changes: Any) -> dict[str, Any]:
        return make_event("finding", finding=make_finding(number, **changes))

    return make


@pytest.fixture(autouse=True)
def ends_in_time(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test marked `ends_within` at the line that it has reached when its time is over."""
    marker = request.node.get_closest_marker("ends_within")
    with no_hang(*marker.args) if marker else nullcontext():
        yield


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Check after each test that every writer's thread has ended, or is about to."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name == "veritas-writer":
            thread.join(60)
            assert not thread.is_alive()
