"""`python -m veritas_peewee.cli`."""

import sys

from veritas_peewee.cli import main

sys.exit(main())
