"""`python -m veritas_peewee.cli`."""

import sys

from veritas_peewee.cli import main

code = main()
# With `-m`, Python ends by SIGINT and not with our code once an interrupt has passed through a text
# that was executed, as each dataclass is, though it was caught. The next text makes it forget that.
exec("")
sys.exit(code)
