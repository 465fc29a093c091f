"""Every example of the guide is run, page by page, each in an empty folder.

A block with a file's name behind its language is written to that file; a `console` block is run by
a shell, and what it prints must be what the page shows. There `…` stands for anything, and times,
digests and ids may differ: an id that is shown stands for the real one from then on.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from tests.support.postgres import Server, programs, server
from tests.support.tools import tool

TIMEOUT = 60.0
_BLOCK = re.compile(r"(?P<language>[\w{}-]*)[ \t]*(?P<name>\S*)$\n", re.MULTILINE)
_END = "-- done --"
_ID = r"\bvrts_[0-9a-z]{11}\b"
_VARIES = re.compile(
    rf"(?P<any>…)|(?P<id>{_ID})|(?P<date>\d{{4}}-\d\d-\d\d)|(?P<time>\b\d\d:\d\d(?::\d\d)?(?:\.\d+)?\b)"
    r"|(?P<digest>\b[0-9a-f]{64}\b)"
)
_PATTERNS = {
    "any": ".*",
    "date": r"\d{4}-\d\d-\d\d",
    "time": r"\d\d:\d\d(?::\d\d)?(?:\.\d+)?",
    "digest": "[0-9a-f]{64}",
}
_WRAPPED = r"(?:\n {2,}\S.*)*"
"""The rest of a cell that does not fit its line: how long a path is depends on the machine."""
_PORT = "8000"
_TOOLS = ("curl", "sqlite3")
"""Programs that a person has, and a machine that runs the tests perhaps not."""


class Shell:
    """A shell that goes on from command to command, as a person's does."""

    def __init__(self, **environment_too: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="guide-"))
        self.home = self.folder / "page"
        self.home.mkdir()
        self.ids: dict[str, str] = {}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])
        environment = {
            name: os.environ[name]
            for name in ("LANG", "PYTHONPATH", "TMPDIR")
            if name in os.environ
        }
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=self.home,
            env=environment
            | {
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(self.home),
                "COLUMNS": "100",
                "PYTHONUTF8": "1",
                "LC_ALL": "C.UTF-8",
                "PYTHONWARNINGS": "error",
            }
            | environment_too,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        # Should the tests be killed, its input ends, and it takes all that it started along.
        assert self._process.stdin
        self._process.stdin.write(f"trap 'rm -rf \"{self.folder}\"; kill 0' EXIT\n")
        self._process.stdin.flush()

    def write(self, name: str, text: str) -> None:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, command: str) -> tuple[str, int]:
        """What a command prints, and its exit code."""
        for shown, real in self.ids.items():
            command = command.replace(shown, real)
        script = self.folder / "command"
        script.write_text(command.replace(_PORT, self.port))
        assert self._process.stdin
        assert self._process.stdout
        # What the command reads is not what the shell reads.
        self._process.stdin.write(f'eval "$(<{script})" </dev/null\necho "{_END}$?"\n')
        self._process.stdin.flush()
        guard = threading.Timer(TIMEOUT, self.close)
        guard.start()
        lines: list[str] = []
        try:
            for line in self._process.stdout:
                text, mark, code = line.partition(_END)
                lines.append(text)
                if mark:
                    if command.endswith("&"):
                        self._wait_for_server()
                    return "".join(lines).replace(self.port, _PORT), int(code)
        finally:
            guard.cancel()
        raise AssertionError(f"did not end within {TIMEOUT:g} s:\n{''.join(lines)}")

    def _wait_for_server(self) -> None:
        for _ in range(int(TIMEOUT * 20)):
            try:
                socket.create_connection(("127.0.0.1", int(self.port)), 0.05).close()
                return
            except OSError:
                threading.Event().wait(0.05)
        raise AssertionError("the server does not answer")

    def expect(self, shown: str, printed: str) -> None:
        """Compare what a page shows with what was printed, and learn the ids."""
        shown_lines, printed_lines = _trimmed(shown), _trimmed(printed)
        names: list[str] = []
        pattern = "\n".join(self._pattern(line, names) for line in shown_lines)
        pattern = re.sub(r"(?m)^\.\*\n", "(?:.*\n)*?", f"{pattern}\n")
        found = re.fullmatch(pattern, "\n".join(printed_lines) + "\n")
        if found is None:
            pytest.fail(f"the page shows:\n{shown}\nbut this is printed:\n{printed}", pytrace=False)
        self.ids |= {name: found[f"id{number}"] for number, name in enumerate(names)}
        if len(set(self.ids.values())) < len(self.ids):
            pytest.fail(f"two ids stand for the same one: {self.ids}", pytrace=False)

    def _pattern(self, line: str, names: list[str]) -> str:
        parts, end = [], 0
        for match in _VARIES.finditer(line):
            parts.append(re.escape(line[end : match.start()]))
            kind = match.lastgroup or ""
            if kind != "id":
                parts.append(_PATTERNS[kind])
            elif match[0] in self.ids:
                parts.append(self.ids[match[0]])
            elif match[0] in names:
                parts.append(f"(?P=id{names.index(match[0])})")
            else:
                parts.append(f"(?P<id{len(names)}>{_ID})")
                names.append(match[0])
            end = match.end()
        if line[end:] == "" and line.endswith("…") and line.strip("…"):
            parts.append(_WRAPPED)
        return "".join([*parts, re.escape(line[end:])])

    def close(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue

    def remove(self) -> None:
        self.close()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        shutil.rmtree(self.folder, ignore_errors=True)  # or the shell has done it


def _trimmed(text: str) -> list[str]:
    # How wide a column is says what else is in it, such as what a newer SQLite has to tell.
    lines = text.strip("\n").split("\n")
    return [re.sub(r"(?<=\S) {2,}", "  ", line.rstrip()) for line in lines]


def _write(example: Example) -> None:
    name, text = example.parsed
    example.namespace["shell"].write(name, text)


def _run(example: Example) -> None:
    shell = example.namespace["shell"]
    for command, shown in example.parsed:
        tool = command.split()[0]
        if tool in _TOOLS and shutil.which(tool) is None:
            pytest.skip(f"there is no {tool}")
        printed, code = shell.run(command)
        shell.expect(shown, printed)
        assert code == 0 or shown, f"exit code {code} of: {command}"


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command, with what is shown below it."""
    if not text.startswith("$ "):
        raise ValueError(f"nothing would run this, for it begins with no command:\n{text}")
    for part in re.split(r"(?m)^\$ ", text)[1:]:
        lines = part.split("\n")
        number = 1
        while lines[number - 1].endswith("\\"):
            number += 1
        yield "\n".join(lines[:number]), "\n".join(lines[number:])


def _examples(document: Document) -> Iterator[Region]:
    for region in RawFencedCodeBlockLexer(_BLOCK)(document):
        language, name = region.lexemes["language"], region.lexemes["name"]
        text = str(region.lexemes["source"])
        if name:
            region.parsed, region.evaluator = (name, text), _write
        elif language == "console":
            region.parsed, region.evaluator = list(_commands(text)), _run
        elif language in ("text", "{toctree}", "{include}", "{literalinclude}"):
            continue
        else:
            line = document.text[: region.start].count("\n") + 1
            raise ValueError(f"{document.path}:{line}: nothing would run this example")
        yield region


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with server("fsync=on") as running:
        yield running


GUIDE = Sybil(parsers=[_examples], path="../../docs", pattern="*.md")
PAGES = sorted(GUIDE.path.resolve().glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_each_example_does_what_the_page_shows(page: Path, request: pytest.FixtureRequest) -> None:
    document = GUIDE.parse(page)
    environment: dict[str, str] = {}
    if page.stem == "server":  # whose programs a person has on their path
        running = request.getfixturevalue("own_server")
        path = f"{Path(sys.executable).parent}:{programs()}:{os.environ['PATH']}"
        environment = {"PATH": path, "PGHOST": str(running.folder), "PGUSER": "postgres"}
    if page.stem == "tools":
        path = f"{Path(tool('python')).parent}:{os.environ['PATH']}"
        environment = {"PATH": path}
    document.namespace["shell"] = shell = Shell(**environment)
    try:
        for example in document.examples():
            example.evaluate()
    finally:
        shell.remove()


def test_each_page_is_in_the_table_of_contents() -> None:
    index = (GUIDE.path / "index.md").read_text()
    contents = index.partition(":hidden:")[2].partition("```")[0].split()
    assert sorted([*contents, "index"]) == [page.stem for page in PAGES]
