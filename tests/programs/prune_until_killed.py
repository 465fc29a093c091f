"""Prune a store piece by piece, and print each piece. usage: prune_until_killed.py DATABASE"""

import os
import sys

from veritas_peewee import connect
from veritas_peewee.maintenance import prune

prune.PIECE = 3
with connect(sys.argv[1]):
    prune.prune(keep_newest=0, progress=lambda done, total: os.write(1, f"{done}\n".encode()))
