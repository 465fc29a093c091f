"""The facts about the machine that one needs in order to read the figures."""

from __future__ import annotations

import hashlib
import os
import platform
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import veritas_peewee
from benchmarks import peers


def facts() -> dict[str, object]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "versions": peers.versions(),
    }


def source_key(package: Path = Path(veritas_peewee.__file__).parent) -> str:
    """A key that changes with the package's source: figures of two versions must not be mixed."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:10]


def _processor() -> str:
    found = Path("/proc/cpuinfo")
    if found.exists():
        for line in found.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
