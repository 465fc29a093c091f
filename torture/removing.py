"""A store with images to remove, an export of it, and the process that removes or imports them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from torture.checks import select
from torture.followed import Followed
from torture.model import Row
from torture.programs.record import finding, shot
from veritas_peewee import connect, sync
from veritas_peewee.maintenance.verify import verify

OLD = 7200.0
"""Seconds ago at which the images were written: `verify --fix` leaves what is new."""


def fill(path: Path, audits: int, images: int) -> None:
    """A store with so many ended audits, whose images are old."""
    with connect(path):
        for number in range(audits):
            seeds = range(number * images, number * images + images)
            url = f"https://example.com/{number}"
            result = {"url": url, "status": "completed", "trust_score": 50}
            events = [finding(1), *map(shot, seeds), {"type": "audit_result", "result": result}]
            sync.ingest([*events, {"type": "audit_complete", "elapsed": 1}])
    age(path)


def age(path: Path) -> None:
    """Make all images old."""
    when = time.time() - OLD
    for file in (path.parent / "screenshots").rglob("*"):
        os.utime(file, (when, when))


class Removing(Followed):
    """A process of `torture.programs.remove`, and what it has told."""

    def __init__(self, database: Path, how: str, *options: object) -> None:
        self.lines: list[str] = []
        self.how = how
        super().__init__("remove", database, how, *options)

    def heard(self, line: str) -> None:
        self.lines.append(line)

    def wait_for(self, line: str, number: int = 1) -> bool:
        """Wait for so many lines that begin so; False if it ends before."""
        return self.wait_until(
            lambda: sum(told.startswith(line) for told in list(self.lines)) >= number
        )

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)


def check_images(row: Row, path: Path) -> set[str]:
    """Count rows whose image is not there as missing; returns the audits that are there."""
    with connect(path, read_only=True):
        report = verify()
    row.acknowledged += report.files
    gone = [text for text in report.problems if "cannot be read" in text or "was altered" in text]
    row.missing += len(gone)
    row.count("audits there", report.audits)
    for text in [*gone[:3], *(text for text in report.problems if text not in gone)]:
        row.problem(f"verify: {text}")
    return {audit for (audit,) in select(path, "SELECT id FROM audits")}
