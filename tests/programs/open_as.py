"""Open a store as another user, or with few descriptors left, and say how its audits then are.

usage: open_as.py DATABASE [--user ID] [--files N]
"""

import argparse
import importlib
import os
import sys

from veritas_peewee import Audit, StoreError, connect

# Nothing is left to import once descriptors are few.
for name in ("playhouse.migrations", "veritas_peewee.ledger.seals", "veritas_peewee.startup"):
    importlib.import_module(name)
importlib.import_module("veritas_peewee.recording.recorder")

options = argparse.ArgumentParser()
options.add_argument("path")
options.add_argument("--user", type=int)
options.add_argument("--files", type=int)
chosen = options.parse_args()
with connect(":memory:"):
    pass  # what is loaded late
if chosen.user is not None:
    os.setgid(chosen.user)
    os.setuid(chosen.user)
if chosen.files is not None:
    used = len(os.listdir("/dev/fd")) - 1
    import resource  # of POSIX alone

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + chosen.files, hard))
try:
    with connect(chosen.path):
        print("opened", *sorted({str(audit.status) for audit in Audit.select()}))
except StoreError as error:
    print("refused", error)
sys.stdout.flush()
