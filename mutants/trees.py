"""Copies of the project in which a change can be made and tests be run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
LIMIT_OF_A_TEST = 90
"""Seconds after which a test counts as hung; the slowest takes a tenth of it."""
_MEASURED = 10 * LIMIT_OF_A_TEST
"""The same while its lines are measured, also in the processes that it starts."""
_MEMORY = 12_000_000
"""Kilobytes of addresses that a run of chosen tests may have; some changes never stop adding. Not
for the whole suite: a type checker reserves more."""
_NONE_THERE = 5
"""The exit code of pytest where it has none of the chosen tests: nothing has failed."""
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", "*.pyc"
)


@dataclass(frozen=True)
class Outcome:
    """What a run of tests has shown."""

    failed: str | None
    """The first test that failed or hung; None if all passed."""
    hung: bool = False
    cut_off: bool = False
    """Whether the time of all tests was over before they were."""
    output: str = ""


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder that other users can enter, because some tests start a child as one."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


class Tree:
    """A copy of the project with an environment of its own, removed at the end of a `with` block.

    The environment has the packages of this Python and imports ours from the copy, in every
    process, whatever its PYTHONPATH says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.python = folder / "venv" / "bin" / "python"
        self.passed: set[str] = set()
        """The tests that have passed in it without a change."""
        self._now = 1_500_000_000

    def __enter__(self) -> Self:
        shutil.copytree(ROOT, self.project, ignore=_LEFT_OUT, symlinks=True)
        (self.folder / "tmp").mkdir()
        made = self.folder / "venv"
        venv.create(made, symlinks=True, with_pip=False)
        (site,) = made.glob("lib/python*/site-packages")
        here = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        lines = [str(self.project), *here, "import mutants.child"]
        (site / "tree.pth").write_text("\n".join(lines) + "\n")
        for base in {Path(sys.executable).parent}:
            for program in base.iterdir():
                self._install(program)
        return self

    def _install(self, program: Path) -> None:
        """Make a script of our environment one of the tree's: with the tree's Python."""
        target = self.python.parent / program.name
        if target.exists() or not program.is_file():
            return
        text = program.read_bytes()
        if text.startswith(b"#!" + sys.executable.encode()):
            rest = text.partition(b"\n")[2]
            target.write_bytes(b"#!" + str(self.python).encode() + b"\n" + rest)
            target.chmod(0o755)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, file: str, source: bytes) -> None:
        """Replace a file of the copy, so that no compiled module of its old text is used."""
        path = self.project / file
        path.write_bytes(source)
        # A compiled module is known by its source's size and time, in whole seconds.
        self._now += 1
        os.utime(path, (self._now, self._now))

    def measure(self, files: list[str], seconds: float, folder: Path) -> Outcome:
        """Run all tests of some files, and write to `folder` which lines each of them executes."""
        limit = f"faulthandler_timeout={_MEASURED}"
        return self._run(self._pytest("-o", limit, *files), seconds, MUTANTS_MAP=str(folder))

    def run(self, tests: list[str], seconds: float) -> Outcome:
        """Run tests in this order until one fails; `seconds` is a limit for all of them."""
        names = self.folder / "tests"
        names.write_text(json.dumps(tests))
        files = dict.fromkeys(name.partition("::")[0] for name in tests)
        limited = ["sh", "-c", f'ulimit -v {_MEMORY}; exec "$@"', "sh"]
        command = [*limited, *self._pytest("-x", *files)]
        return self._run(command, seconds, MUTANTS_TESTS=str(names))

    def _pytest(self, *arguments: str) -> list[str]:
        return [
            str(self.python), "-m", "pytest", "-p", "mutants.plugin", "-p", "no:cacheprovider",
            "-q", "--tb=short", "-o", f"faulthandler_timeout={LIMIT_OF_A_TEST}",
            f"--basetemp={self.folder / 'tmp' / 'pytest'}", *arguments,
        ]  # fmt: skip

    def _run(self, command: list[str], seconds: float, **environment: str) -> Outcome:
        log, temporary = self.folder / "log", self.folder / "tmp"
        log.write_text("")
        variables = {
            **{key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
            "PYTHONPATH": str(self.project),
            "PATH": f"{self.python.parent}:{os.environ.get('PATH', '')}",
            "VIRTUAL_ENV": str(self.python.parent.parent),
            "TMPDIR": str(temporary),
            "MUTANTS_LOG": str(log),
            **environment,
        }
        with (self.folder / "output").open("w+") as output:
            process = subprocess.Popen(
                command,
                cwd=self.project,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            cut_off = False
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                code, cut_off = 1, True
            finally:
                _end(process)
            output.seek(0)
            said = output.read()
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        began, failed = self._logged(log)
        if code in (0, _NONE_THERE):
            return Outcome(None, output=said)
        # Whoever was the last to begin has ended the process, or hangs.
        last = failed[0] if failed else began[-1] if began else "the import"
        return Outcome(last, cut_off or "Timeout (" in said, cut_off, said)

    def _logged(self, log: Path) -> tuple[list[str], list[str]]:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        began = [line["began"] for line in lines if "began" in line]
        return began, [line["failed"] for line in lines if "failed" in line]


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started and that stayed in its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
