"""What must hold in a store, whatever was done to it: checked with plain SQL and by `verify`."""

from __future__ import annotations

import hashlib
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from torture.model import Row
from torture.programs.record import BATCH_FINDINGS, WHOLE_FINDINGS, png
from torture.recording import Told
from veritas_peewee import connect
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.maintenance.verify import verify

_WRONG_COUNTS = (
    "SELECT id FROM audits WHERE screenshots_count <> "
    "(SELECT COUNT(*) FROM audit_screenshots WHERE audit_id = audits.id)"
)
_WHOLE = (
    "SELECT id, (SELECT COUNT(*) FROM audit_events WHERE audit_id = audits.id), "
    "(SELECT COUNT(*) FROM audit_findings WHERE audit_id = audits.id), "
    "(SELECT COUNT(*) FROM audit_screenshots WHERE audit_id = audits.id), "
    "status, trust_score FROM audits WHERE url LIKE '%/whole/%'"
)
_BATCHES = (
    "SELECT audit_id, COUNT(*), MAX(id) - MIN(id) FROM audit_events WHERE event_type = 'batch' "
    "GROUP BY audit_id, json_extract(data, '$.number')"
)
_IN_BATCHES = (
    "SELECT audit_id, SUM(event_type = 'batch') / 2, SUM(event_type = 'finding'), "
    "SUM(event_type = 'screenshot') FROM audit_events WHERE audit_id IN "
    "(SELECT id FROM audits WHERE url LIKE '%/in-batches/%') GROUP BY audit_id"
)


def select(path: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(driver.connect(path)) as connection:
        return list(connection.execute(sql, values))


def check_store(row: Row, path: Path, told: Told) -> None:
    """Open the store anew and check everything in it; what is wrong goes into the row."""
    with connect(path):
        pass  # recovered, and the audits of dead processes marked
    for (text,) in select(path, "PRAGMA integrity_check"):
        if text != "ok":
            row.problem(f"integrity_check: {text}")
    for broken in select(path, "PRAGMA foreign_key_check"):
        row.problem(f"foreign_key_check: {broken}")
    for (audit,) in select(path, _WRONG_COUNTS):
        row.problem(f"audit {audit}: screenshots_count is wrong")
    check_acknowledged(row, path, told)
    check_whole(row, path)
    check_files(row, path)
    check_verify(row, path)


def check_verify(row: Row, path: Path) -> None:
    with connect(path, read_only=True):
        for problem in verify().problems:
            row.problem(f"verify: {problem}")


def check_acknowledged(row: Row, path: Path, told: Told) -> None:
    """Count the acknowledged writes that are not there."""
    status = dict(select(path, "SELECT id, status FROM audits"))
    events = {
        number: (audit, kind)
        for number, audit, kind in select(path, "SELECT id, audit_id, event_type FROM audit_events")
    }
    length = Counter(audit for audit, _ in events.values())
    shots = {
        (audit, label): (file, digest)
        for audit, label, file, digest in select(
            path, "SELECT audit_id, label, file_path, sha256 FROM audit_screenshots"
        )
    }
    folder = path.parent / "screenshots"
    row.acknowledged += len(told.acks)
    deleted = {ack.words[1] for ack in told.acks if ack.words[0] == "delete"}
    for ack in told.acks:
        kind, audit, *rest = ack.words
        there = True
        match kind:
            case "create":
                there = audit in status
            case "event":
                there = events.get(int(rest[0])) == (audit, rest[1])
            case "complete":
                there = events.get(int(rest[0])) == (audit, "audit_complete")
                there = there and status.get(audit) == "completed"
            case "shot":
                there = events.get(int(rest[0])) == (audit, "screenshot")
                there = there and _is_image(folder, shots, audit, int(rest[1]))
            case "many":
                numbers = range(int(rest[0]), int(rest[1]) + 1)
                there = len(numbers) == BATCH_FINDINGS + 3
                there = there and all(events.get(n, ("",))[0] == audit for n in numbers)
            case "ingest" if audit in told.deleting:
                # A deletion that was under way is done or not done, and never half.
                there = audit in deleted or length[audit] in (0, int(rest[0]))
            case "ingest":
                there = length[audit] == int(rest[0]) and status.get(audit) == "completed"
                there = there and _is_image(folder, shots, audit, int(rest[1]))
            case "delete":
                there = audit not in status and not length[audit]
        if not there:
            row.missing += 1
            row.count(f"missing {kind}")


def _is_image(
    folder: Path, shots: dict[tuple[str, str], tuple[str, str]], audit: str, seed: int
) -> bool:
    """Whether an acknowledged screenshot's row is there, and its file as it was sent."""
    file, digest = shots.get((audit, f"shot {seed}"), ("", ""))
    data = png(seed)
    try:
        return (folder / file).read_bytes() == data and digest == hashlib.sha256(data).hexdigest()
    except OSError:
        return False


def check_whole(row: Row, path: Path) -> None:
    """Count audits and batches, written at once, of which only a part is there."""
    whole = (WHOLE_FINDINGS + 3, WHOLE_FINDINGS, 1, "completed", 50.0)
    row.half_saved += sum(tuple(found) != whole for _, *found in select(path, _WHOLE))
    length = BATCH_FINDINGS + 2
    row.half_saved += sum(tuple(found) != (2, length) for _, *found in select(path, _BATCHES))
    for _, batches, findings, shots in select(path, _IN_BATCHES):
        row.half_saved += (findings, shots) != (batches * BATCH_FINDINGS, batches)
    # An event and its effect are one write too.
    for kind, table in (("finding", "audit_findings"), ("screenshot", "audit_screenshots")):
        sql = (
            f"SELECT COUNT(*) FROM audits WHERE (SELECT COUNT(*) FROM {table} WHERE audit_id = "
            "audits.id) <> (SELECT COUNT(*) FROM audit_events WHERE audit_id = audits.id AND "
            "event_type = ?)"
        )
        row.half_saved += select(path, sql, kind)[0][0]


def check_files(row: Row, path: Path) -> None:
    """Every screenshot's row has its file, of the right size and content."""
    sql = "SELECT file_path, file_size_bytes, sha256 FROM audit_screenshots"
    for file, size, digest in select(path, sql):
        try:
            data = (path.parent / "screenshots" / file).read_bytes()
        except OSError as error:
            row.count("bad files")
            row.problem(f"screenshot {file}: {error.strerror}")
        else:
            if (len(data), hashlib.sha256(data).hexdigest()) != (size, digest):
                row.count("bad files")
                row.problem(f"screenshot {file}: the file is not what was stored")
