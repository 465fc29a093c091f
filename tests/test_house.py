"""The walls that no import shows: SQL text and names of a platform stay in their rooms."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import veritas_peewee
from tests.support.posix_alone import POSIX_ALONE
from tests.support.processes import ROOT
from tests.support.sqlite_alone import SQLITE_ALONE
from veritas_peewee.models import TABLES

PACKAGE = Path(veritas_peewee.__file__).parent
ROOMS_WITHOUT_TABLES = ("errors.py", "values", "files", "database", "threads")
OF_A_SERVER_S_CONNECTION = {"store_state", "store_sessions", "veritas_touched"}
"""What connections to a server keep there for one another, whatever is stored: who wrote last, who
is alive, and in a temporary table what the open transaction has changed."""
MODULES_OF_A_SERVER = {"postgres.py", "postgres_opening.py", "server_sessions.py"}
ROOMS_WITH_SQLITE = (
    "database/sqlite.py", "database/expressions.py", "catalog", "migrations", "maintenance",
    "ledger",
)  # fmt: skip
SQLITE_ONLY = re.compile(
    r"\bPRAGMA\b|\bfts5\w*\b|\bbm25\b|\browid\b|\bsqlite_(master|schema|sequence|stat\d)\b|"
    r"\bjson_(each|extract|tree)\b|(?<!--)\bVACUUM\b|\bATTACH\b|\bwal_checkpoint\b|"
    r"\bdata_version\b|\bhighlight\(|(?-i:\bMATCH\b)|\bjournal_mode\b",
    re.IGNORECASE,
)
SQLITE_S_DRIVER = {
    "in_transaction", "lastrowid", "set_progress_handler", "create_function", "executescript",
    "total_changes", "sqlite_errorcode", "sqlite3", "SqliteStore",
}  # fmt: skip
POSIX_ONLY = {
    "fcntl", "fork", "getuid", "geteuid", "register_at_fork", "uname", "O_DIRECTORY",
    "O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK", "dir_fd", "src_dir_fd", "dst_dir_fd", "st_ino",
    "st_dev", "st_uid", "st_gid", "fchmod", "chown", "statvfs", "sync", "grp", "pwd", "resource",
    "stat.S_IMODE", "/proc", "mkfifo", "killpg", "setsid", "getpgid", "start_new_session",
    "preexec_fn", "pass_fds", "termios",
}  # fmt: skip
WINDOWS_ONLY = {
    "msvcrt", "ctypes", "winreg", "_winapi", "O_BINARY", "O_NOINHERIT", "st_file_attributes",
    "st_reparse_tag", "creationflags", "startupinfo", "winerror",
}  # fmt: skip
OF_A_SYSTEM = {
    f"files/{name}.py" for name in ("platform", "posix", "windows", "identity", "failures")
}
"""The choice between the systems, its two halves, and what they have in common."""
OF_EITHER = {"st_ino", "st_dev"}
ASKS_FOR_A_CHECKER = {"running/children.py", "running/engine.py"}
"""Waiting for a child by a descriptor is Linux's; `has_pidfd` says so, but not to mypy."""


def modules(*rooms: str) -> list[Path]:
    found: list[Path] = []
    for room in rooms:
        path = PACKAGE / room
        found += [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert found
    return found


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The strings of a module, with those between the fields of an f-string, but no docstrings."""
    tree = ast.parse(path.read_text())
    statements = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and node not in statements:
            yield node.lineno, node.value


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """The names of SQL functions that are called through Peewee's `fn`, and other attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield node.lineno, node.attr


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(PACKAGE)}:{line}"


def test_what_knows_nothing_of_audits_names_no_table_of_theirs():
    tables = {model._meta.table_name for model in TABLES} | {"search_index"}
    for path in (PACKAGE / "migrations" / "on_postgres").glob("*.py"):
        for _, text in texts(path):
            tables.update(re.findall(r"CREATE TABLE (\w+)", text))
    assert {"audits", "store_images", "store_state"} <= tables
    known = tables - OF_A_SERVER_S_CONNECTION
    named = re.compile(rf"\b({'|'.join(tables | OF_A_SERVER_S_CONNECTION)})\b")
    assert [
        f"{place(path, line)}: {text[:60]!r}"
        for path in modules(*ROOMS_WITHOUT_TABLES)
        for line, text in texts(path)
        for name in named.findall(text)
        if name in known or path.name not in MODULES_OF_A_SERVER
    ] == []


def test_what_only_sqlite_understands_is_said_in_few_rooms():
    allowed = set(modules(*ROOMS_WITH_SQLITE))
    assert [
        f"{place(path, line)}: {text[:60]!r}"
        for path in modules(".")
        if path not in allowed
        for line, text in (*texts(path), *calls(path))
        if SQLITE_ONLY.search(text)
    ] == []


def test_a_connection_is_used_by_what_each_backend_answers():
    def names(path: Path) -> Iterator[tuple[int, str]]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                yield node.lineno, node.attr
            elif isinstance(node, ast.Name):
                yield node.lineno, node.id
            elif isinstance(node, ast.Import):
                yield from ((node.lineno, one.name) for one in node.names)

    allowed = set(modules("database", *ROOMS_WITH_SQLITE))
    assert [
        f"{place(path, line)}: {name}"
        for path in modules(".")
        if path not in allowed
        for line, name in names(path)
        if name in SQLITE_S_DRIVER
    ] == []


def names_of_a_system(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "os" or node.attr.startswith("st_"):
                yield node.lineno, node.attr
            elif node.value.id in ("stat", "sys"):
                yield node.lineno, f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.keyword) and node.arg is not None:
            yield node.value.lineno, node.arg
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, str(node.module)
            if node.module in ("os", "stat"):
                yield from ((node.lineno, one.name) for one in node.names)
    yield from ((line, "/proc") for line, text in texts(path) if text.startswith("/proc"))


def test_what_only_one_system_has_is_used_in_few_modules():
    only = {PACKAGE / name for name in OF_A_SYSTEM}
    assert all(path.is_file() for path in only)
    assert [
        f"{place(path, line)}: {name}"
        for path in modules(".")
        if path not in only
        for line, name in names_of_a_system(path)
        if name in POSIX_ONLY | WINDOWS_ONLY
        or (
            name == "sys.platform"
            and path.relative_to(PACKAGE).as_posix() not in ASKS_FOR_A_CHECKER
        )
    ] == []
    for name, others in (("posix", WINDOWS_ONLY), ("windows", POSIX_ONLY - OF_EITHER)):
        path = PACKAGE / "files" / f"{name}.py"
        found = [
            f"{place(path, line)}: {one}" for line, one in names_of_a_system(path) if one in others
        ]
        assert found == []


def test_both_halves_answer_what_the_others_ask_of_the_system():
    def asked(half: str) -> list[str]:
        for node in ast.walk(ast.parse((PACKAGE / "files" / "platform.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == f"veritas_peewee.files.{half}":
                return [one.name for one in node.names]
        raise AssertionError(half)

    assert asked("posix") == asked("windows")


@pytest.mark.parametrize("limit", [300])
def test_a_module_is_short_or_says_why_it_is_not(limit):
    assert [
        str(path.relative_to(PACKAGE))
        for path in modules(".")
        if len(path.read_text().splitlines()) > limit
        and "Longer than most" not in (ast.get_docstring(ast.parse(path.read_text())) or "")
    ] == []


def test_the_top_of_the_package_is_a_list_that_can_be_read():
    # Named by Python, and the samples, which a wheel has here.
    others = ("__pycache__", "__main__.py", "data")
    entries = [one.name for one in PACKAGE.iterdir() if one.name not in others]
    assert len(entries) <= 26


@pytest.mark.parametrize("table", [SQLITE_ALONE, POSIX_ALONE], ids=["sqlite", "posix"])
def test_a_test_that_is_left_out_is_one_that_there_is(table):
    for named, reason in table.items():
        path, _, test = named.partition("::")
        assert not test or f"def {test.partition('[')[0]}(" in (ROOT / path).read_text(), named
        assert (ROOT / path).is_file(), named
        assert len(reason) > 10, named
