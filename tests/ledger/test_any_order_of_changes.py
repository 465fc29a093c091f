"""Whatever this library does in whatever order, on two connections, its seals are right."""

from __future__ import annotations

import contextlib
import io
import random

import pytest

from tests.support.amount import amount
from veritas_peewee import Audit, StoreError, connect
from veritas_peewee.database.current import bound, screenshot_folder
from veritas_peewee.ledger.heads import HEAD_EVERY, newest_head
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditEvent, AuditFinding
from veritas_peewee.recording import ingest, operations, recorder, removal
from veritas_peewee.recording.preparing import prepare_all
from veritas_peewee.testing import make_event, make_finding
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl

IMAGE = make_event("screenshot", label="x", index=1)["data"]
IDS = [f"a{number}" for number in range(4)]


class Undone(Exception):
    pass


class Changes:
    """Random changes of few audits, so that they meet each other."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = seed * 10_000
        self.exported = b""

    def step(self, depth: int = 0) -> None:
        names = ["create", "entry", "finding", "findings", "stats", "shot", "complete", "update",
                 "result", "moved", "together",
                 "peewee_finding", "peewee_change", "peewee_remove", "peewee_audit", "peewee_event",
                 "delete", "ingest", "carry", "part", "part", "undone", "undone"]  # fmt: skip
        name = self.random.choice(names)
        if name in ("part", "undone"):
            if depth < 3:
                self.part(name == "undone", depth)
            return
        # Not there, there already, not to be changed: such a part is undone.
        with contextlib.suppress(StoreError):
            getattr(self, name)(self.random.choice(IDS))

    def part(self, undone: bool, depth: int) -> None:
        database = Audit._meta.database
        scope = self.random.choice([database.unit, database.atomic])
        with contextlib.suppress(Undone), scope():
            for _ in range(self.random.randrange(5)):
                self.step(depth + 1)
            if undone:
                raise Undone

    def finding_event(self) -> dict:
        self.number += 1
        return make_event("finding", finding=make_finding(self.number, id=f"f{self.number}"))

    def create(self, audit_id):
        operations.create("https://example.com/", id=audit_id)

    def entry(self, audit_id):
        recorder.record(audit_id, {"type": "log_entry"})

    def finding(self, audit_id):
        recorder.record(audit_id, self.finding_event())

    def findings(self, audit_id):
        recorder.record_many(audit_id, [self.finding_event() for _ in range(3)])

    def stats(self, audit_id):
        recorder.record(audit_id, {"type": "stats_update", "stats": {"pages_scanned": 3}})

    def shot(self, audit_id):
        recorder.record(audit_id, make_event("screenshot", label="x", index=self.number % 9))

    def result(self, audit_id):
        shot = {"type": "screenshot", "label": "x", "index": 1, "data": IMAGE}
        events = [shot, {"type": "audit_result", "result": {"status": "completed"}}, shot]
        self.random.shuffle(events)
        recorder.record_many(audit_id, events)

    def moved(self, audit_id):
        changes = {"url": f"https://{self.number}.example/"}
        recorder.record(audit_id, {"type": "audit_update", "changes": changes})

    def together(self, audit_id):
        kinds = [self.finding_event(), {"type": "phase_error"}, {"type": "audit_complete"},
                 make_event("screenshot", label="x", index=1)]  # fmt: skip
        jobs = [
            (self.random.choice(IDS[2:]), one)
            for one in prepare_all(audit_id, kinds, screenshot_folder())
        ]
        recorder.apply_together(jobs)

    def complete(self, audit_id):
        recorder.record(audit_id, {"type": "audit_complete", "elapsed": 1})

    def update(self, audit_id):
        status = self.random.choice(["queued", "running", "completed", "error"])
        operations.update(audit_id, status=status)

    def peewee_finding(self, audit_id):
        if Audit.select().where(Audit.id == audit_id).exists():
            AuditFinding.create(audit=audit_id, pattern_type="p", severity="low", confidence=0.5,
                                description=str(self.number))  # fmt: skip

    def peewee_change(self, audit_id):
        severity = self.random.choice(["low", "high"])
        AuditFinding.update(severity=severity).where(AuditFinding.id % 3 == 0).execute()

    def peewee_remove(self, audit_id):
        AuditFinding.delete().where(AuditFinding.audit == audit_id).execute()

    def peewee_audit(self, audit_id):
        Audit.update(narrative=str(self.number)).where(Audit.id.in_(IDS[:2])).execute()

    def peewee_event(self, audit_id):
        if Audit.select().where(Audit.id == audit_id).exists():
            AuditEvent.create(audit=audit_id, event_type="note", data={})

    def delete(self, audit_id):
        removal.delete(audit_id)

    def ingest(self, audit_id):
        ingest.ingest({"url": "https://example.com/", "status": "completed"})

    def carry(self, audit_id):
        if self.exported:
            import_jsonl(io.BytesIO(self.exported), skip_existing=True)
        if not Audit._meta.database.in_transaction():
            target = io.BytesIO()
            export_jsonl(target)
            self.exported = target.getvalue()


@pytest.mark.parametrize("seed", range(amount(4, 8)))
def test_seals_and_heads_are_right(path, seed):
    changes, heads = Changes(seed), []
    with connect(path) as one, connect(path) as two:
        for number in range(60):
            with bound(changes.random.choice([one, two])):
                changes.step()
                assert verify(files=False).problems == [], number
                heads.append(newest_head())
        if seed % 4 == 0:
            recorder.record_many(operations.create("https://example.com/").id,
                                 [{"type": "log_entry"}] * (HEAD_EVERY + 1))  # fmt: skip
        for head in heads:
            assert verify(files=False, against=head).problems == []
