"""What live viewers cost: a server with 1,000 idle ones that stops, and writers beside 100.

`python -m benchmarks.viewers`. The server, its viewers and whoever measures are three processes, so
that none of them waits for another's interpreter. Everything is checked too: each viewer is told
that the server stops, comes back, and is given each event once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any, Self

from veritas_peewee import connect, sync

ROOT = Path(__file__).resolve().parents[1]
IDLE, LIVE = 1000, 100
AUDITS = 100
PATIENCE = 120.0
"""Seconds after which something that does not happen is an error."""
AGAIN = 1.0
"""Seconds after which a viewer that was lost comes again, as the stream tells browsers to."""
ENTRY = {"type": "log_entry", "level": "info", "message": "the page has loaded " * 3}
_SERVE = "import sys; from veritas_peewee.cli import main; sys.exit(main())"


class Child:
    """A process that is told what to do by lines, and says by lines of JSON how it is."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.said: list[Any] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.said.append(json.loads(line))
                self._changed.notify_all()

    def line(self) -> str:
        """The first line, which is no JSON."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def listen(self) -> None:
        self._reader.start()

    def tell(self, *words: object) -> Any:
        """Tell it something; returns the next line that it says."""
        before = len(self.said)
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        self._wait(lambda: len(self.said) > before)
        return self.said[before]

    def until(self, happened: Callable[[Any], bool]) -> Any:
        """Wait until what it said last is so; returns it."""
        self._wait(lambda: bool(self.said) and happened(self.said[-1]))
        return self.said[-1]

    def _wait(self, happened: Callable[[], bool]) -> None:
        with self._changed:
            if not self._changed.wait_for(happened, PATIENCE):
                raise AssertionError(f"it did not happen; the last: {self.said[-1:]}")

    def stop(self) -> tuple[int, str]:
        """Have it end by SIGTERM; returns its exit code and what it complained about."""
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        assert self.process.stderr is not None
        return code, self.process.stderr.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        if self._reader.ident is not None:
            self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


def _viewers(port: int, number: int, audits: Sequence[str]) -> Child:
    """A process with so many viewers, of these audits in turn."""
    return Child("-m", "benchmarks.viewers", "watch", port, number, *audits)


# ---- a server that stops ----


def stopping(path: Path, number: int, rounds: int = 3) -> list[dict[str, float]]:
    """Seconds until a server with so many idle viewers has stopped, and they are all back."""
    with connect(path):
        audits = [sync.create(f"https://site{n}.example/").id for n in range(min(AUDITS, number))]
        for audit in audits:
            sync.record(audit, ENTRY)
    watched = [n % len(audits) for n in range(number)]
    found = []
    port, given, begin, stopped = 0, number, 0.0, 0.0
    with ExitStack() as children:
        seen: Child | None = None
        for turn in range(rounds + 1):
            server = children.enter_context(_served(path, port))
            port = int(server.line().split()[0].rstrip("/").rpartition(":")[2])
            if seen is None:
                seen = children.enter_context(_viewers(port, number, audits))
                seen.listen()
            seen.until(lambda now, turn=turn: now["snapshots"] == (turn + 1) * number)
            now = seen.until(lambda now, given=given: now["given"] >= given)
            assert (now["given"], now["twice"], now["ended"]) == (given, 0, 0)
            if turn > 0:
                found.append({"stopped_s": stopped, "back_s": perf_counter() - begin})
            if turn == rounds:
                break
            begin = perf_counter()
            assert server.stop() == (128 + signal.SIGTERM, "")
            begin, stopped = perf_counter(), perf_counter() - begin
            seen.until(lambda now, turn=turn: now["closing"] == (turn + 1) * number)
            with connect(path):  # while nobody serves
                sync.record(audits[turn % len(audits)], ENTRY)
            given += watched.count(turn % len(audits))
    return found


def _served(path: Path, port: int) -> Child:
    return Child("-c", _SERVE, "serve", "--database", path.resolve(), "--port", port)


# ---- writers beside viewers ----


def living(path: Path, seconds: float, rounds: int, pause: float) -> list[dict[str, float]]:
    """What 100 writers in the server's process do alone, and beside a viewer of each's audit.

    Each waits `pause` seconds between two events; 0: the writers never pause. The processor time
    is of the server's process, for one event.
    """
    found = []
    with Child("-m", "benchmarks.viewers", "write", path.resolve(), pause) as server:
        port = int(server.line())
        server.listen()
        server.tell("write", seconds)  # to warm up
        for _ in range(rounds):
            before = server.tell("write", seconds)
            audits = server.tell("new")
            with _viewers(port, LIVE, audits) as seen:
                seen.listen()
                seen.until(lambda now: now["snapshots"] == LIVE)
                viewed = server.tell("write", seconds)
                now = seen.until(lambda now, n=viewed["events"]: now["given"] >= n)
                assert (now["given"], now["twice"]) == (viewed["events"], 0)
            after = server.tell("write", seconds)
            alone = (before["per_s"] + after["per_s"]) / 2
            found.append({
                "alone_per_s": alone, "viewed_per_s": viewed["per_s"],
                "share": viewed["per_s"] / alone,
                "alone_us": (before["cpu_us"] + after["cpu_us"]) / 2, "viewed_us": viewed["cpu_us"],
            })  # fmt: skip
    return found


# ---- the other processes ----


async def _watch(port: int, number: int, audits: Sequence[str]) -> None:
    import asyncio

    seen = [set[int]() for _ in range(number)]
    counts = {"snapshots": 0, "given": 0, "twice": 0, "closing": 0, "ended": 0}
    few = asyncio.Semaphore(50)  # connect at once

    async def view(place: int) -> None:
        token, how = "", "closing"
        request = f"GET /api/audits/{audits[place % len(audits)]}/events HTTP/1.1\r\n"
        request += "Host: localhost\r\nAccept: text/event-stream\r\n"
        while how == "closing":
            try:
                async with few:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    last = f"Last-Event-ID: {token}\r\n" if token else ""
                    writer.write(f"{request}{last}\r\n".encode())
                name = ""
                while line := await reader.readline():
                    field, _, text = line.decode().rstrip("\n").partition(": ")
                    if field == "event":
                        name = text
                        counts["snapshots"] += name == "snapshot"
                    elif field == "id":
                        token, event = text, int(text.partition("-")[0])
                        counts["twice" if event in seen[place] else "given"] += 1
                        seen[place].add(event)
                    elif field == "data" and name == "end":
                        how, name = json.loads(text)["how"], ""
                        counts["closing" if how == "closing" else "ended"] += 1
                writer.close()
            except OSError:
                pass
            await asyncio.sleep(AGAIN)

    tasks = [asyncio.ensure_future(view(place)) for place in range(number)]
    shown: dict[str, int] = {}
    while not all(task.done() for task in tasks):
        if shown != counts:
            shown = dict(counts)
            print(json.dumps(shown), flush=True)
        await asyncio.sleep(0.02)


async def _write(path: str, pause: float) -> None:
    import asyncio
    import socket

    import uvicorn

    from veritas_peewee import AuditStore
    from veritas_peewee.web import create_app

    app = create_app(path)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    serving = asyncio.ensure_future(server.serve([listening]))
    while not server.started:
        await asyncio.sleep(0.01)
    store: AuditStore = app.state.veritas_store

    async def write(audit_id: str, place: int, until: float) -> int:
        number = 0
        await asyncio.sleep(pause * place / AUDITS)
        while perf_counter() < until:
            await store.record(audit_id, ENTRY)
            number += 1
            if pause:
                await asyncio.sleep(pause)
        return number

    print(listening.getsockname()[1], flush=True)
    audits = [(await store.create(f"https://site{n}.example/")).id for n in range(LIVE)]
    loop = asyncio.get_running_loop()
    while words := (await loop.run_in_executor(None, sys.stdin.readline)).split():
        if words[0] == "new":
            audits = [(await store.create(f"https://site{n}.example/")).id for n in range(LIVE)]
            print(json.dumps(audits), flush=True)
            continue
        begin, used = perf_counter(), process_time()
        until = begin + float(words[1])
        events = sum(await asyncio.gather(*(write(a, n, until) for n, a in enumerate(audits))))
        took, used = perf_counter() - begin, process_time() - used
        found = {"events": events, "per_s": events / took, "cpu_us": used / events * 1e6}
        print(json.dumps(found), flush=True)
    server.should_exit = True
    await serving


def main() -> int:
    import asyncio

    match sys.argv[1:]:
        case ["watch", port, number, *audits]:
            asyncio.run(_watch(int(port), int(number), audits))
            return 0
        case ["write", path, pause]:
            asyncio.run(_write(path, float(pause)))
            return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.viewers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _print(f"{IDLE} idle viewers", stopping(Path(folder, "idle.db"), IDLE, chosen.rounds))
        for name, pause in (("never pause", 0.0), ("record 20 events a second each", 0.05)):
            path = Path(folder, f"{pause}.db")
            found = living(path, chosen.seconds, chosen.rounds, pause)
            _print(f"{LIVE} viewers of {LIVE} writers that {name}", found)
    return 0


def _print(name: str, rounds: list[dict[str, float]]) -> None:
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{name} (load {load}), median of {len(rounds)} [least, most]:")
    for key in rounds[0]:
        values = sorted(one[key] for one in rounds)
        print(f"  {key:13} {median(values):10.2f} [{values[0]:.2f}, {values[-1]:.2f}]", flush=True)


if __name__ == "__main__":
    sys.exit(main())
