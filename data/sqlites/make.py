"""Write here a store as this Python's SQLite makes it, packed, and what it answers.

usage, for each SQLite: .venv/bin/python data/sqlites/make.py sqlite3
                        .venv-sqlite/bin/python data/sqlites/make.py pysqlite3
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

here = Path(__file__).parent
project = here.parents[1]
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder, "audits.db")
    told = subprocess.run(
        [sys.executable, project / "tests/programs/by_sqlite.py", sys.argv[1], path, "fill"],
        env={**os.environ, "PYTHONPATH": str(project)},
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(told.stdout)
    name = found.pop("sqlite")
    packed = gzip.compress(path.read_bytes(), 9, mtime=0)
(here / f"{name}.db.gz").write_bytes(packed)
(here / f"{name}.json").write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")
print(f"{name}: {len(packed):,} bytes")
