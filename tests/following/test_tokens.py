"""Tokens and ids by which a viewer resumes: what it missed comes, or an error that says why not."""

from __future__ import annotations

import pytest

from veritas_peewee import InvalidAudit, StaleToken, StoreError, connect, sync
from veritas_peewee.following import feed
from veritas_peewee.ledger import continued
from veritas_peewee.maintenance.backup import backup
from veritas_peewee.maintenance.restore import restore
from veritas_peewee.maintenance.verify import verify

LOG = {"type": "log_entry"}
END = {"type": "audit_complete"}


def record(path, *names):
    """Record an event for each name in a new audit; the stored events."""
    with connect(path):
        audit = sync.create("https://example.com")
        sync.record_many(audit.id, [LOG | {"message": name} for name in names])
        return sync.events(audit.id)


def after(token):
    return [event.data["message"] for event in feed.stored(None, token).events]


def problems(path, head=None):
    with connect(path, read_only=True):
        return verify(against=head).problems


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audits.db"


@pytest.fixture
def saved(path, tmp_path):
    """A backup with three events; the store has five more since."""
    record(path, "a", "b", "c")
    with connect(path):
        backup(tmp_path / "kept")
    return tmp_path / "kept"


async def test_a_token_resumes_where_its_event_was(store):
    audit = await store.create("https://example.com")
    ids = await store.record_many(audit.id, [LOG, LOG, END])
    first, second, _ = await store.events(audit.id)
    assert first.token.startswith(f"{first.id}-{first.digest.hex()[:16]}")
    assert [e.id async for e in store.follow(audit.id, after=first.token)] == ids[1:]
    every = store.follow_all(after=second.token)
    assert (await anext(every)).id == ids[2]
    # Of a removed event too: it is part of the history.
    await store.delete(audit.id)
    other = await store.create("https://example.com")
    told = await store.record(other.id, LOG)
    assert (await anext(store.follow_all(after=first.token))).id == told


async def test_a_token_of_another_history_is_refused(store):
    audit = await store.create("https://example.com")
    event_id = await store.record(audit.id, LOG)
    (event,) = await store.events(audit.id)
    flipped = f"{event_id}-{'0' if event.token[-1] != '0' else '1'}"
    for token in (f"{event_id}-{'0' * 16}", f"{event_id + 1}-{event.token[2:]}"):
        for follower in (store.follow(audit.id, after=token), store.follow_all(after=token)):
            with pytest.raises(StaleToken, match=f"{token}.*begin again with 0"):
                await follower
            assert follower.ended == "failed"
            assert [e async for e in follower] == []
    for bad in (
        flipped,
        "",
        "1",
        "-",
        "0-" + "0" * 16,
        f"{event_id}-{'A' * 16}",
        " " + event.token,
    ):
        with pytest.raises(InvalidAudit, match="after"):
            store.follow(audit.id, after=bad)
    assert issubclass(StaleToken, StoreError)


def test_a_restore_continues_the_ids_of_what_it_replaced(path, saved):
    lost = record(path, *"vwxyz")
    with connect(path):
        head = str(sync.head())
    report = restore(saved, path, force=True)
    assert problems(path) == []
    assert problems(path, report.head) == []
    assert "the log is not what it was" in str(problems(path, head))  # the loss is still seen
    new = record(path, *"123456789")
    assert [event.id for event in new] == list(range(9, 18))
    assert problems(path) == problems(path, report.head) == []
    with connect(path):
        (note,) = verify().notes
        assert note.startswith("a restore left out the ids from 4 to 8, which the store that it")
        assert after(lost[-1].id) == list("123456789")
        assert after(3) == list("123456789")
        with pytest.raises(StaleToken):
            after(lost[-1].token)
        with pytest.raises(StaleToken):
            after(lost[0].token)
        assert after(sync.events(sync.history().items[-1].id)[-1].token) == list("123456789")


def test_a_restore_can_be_repeated_and_others_follow(path, saved, tmp_path):
    record(path, *"vwxyz")
    restore(saved, path, force=True)
    restore(saved, path)  # nothing was recorded since: nothing would be lost
    assert [event.id for event in record(path, "1")] == [9]
    with pytest.raises(StoreError, match="newer events"):
        restore(saved, path)
    with connect(path):
        backup(tmp_path / "second")
    assert [event.id for event in record(path, "2")] == [10]
    restore(saved, path, force=True)
    assert [event.id for event in record(path, "3")] == [11]
    restore(tmp_path / "second", path, force=True)
    assert [event.id for event in record(path, "4")] == [12]
    assert problems(path) == []


def test_a_long_log_has_its_heads_on_both_sides_of_the_gap(path, saved):
    record(path, *map(str, range(2500)))
    restore(saved, path, force=True)
    new = record(path, *map(str, range(2600)))
    assert new[0].id == 2504
    with connect(path):
        head = str(sync.head())
    record(path, *map(str, range(1200)))
    assert problems(path) == problems(path, head) == []


def test_a_store_that_cannot_be_read_has_given_no_id_that_comes_again(path, saved):
    lost = record(path, *map(str, range(50)))
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.write_bytes(b"x" * path.stat().st_size)
    restore(saved, path, force=True)
    assert record(path, "1")[0].id > lost[-1].id
    assert problems(path) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE removed_events SET digest = x'00' || substr(digest, 2)",
        "UPDATE removed_events SET event_id = event_id - 1",
        "DELETE FROM removed_events",
        "DELETE FROM audit_events WHERE id = 3",
    ],
)
def test_what_was_written_of_it_is_checked(path, saved, change):
    record(path, *"vwxyz")
    restore(saved, path, force=True)
    record(path, "1")
    with connect(path) as database:
        assert list(continued.marks()) == [8]
        database.raw.execute("PRAGMA foreign_keys = 0")
        database.raw.execute("DROP TRIGGER IF EXISTS veritas_event_removed")
        database.raw.execute(change)
    assert problems(path)
