"""Open each database named on the command line at the instant that its gate is opened.

usage: open_at_once.py GATE=PATH…    (GATE: a descriptor that reads as ended once it is open)
"""

import os
import sys

from veritas_peewee import connect

for argument in sys.argv[1:]:
    gate, _, path = argument.partition("=")
    print("ready", flush=True)
    os.read(int(gate), 1)
    with connect(path) as opened:
        found = opened.execute_sql("SELECT COUNT(*) FROM audits").fetchone()[0]
    print(f"opened {found}", flush=True)
