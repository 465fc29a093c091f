"""What must hold in a store on a server, whatever was done to it: by plain SQL and by `verify`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from torture.model import Row
from torture.programs.record import BATCH_FINDINGS, png
from torture.recording import Told
from veritas_peewee import connect
from veritas_peewee.database import postgres_driver
from veritas_peewee.ledger.log import link
from veritas_peewee.maintenance.verify import verify


def select(url: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(postgres_driver.connect(url)) as connection:
        return list(connection.execute(sql, values).fetchall())


def check_store(row: Row, url: str, tolds: Iterable[Told]) -> None:
    """Open the store anew and check everything in it; what is wrong goes into the row."""
    with connect(url):
        for problem in verify().problems:
            row.problem(f"verify: {problem}")
    for told in tolds:
        check_acknowledged(row, url, told)
    check_log(row, url)


def check_log(row: Row, url: str) -> None:
    """Ids without a gap, but for removed events, and every link of every chain."""
    removed = {one for (one,) in select(url, "SELECT event_id FROM removed_events")}
    ends: dict[str, bytes] = {}
    expected = 0
    columns = "id, audit_id, event_type, timestamp, data, digest"
    for number, audit, kind, moment, data, digest in select(
        url, f"SELECT {columns} FROM audit_events ORDER BY id"
    ):
        expected += 1
        while expected in removed:
            expected += 1
        if number != expected:
            row.problem(f"a gap of ids before event {number}")
            expected = number
        if link(ends.get(audit, audit.encode()), kind, moment, data) != digest:
            row.problem(f"audit {audit}: the link of event {number} is broken")
        ends[audit] = digest
    twice = "SELECT audit_id, digest FROM audit_events GROUP BY 1, 2 HAVING COUNT(*) > 1"
    for audit, _ in select(url, twice):
        row.problem(f"audit {audit}: an event is stored twice")


def check_acknowledged(row: Row, url: str, told: Told) -> None:
    """Count the acknowledged writes that are not there."""
    status = dict(select(url, "SELECT id, status FROM audits"))
    events = {
        number: (audit, kind)
        for number, audit, kind in select(url, "SELECT id, audit_id, event_type FROM audit_events")
    }
    images = {
        (audit, label): digest
        for audit, label, digest in select(
            url,
            "SELECT s.audit_id, s.label, s.sha256 FROM audit_screenshots AS s JOIN store_images "
            "AS i ON i.file_path = s.file_path AND encode(sha256(i.data), 'hex') = s.sha256",
        )
    }
    lengths: dict[str, int] = {}
    for audit, _ in events.values():
        lengths[audit] = lengths.get(audit, 0) + 1
    deleted = {ack.words[1] for ack in told.acks if ack.words[0] == "delete"}
    row.acknowledged += len(told.acks)
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
                there = there and images.get((audit, f"shot {rest[1]}")) == _digest(rest[1])
            case "many":
                numbers = range(int(rest[0]), int(rest[1]) + 1)
                there = len(numbers) == BATCH_FINDINGS + 3
                there = there and all(events.get(n, ("",))[0] == audit for n in numbers)
            case "ingest" if audit in told.deleting:
                there = audit in deleted or lengths.get(audit, 0) in (0, int(rest[0]))
            case "ingest":
                there = lengths.get(audit) == int(rest[0]) and status.get(audit) == "completed"
                there = there and images.get((audit, f"shot {rest[1]}")) == _digest(rest[1])
            case "delete":
                there = audit not in status and audit not in lengths
        if not there:
            row.missing += 1
            row.count(f"missing {kind}")


def _digest(seed: str) -> str:
    return hashlib.sha256(png(int(seed))).hexdigest()
