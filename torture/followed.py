"""A program of this package, run as a process whose lines are followed as they come."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 60.0
"""Seconds within which everything that must happen has to happen."""


def command(program: str, *arguments: object) -> list[str]:
    """The command line of a program of this package."""
    options = ["-W", "error", "-m", f"torture.programs.{program}"]
    return [sys.executable, *options, *map(str, arguments)]


class Followed:
    """A process of a program, begun at once; a subclass says what its lines mean."""

    def __init__(self, program: str, *arguments: object) -> None:
        self.process = subprocess.Popen(
            command(program, *arguments),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._listen, daemon=True),
            threading.Thread(target=self._listen_for_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def heard(self, line: str) -> None:
        """A whole line was read, on another thread; it comes without its end."""
        raise NotImplementedError

    def ended(self) -> None:
        """No line comes any more."""

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):  # else it was cut off by a kill
                self.heard(line[:-1])
        self.ended()

    def _listen_for_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors += self.process.stderr

    @property
    def errors(self) -> str:
        """The end of what it said on standard error."""
        return "".join(self._errors)[-6000:]

    def wait_until(self, is_so: Callable[[], bool]) -> bool:
        """Wait for something that its lines bring about; False if it ends before."""
        deadline = monotonic() + TIMEOUT
        while not is_so():
            if monotonic() > deadline or self.process.poll() is not None:
                return False
            sleep(0.002)
        return True

    def kill(self) -> None:
        """Kill it, if it runs, and read its last lines: those writes were acknowledged too."""
        self.process.kill()
        self.end()

    def end(self) -> int:
        """Wait until it has ended, and read its last lines; returns its exit code."""
        code = self.process.wait(TIMEOUT)
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None and not stream.closed:
                stream.close()
        return code
