"""A store in a file needs no PostgreSQL: where its driver is not installed, all of it works."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.processes import environment

ALONE = """
import json, sys
sys.modules["psycopg"] = None  # an import of it is an ImportError
from veritas_peewee.cli.app import run
codes = {line: run(line.split()) for line in json.loads(sys.argv[1])}
print(json.dumps(codes))
"""


def test_no_command_on_a_file_needs_the_driver(path: Path, ids: list[str]) -> None:
    folder = path.parent.parent
    lines = [
        *("history", "stats", "doctor", "verify", "verify --fix", "head"),
        f"backup {folder}/backup",
        f"export --output {folder}/all.jsonl",
        f"copy {path} {folder}/copy.db",
    ]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, json.dumps(lines)],
        env=environment(VERITAS_DATABASE=str(path)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == dict.fromkeys(lines, 0), done.stderr
