"""`python -m veritas_peewee`: the command line, as `veritas-peewee` has it."""

import sys

from veritas_peewee.cli import main

code = main()
exec("")  # for the exit code after an interrupt, see `veritas_peewee.cli.__main__`
sys.exit(code)
