"""Hold a database as another program does until standard input ends.

usage: hold_open.py DATABASE [STATEMENT…]
"""

import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
print("held", flush=True)
sys.stdin.read()
connection.close()
