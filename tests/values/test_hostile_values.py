"""Values that no store would wish for: stored as they were given, or refused by name."""

import datetime
import math
import time

import pytest

from tests.support.amount import amount
from torture.hostile import hostile_values
from torture.model import OK, Run
from torture.values import Liar, Lost, RudeDict, RudeObject, RudeText, RudeZone, nested
from veritas_peewee import AuditNotFound, InvalidAudit
from veritas_peewee.recording.output import parse
from veritas_peewee.values.plain import MAX_DEPTH, check_text, encode_json, shown

pytestmark = pytest.mark.ends_within(60)


@pytest.fixture
async def audit(store):
    return await store.create("https://example.com")


@pytest.mark.filterwarnings("ignore:.*WAL-reset.*")
def test_any_value_through_any_door_is_a_round_trip_or_a_typed_error(tmp_path):
    (row,) = hostile_values(Run(amount(60, 150), tmp_path, seed=1))
    assert row.verdict == OK, row.problems


async def test_what_contains_itself_beside_a_nan_is_refused_at_once_or_left_out(store, audit):
    event = {"type": "x", "n": math.nan}
    event["self"] = event
    within = []
    within.append(within)
    for call in (store.record(audit.id, event), store.ingest(within)):
        with pytest.raises(InvalidAudit, match="nested more than 200 deep, or contains itself"):
            await call
    # Lenient, it costs that value.
    stored = await store.ingest([event], url="https://example.com")
    assert [error for error in stored.errors if "contains itself" in error]


@pytest.mark.parametrize("kind", [list, dict])
async def test_json_is_stored_to_a_depth_that_every_reader_can_follow(store, audit, kind):
    stored = {"type": "finding", "finding": {"id": "f", "deep": nested(MAX_DEPTH - 3, kind)}}
    await store.record(audit.id, stored)
    assert (await store.events(audit.id))[0].data == stored
    for depth in (MAX_DEPTH, 970, 100_000):
        for leaf in (1, math.nan, RudeObject()):
            with pytest.raises(InvalidAudit):
                await store.record(audit.id, {"type": "x", "deep": nested(depth, kind, leaf)})
    # What a column takes fits into the event that tells of it.
    await store.update(audit.id, security_results={"deep": nested(MAX_DEPTH - 9, kind)})
    with pytest.raises(InvalidAudit, match=r"^security_results: is nested"):
        await store.update(audit.id, security_results={"deep": nested(MAX_DEPTH - 8, kind)})


async def test_brackets_in_a_text_are_no_depth(store, audit):
    event = {"type": "x", "text": '[{"\\' * 1000}
    await store.record(audit.id, event)
    assert (await store.events(audit.id))[0].data == event


async def test_a_number_of_too_many_digits_costs_that_number(store, audit):
    with pytest.raises(InvalidAudit, match=r"^event\.n: is a number of too many digits"):
        await store.record(audit.id, {"type": "x", "n": 10**5000})
    result = {"url": "https://example.com", "status": "completed", "elapsed_seconds": 10**5000}
    assert (await store.ingest(result)).errors == [
        "event.result.elapsed_seconds: is a number of too many digits"
    ]
    for call in (
        store.update(audit.id, pages_scanned=10**5000),
        store.update(audit.id, trust_score=10**5000),
        store.history(limit=10**5000),
    ):
        with pytest.raises(InvalidAudit, match="got a number of 16610 bits"):
            await call


async def test_objects_whose_own_methods_fail(store, audit):
    for call in (
        store.record(audit.id, RudeObject()),
        store.record(audit.id, {"type": "x", "a": RudeObject()}),
        store.record(audit.id, {"type": RudeObject()}),
        store.record(audit.id, {"type": "x", "a": {"b": RudeDict(c=1)}}),
        store.record(audit.id, {"type": "screenshot", "label": RudeObject(), "data": None}),
        store.update(audit.id, status=RudeObject()),
        store.update(audit.id, trust_score=RudeObject()),
        store.update(audit.id, started_at=datetime.datetime(2026, 1, 1, tzinfo=RudeZone())),
        store.history(status=RudeObject()),
        store.history(cursor=Liar(str)),
    ):
        with pytest.raises(InvalidAudit):
            await call
    for wrong in (RudeObject(), Liar(str), [], {}, None, 5):
        with pytest.raises(AuditNotFound):
            await store.record(wrong, {"type": "x"})
        with pytest.raises(AuditNotFound):
            await store.update(wrong, narrative="x")


async def test_text_of_another_class_is_stored_as_plain_text(store, audit):
    await store.record(audit.id, {"type": RudeText("x"), "a": RudeText("text")})
    assert (await store.events(audit.id))[0].data == {"type": "x", "a": "text"}
    await store.record(audit.id, RudeDict(type="x", a=1))
    assert (await store.events(audit.id))[1].data == {"type": "x", "a": 1}
    changed = await store.update(audit.id, narrative=RudeText("text"))
    assert changed.narrative == "text"


async def test_what_is_no_json_in_a_result_costs_that_value(store):
    result = {"url": "https://example.com", "status": "completed", "narrative": RudeObject()}
    found = await store.ingest({**result, "scout_results": Liar(list), "errors": [RudeText("one")]})
    assert found.status == "completed"
    assert "one" in found.errors
    assert any("narrative: is a RudeObject" in text for text in found.errors)


async def test_a_zone_without_an_offset_is_no_zone(store, audit):
    with pytest.raises(InvalidAudit, match=r"^started_at: must have a time zone"):
        await store.update(audit.id, started_at=datetime.datetime(2026, 1, 1, tzinfo=Lost()))


async def test_errors_stay_short_and_printable(store, audit):
    deep = {"k" * 5000: {"k" * 5000: [{"x" * 5000: math.nan}]}}
    for call in (
        store.update(audit.id, **{"\x1b[31m\n" * 1000: 1}),
        store.update(audit.id, signal_scores={"k\n" * 50_000: "x"}),
        store.record(audit.id, {"type": "x", **deep}),
        store.ingest("no\nsuch\x1b[2J" * 100),
        store.screenshot("../\n" * 10_000),
    ):
        with pytest.raises(Exception) as caught:  # noqa: PT011
            await call
        assert len(str(caught.value)) < 400
        assert str(caught.value).isprintable()


async def test_the_path_in_an_error_is_cut_in_the_middle():
    with pytest.raises(InvalidAudit, match=r"^event\.a\.a\.a.*\.\.\..*\.a: is nan") as caught:
        encode_json(_keyed(150), "event")
    assert len(str(caught.value)) < 150


def _keyed(depth):
    found = math.nan
    for _ in range(depth):
        found = {"a": found}
    return found


def test_any_object_can_be_shown():
    for value in (
        RudeObject(),
        RudeDict(a=1),
        Liar(list),
        10**5000,
        nested(5000, list),
        "x" * 10**7,
    ):
        assert 0 < len(shown(value)) <= 80
    assert check_text("x", RudeText("plain")) == "plain"


@pytest.mark.parametrize(
    "text",
    ['{"' + '\\"' * 200_000, "\n".join(["[INFO] ["] * 20_000), "\n".join(["[a]", "[x ["] * 10_000)],
    ids=["quotes", "open brackets", "open and closed"],
)
def test_damaged_output_is_read_in_a_time_that_grows_with_its_length(text):
    begin = time.process_time()
    with pytest.raises(InvalidAudit, match=r"cut off or damaged|no event, progress line or result"):
        parse(text)
    assert time.process_time() - begin < 20  # the square of the length takes minutes


def test_a_result_behind_a_thousand_lines_that_only_look_like_json():
    lines = ["[INFO] step [", "[done]"] * 1000
    result = '{"url": "https://example.com", "status": "completed"}'
    events, notes = parse("\n".join([*lines, result, *lines[1::2]]))
    assert [event["type"] for event in events] == ["engine_result"]
    assert notes == []  # none of them begins like JSON of ours
