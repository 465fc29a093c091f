"""Record events of an audit, one for each line on standard input, and complete it at the end.

usage: record_events.py DATABASE AUDIT
"""

import sys

from veritas_peewee import connect
from veritas_peewee.recording import recorder

with connect(sys.argv[1]):
    for number, line in enumerate(sys.stdin):
        event = {"type": "log_entry", "number": number, "message": line.strip()}
        print(recorder.record(sys.argv[2], event), flush=True)
    print(recorder.record(sys.argv[2], {"type": "audit_complete"}), flush=True)
