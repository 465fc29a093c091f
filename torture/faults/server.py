"""A store on PostgreSQL: processes that die, connections that are cut, servers that crash, stand
still, run out of room, or are replaced."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import sleep

from torture import server_checks
from torture.model import Row, Run, fault
from torture.mounts import isolated, mounted_tmpfs, remount
from torture.recording import Recording, Told
from torture.servers import NoServer, server
from veritas_peewee import AuditEvent, StaleToken, connect, sync

PROCESSES, TASKS = 4, 16
LIVES = 5
"""How many rounds are played on the same database."""
CLIENTS = 50
"""How many open a new database at the same moment."""
FULL_AT = 160_000
"""KiB of the small disk on which a server is, beside which it gets some more in each round."""
_OURS = "application_name LIKE 'veritas-peewee%'"


@contextmanager
def _processes(url: str, *options: object) -> Iterator[tuple[list[Recording], list[Told]]]:
    """Four processes that record, with 16 tasks each, and what each has told."""
    tolds = [Told() for _ in range(PROCESSES)]
    with ExitStack() as stack:
        running = [_start(url, told, number, *options) for number, told in enumerate(tolds)]
        for one in running:
            stack.callback(one.kill)
        for one in running:
            one.wait_until_open()
        yield running, tolds


def _start(url: str, told: Told, number: int, *options: object) -> Recording:
    backend = ("asyncio", "trio")[number % 2]
    return Recording(url, "--backend", backend, "--tasks", TASKS, *options, told=told)


def _end(row: Row, running: list[Recording]) -> None:
    for one in running:
        if not one.close():
            row.problem(f"a process did not end in order: {one.errors}")
        for kind, number in one.told.refused.items():
            row.count(f"{kind} told", number)
            row.problem(f"{number} callers were told {kind}: {one.told.texts[kind]}")


def _rows(name: str, run: Run) -> Row:
    return Row(f"server {name}", run.rounds)


@fault("server-kill", "kill -9 of one of four processes on PostgreSQL", rounds=50, quick=3)
def killed(run: Run) -> Iterator[Row]:
    row, chance = _rows("kill", run), run.chance
    try:
        with server() as started:
            for _ in range(0, run.rounds, LIVES):
                url = started.new_database()
                with _processes(url) as (running, tolds):
                    for _ in range(LIVES):
                        sleep(chance.uniform(0.1, 0.6))
                        number = chance.randrange(PROCESSES)
                        running[number].kill()
                        running[number] = _start(url, tolds[number], number)
                        running[number].wait_until_open()
                    _end(row, running)
                server_checks.check_store(row, url, tolds)
                started.drop_database(url)
    except NoServer as error:
        row.not_run = str(error)
    yield row


@fault("server-cut", "connections to PostgreSQL cut at a random instant", rounds=200, quick=8)
def cut(run: Run) -> Iterator[Row]:
    row, chance = _rows("cut", run), run.chance
    try:
        with server() as started:
            for _ in range(0, run.rounds, 4 * LIVES):
                url = started.new_database()
                with _processes(url) as (running, tolds):
                    for _ in range(4 * LIVES):
                        sleep(chance.uniform(0.05, 0.5))
                        one = f"SELECT pid FROM pg_stat_activity WHERE {_OURS} AND "
                        one += "datname = current_database() ORDER BY random() LIMIT 2"
                        server_checks.select(
                            url, f"SELECT pg_terminate_backend(pid) FROM ({one}) AS ours"
                        )
                    _end(row, running)
                server_checks.check_store(row, url, tolds)
                started.drop_database(url)
    except NoServer as error:
        row.not_run = str(error)
    yield row


@fault("server-crash", "a server that crashes and starts again", rounds=20, quick=2)
def crashed(run: Run) -> Iterator[Row]:
    try:
        yield _crashed(run, _rows("crash", run))
        yield _crashed(run, Row("server crash, commits not synced", run.rounds, control="loses"),
                       "--synchronous", "OFF")  # fmt: skip
    except NoServer as error:
        yield Row("server crash", run.rounds, not_run=str(error))


def _crashed(run: Run, row: Row, *options: object) -> Row:
    chance = run.chance
    with server("fsync=on", "wal_writer_delay=2s") as started:
        for _ in range(run.rounds):
            url = started.new_database()
            with _processes(url, *options) as (running, tolds):
                sleep(chance.uniform(0.3, 1.0))
                started.stop(signal.SIGQUIT)
                sleep(chance.uniform(0, 0.5))
                started.start("fsync=on", "wal_writer_delay=2s")
                sleep(chance.uniform(0.3, 1.0))
                if row.control:
                    for one in running:
                        one.kill()
                else:
                    _end(row, running)
            if row.control:
                with connect(url):
                    pass  # of a schema that is lost too it makes a new one
                for told in tolds:
                    server_checks.check_acknowledged(row, url, told)
            else:
                server_checks.check_store(row, url, tolds)
            started.drop_database(url)
    return row


@fault("server-paused", "a server that stands still for a while", rounds=10, quick=1)
def paused(run: Run) -> Iterator[Row]:
    row, chance = _rows("paused", run), run.chance
    try:
        with server("fsync=off") as started:
            url = started.new_database()
            with _processes(url) as (running, tolds):
                for _ in range(run.rounds):
                    sleep(chance.uniform(0.1, 0.5))
                    started.pause()
                    sleep(chance.uniform(0.5, 3))
                    started.go_on()
                sleep(0.5)
                _end(row, running)
            server_checks.check_store(row, url, tolds)
    except NoServer as error:
        row.not_run = str(error)
    yield row


@fault("server-opened", "50 clients at once that open a new database", rounds=5, quick=1)
def opened(run: Run) -> Iterator[Row]:
    row = _rows("opened at once", run)
    try:
        with server() as started:
            for _ in range(run.rounds):
                url = started.new_database()
                told = _open_at_once(row, url)
                there = {one for (one,) in server_checks.select(url, "SELECT id FROM audits")}
                row.acknowledged += len(told)
                row.missing += len(set(told) - there)
                server_checks.check_store(row, url, ())
                started.drop_database(url)
    except NoServer as error:
        row.not_run = str(error)
    yield row


def _open_at_once(row: Row, url: str) -> list[str]:
    """The audits that all clients have made."""
    gate = threading.Barrier(CLIENTS)
    told: list[str] = []

    def client() -> None:
        gate.wait()
        try:
            with connect(url):
                audit = sync.create("https://example.com/")
                sync.record(audit.id, {"type": "log_entry", "message": "here"})
                told.append(audit.id)
        except Exception as error:
            row.problem(f"{type(error).__name__}: {error}")

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    return told


@fault("server-replaced", "a stand-by without the newest commits takes over", rounds=5, quick=1)
def replaced(run: Run) -> Iterator[Row]:
    row = _rows("replaced", run)
    try:
        for _ in range(run.rounds):
            _replace(row, run.chance)
    except NoServer as error:
        row.not_run = str(error)
    yield row


def _replace(row: Row, chance: random.Random) -> None:
    with server("wal_level=replica", "max_wal_senders=4") as first:
        name = first.new_database().partition("///")[2].partition("?")[0]
        with first.stand_by() as second:
            url = f"postgresql:///{name}?host={first.folder},{second.folder}&user=postgres"
            url += "&target_session_attrs=read-write"
            told = Told()
            with Recording(url, "--tasks", TASKS, "--patient", told=told) as recording:
                recording.wait_until_open()
                recording.wait_for_acks(200)
                second.wait_for(first)
                second.stop()
                recording.wait_for_acks(chance.randrange(50, 300))
                with connect(first.url(name), read_only=True):
                    newest = AuditEvent.select().order_by(AuditEvent.id.desc()).get()
                    token = newest.token
                first.stop(signal.SIGQUIT)
                second.start()
                second.promote()
                if not recording.wait_for_acks(50):
                    row.problem(f"nothing is written to the new server: {recording.errors}")
                recording.close()
            for kind, number in told.refused.items():
                row.count(f"{kind} told", number)
            with connect(second.url(name)):
                try:
                    next(iter(sync.follow_all(after=token)))
                    row.problem("a token of an event that was lost is taken for one of this store")
                except StaleToken:
                    row.count("stale tokens noticed")
            server_checks.check_log(row, second.url(name))


@fault("server-full", "a full disk under a server", rounds=10, quick=2)
def full(run: Run) -> Iterator[Row]:
    yield from isolated("server full disk", "torture.faults.server:fills", run)


def fills(run: Run) -> Iterator[Row]:
    """In a namespace of its own: the server's small disk is filled, and enlarged, again."""
    row, chance = _rows("full disk", run), run.chance
    with mounted_tmpfs(run.folder / "small", f"{FULL_AT}k") as point:
        size = FULL_AT
        settings = ("max_wal_size=48MB", "min_wal_size=48MB", "checkpoint_timeout=30s")
        with server(*settings, within=point) as started:
            url = started.new_database()
            told = Told()
            with Recording(url, "--tasks", TASKS, "--patient", told=told) as recording:
                recording.wait_until_open()
                for _ in range(run.rounds):
                    recording.wait_for_acks(50)
                    ballast = _fill(point, chance)
                    recording.wait_for_refusal()
                    sleep(0.3)
                    ballast.unlink()
                    size += 30_000
                    remount(point, f"size={size}k")
                    if not started.is_running():
                        row.count("crashes of the server")
                        started.start()
                    if not recording.wait_for_acks(20):
                        row.problem(f"nothing was written after there was space: {told.texts}")
                        break
                recording.close()
            for kind, number in told.refused.items():
                row.count(f"{kind} told", number)
            server_checks.check_store(row, url, [told])
    yield row


def _fill(point: Path, chance: random.Random) -> Path:
    ballast = point / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            pass
    os.truncate(ballast, max(0, ballast.stat().st_size - chance.randrange(1 << 18)))
    return ballast
