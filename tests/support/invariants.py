"""What must hold in every store at any time."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.support.database_files import select
from veritas_peewee import Audit
from veritas_peewee.maintenance.verify import verify


def check_invariants() -> None:
    """What must hold in every store at any time, checked in the current database.

    That is the integrity of the file, foreign keys, counts, the chain of every log, the digest
    of every row, the seal of every audit, and every screenshot's file.
    """
    assert verify().problems == []
    for audit in Audit.select():
        if audit.status == "completed":
            assert audit.completed_at is not None


def check_closed_rows(path: Path) -> None:
    """Check the rows and the counts of a file that nobody has open, without the store's code."""
    assert select(path, "PRAGMA integrity_check") == [("ok",)]
    assert select(path, "PRAGMA foreign_key_check") == []
    wrong = (
        "SELECT id FROM audits WHERE screenshots_count != "
        "(SELECT COUNT(*) FROM audit_screenshots WHERE audit_id = audits.id)"
    )
    assert select(path, wrong) == []


def check_closed(path: Path) -> None:
    """Check what must hold in every closed store: the rows, the counts and the files."""
    check_closed_rows(path)
    for file_path, size, digest in select(
        path, "SELECT file_path, file_size_bytes, sha256 FROM audit_screenshots"
    ):
        data = (path.parent / "screenshots" / file_path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)
