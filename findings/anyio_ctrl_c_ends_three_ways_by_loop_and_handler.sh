#!/usr/bin/env bash
# anyio 4.16.0, trio 0.35.0: Ctrl-C ends a program written once for both loops in three ways.
# On asyncio `anyio.run` raises KeyboardInterrupt. On trio it raises a BaseExceptionGroup if the
# signal comes while a task of a group runs, which `except KeyboardInterrupt` does not catch. And on
# asyncio, once the program has a SIGINT handler of its own, be it one that raises KeyboardInterrupt
# as Python's own does, KeyboardInterrupt is raised all the same, and a traceback is printed before:
# "unhandled exception during asyncio.run() shutdown", of an exception group that nobody raised.
#
# asyncio's runner puts its handler, which cancels the main task, only in the place of Python's own.
# With any other one the interrupt is raised inside the task that runs; the loop ends by it, the
# runner then cancels the main task, whose group ends with what its child raised, and reports that.
# Who turns SIGTERM into KeyboardInterrupt so that `with` blocks are left, and adds SIGINT to the
# list, meets it at once; a test that sends SIGINT while every task waits does not.
#
# Seen with Python 3.11.7 (3.12 and 3.13 alike):
#   asyncio, Python's handler: KeyboardInterrupt, nothing printed
#   asyncio, one of its own: KeyboardInterrupt, a traceback printed
#   trio, Python's handler: BaseExceptionGroup, nothing printed
#   trio, one of its own: BaseExceptionGroup, nothing printed
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    anyio==4.16.0 trio==0.35.0
cat > "$folder/program.py" <<'PY'
import signal
import sys

import anyio


def interrupt(number, frame):
    raise KeyboardInterrupt


async def press():
    signal.raise_signal(signal.SIGINT)


async def main():
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(press)
        await anyio.sleep_forever()


if sys.argv[2] == "own":
    signal.signal(signal.SIGINT, interrupt)
try:
    anyio.run(main, backend=sys.argv[1])
except BaseException as error:
    print(type(error).__name__, end="")
PY
"$folder/venv/bin/python" - "$folder/program.py" <<'PY' | tee "$folder/seen"
import subprocess
import sys

for loop in ("asyncio", "trio"):
    for handler, words in (("python", "Python's handler"), ("own", "one of its own")):
        done = subprocess.run(
            [sys.executable, sys.argv[1], loop, handler], capture_output=True, text=True
        )
        told = "a traceback" if "during asyncio.run() shutdown" in done.stderr else done.stderr
        print(f"{loop}, {words}: {done.stdout}, {told or 'nothing'} printed")
PY
diff "$folder/seen" - <<'SEEN'
asyncio, Python's handler: KeyboardInterrupt, nothing printed
asyncio, one of its own: KeyboardInterrupt, a traceback printed
trio, Python's handler: BaseExceptionGroup, nothing printed
trio, one of its own: BaseExceptionGroup, nothing printed
SEEN
echo "as described"
