"""`veritas-peewee serve` as a process, which can be killed and started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import environment

PROGRAM = "import sys; from veritas_peewee.cli import main; sys.exit(main())"


class Server:
    """`veritas-peewee serve`, at a port that stays the same when it is started again."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path, self.options, self.port = path, options, 0
        self.start()

    def start(self) -> None:
        words = ["--database", str(self.path), "--port", str(self.port), *self.options]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c",
             PROGRAM, "serve", *words],
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "Ctrl-C" in line, self.process.communicate()
        self.address = line.split()[0]
        self.port = int(self.address.rstrip("/").rpartition(":")[2])

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> object:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.address}{path}", data, {"Content-Type": "application/json", **headers},
            method=method,
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=30)
        return self.process.returncode, err


@contextmanager
def serving(path: Path, *options: str) -> Iterator[Server]:
    server = Server(path, *options)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()
