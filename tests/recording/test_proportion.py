"""Four times as many events cost about four times as much, whatever they change."""

from __future__ import annotations

import base64
import threading

import pytest

from veritas_peewee import connect
from veritas_peewee.queries import lookups
from veritas_peewee.recording import ingest, operations, recorder
from veritas_peewee.recording.effects import KINDS, Kind
from veritas_peewee.testing import make_png

FEW, TIMES = 60, 4


def finding(number, **more):
    return {"type": "finding", "finding": {**more, "pattern_type": "p", "severity": "low",
            "confidence": 0.5, "description": f"text number {number}"}}  # fmt: skip


def result(number):
    return {"findings": [finding(number)["finding"]], "errors": [f"error number {number}"],
            "security_results": {f"module{number}": 1}}  # fmt: skip


MADE = {
    "findings": lambda n: finding(n),
    "findings with an id": lambda n: finding(n, id=str(n)),
    "findings reported again": lambda n: finding(n % 30),
    "errors": lambda n: {"type": "phase_error", "error": f"error number {n}"},
    "security results": lambda n: {
        "type": "security_result", "module": f"module{n}", "result": {"a": "x" * 100}
    },
    "images that are none": lambda n: {"type": "screenshot", "index": n, "data": "QUJD"},
    "results": lambda n: {"type": "audit_result", "result": result(n)},
    "results of the engine": lambda n: {
        "type": "engine_result",
        "result": {"vision_result": result(n), "errors": [f"error number {n}"]},
    },
    "changes of the status": lambda n: {
        "type": "audit_update", "changes": {"status": ["running", "queued"][n % 2]}
    },
    "a mixture": lambda n: [finding(n), {"type": "phase_error", "error": f"error {n}"},
                            finding(n, id=str(n)), {"type": "log_entry"},
                            {"type": "audit_result", "result": result(n)}][n % 5],
}  # fmt: skip


def one_by_one(audit_id, events):
    for one in events:
        recorder.record(audit_id, one, lenient=True)


def together(audit_id, events):
    recorder.record_many(audit_id, events, lenient=True)


def ingested(audit_id, events):
    ingest.ingest(events, audit_id=audit_id)


def in_one_result(audit_id, events):
    files = [f"none{number}.png" for number in range(len(events))]
    found = [
        {**one["finding"], "screenshot_path": file} for one, file in zip(events, files, strict=True)
    ]
    whole = {
        "url": "https://example.com", "status": "error", "errors": files,
        "scout_results": [{"screenshots": files}], "vision_result": {"findings": found},
    }  # fmt: skip
    ingest.ingest(whole, audit_id=audit_id)


def replayed(audit_id, events):
    first = operations.create("https://example.com").id
    recorder.record_many(first, events, lenient=True)
    stored = lookups.events(first)
    count.reset()
    recorder.replay(audit_id, stored)


class Count:
    """What SQLite has to do: its steps, and how many characters it is given."""

    def reset(self):
        self.steps = self.given = 0

    def step(self):
        self.steps += 1

    def of(self, database, call, *args):
        self.reset()
        execute = database.execute_sql

        def counted(sql, params=None):
            self.given += sum(len(one) for one in params or () if isinstance(one, str | bytes))
            return execute(sql, params)

        database.execute_sql = counted
        database.raw.set_progress_handler(self.step, 1)
        call(*args)
        return self.steps, self.given


count = Count()


def check(call, make):
    counts = []
    for number in (FEW, FEW * TIMES):
        with connect(":memory:") as database:
            audit = operations.create("https://example.com")
            events = [make(one) for one in range(number)]
            counts.append(count.of(database, call, audit.id, events))
    for few, many in zip(*counts, strict=True):
        assert many < 1.6 * TIMES * few, counts


@pytest.mark.parametrize("call", [together, ingested, replayed])
@pytest.mark.parametrize("what", MADE)
def test_one_call_for_any_events(call, what):
    check(call, MADE[what])


def test_one_call_with_everything_in_a_result():
    check(in_one_result, MADE["findings"])


@pytest.mark.parametrize("what", ["findings", "findings with an id", "findings reported again"])
def test_a_call_for_each_finding(what):
    check(one_by_one, MADE[what])


def image(number):
    data = base64.b64encode(make_png(number)).decode()
    return {"type": "screenshot", "url": f"/tmp/{number}.png", "index": number, "data": data}


def test_a_finding_with_the_path_of_an_image_costs_the_same_in_a_longer_log():
    """What was told of images is read once, not for each finding."""
    counts = []
    for number in (FEW, FEW * TIMES):
        with connect(":memory:") as database:
            audit = operations.create("https://example.com")
            entries = [{"type": "log_entry", "message": "x"}] * number
            recorder.record_many(audit.id, [*entries, *map(image, range(number // 4))])
            events = [finding(n, screenshot_path=f"/tmp/{n}.png") for n in range(12)]
            recorder.record(audit.id, events.pop())
            counts.append(count.of(database, one_by_one, audit.id, events))
            rows = lookups.get(audit.id).findings
            assert [row.screenshot_index for row in rows] == [11, *range(11)]
    for few, many in zip(*counts, strict=True):
        assert many < 1.2 * few, counts


def test_few_findings_are_pointed_at_images_as_many_are():
    """The first ones of a call are looked for by themselves, the others together."""
    first = [finding(n, id=str(n)) for n in range(20)]
    again = [finding(n + 100, id=str(n), screenshot_index=n) for n in range(20)]
    found = []
    with connect(":memory:"):
        for call in (one_by_one, together):
            audit = operations.create("https://example.com")
            for events in (first, again[:3], again):
                call(audit.id, events)
            rows = lookups.get(audit.id).findings
            found.append([(row.description, row.screenshot_index) for row in rows])
        whole = operations.create("https://example.com")
        ingested(whole.id, [*first, *again])
        rows = lookups.get(whole.id).findings
        found.append([(row.description, row.screenshot_index) for row in rows])
    assert found[0] == found[1] == found[2]
    assert found[0] == [(f"text number {n}", n) for n in range(20)]


def test_images_that_were_undone_or_came_from_elsewhere_are_not_remembered(path):
    with connect(path) as database:
        audit = operations.create("https://example.com")
        recorder.record_many(audit.id, [image(1), finding(1, screenshot_path="/tmp/1.png")])
        with pytest.raises(KeyError), database.atomic():
            recorder.record(audit.id, image(2))
            recorder.record(audit.id, finding(2, screenshot_path="/tmp/2.png"))
            raise KeyError
        recorder.record(audit.id, finding(3, screenshot_path="/tmp/2.png"))

        def elsewhere():
            with connect(path):
                recorder.record(audit.id, image(4) | {"url": "/tmp/2.png"})

        other = threading.Thread(target=elsewhere)
        other.start()
        other.join()
        recorder.record(audit.id, finding(5, screenshot_path="/tmp/2.png"))
        rows = lookups.get(audit.id).findings
    assert [row.screenshot_index for row in rows] == [1, -1, 4]


def test_what_an_event_adds_to_a_collection_is_added_in_place(script, monkeypatch):
    seen = []
    monkeypatch.setitem(KINDS, "look", Kind(lambda rows, event: seen.append(rows.state)))
    events = [MADE[what](number) for number in range(5) for what in MADE]
    look = {"type": "look"}
    audit = operations.create("https://example.com")
    recorder.record_many(audit.id, [e for one in events for e in (look, one)], lenient=True)
    for name in ("errors", "security_results"):
        assert len({id(state[name]) for state in seen}) == 1, name
    assert len(seen[-1]["errors"]) > 10
    assert len(seen[-1]["security_results"]) == 5
