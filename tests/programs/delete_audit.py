"""Delete an audit of a database."""

import sys

from veritas_peewee import connect
from veritas_peewee.recording.removal import delete

with connect(sys.argv[1]):
    delete(sys.argv[2])
