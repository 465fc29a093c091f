"""Checkpoints: what is signed, and what `verify` says of a store against one that was kept."""

from __future__ import annotations

import json
import shutil
import sqlite3
from base64 import b64decode
from itertools import pairwise
from pathlib import Path

import pytest

from tests.evidence.conftest import NAME
from tests.ledger.test_any_order_of_changes import Changes
from tests.support.amount import amount
from tests.support.audits import fill
from tests.support.command_line import run_here
from tests.support.database_files import by_hand, select
from veritas_peewee import Checkpoint, InvalidAudit, NotProven, StoreError, as_dict, connect, sync
from veritas_peewee.database.current import bound, current_database, snapshot
from veritas_peewee.database.statements import execute
from veritas_peewee.errors import DatabaseCorrupt
from veritas_peewee.evidence import checkpoints, keys, merkle, tree
from veritas_peewee.evidence.blocks import BLOCK
from veritas_peewee.evidence.tree import Tree
from veritas_peewee.ledger import heads
from veritas_peewee.maintenance.backup import backup
from veritas_peewee.maintenance.prune import prune
from veritas_peewee.maintenance.repair import repair
from veritas_peewee.maintenance.restore import restore
from veritas_peewee.maintenance.verify import Report, verify
from veritas_peewee.testing import make_event


def a_log(events: int, url: str = "https://shop.example/") -> str:
    audit_id = str(sync.create(url).id)
    sync.record_many(audit_id, [make_event("log_entry", message=str(n)) for n in range(events)])
    return audit_id


def signed(key: Path) -> Checkpoint:
    return sync.head(key=key)


def against(path: Path, kept: Checkpoint, key: Path) -> Report:
    with connect(path, read_only=True):
        return verify(against=kept.note, key=key)


def forged(path: Path, *statements: str) -> None:
    """Alter a file as someone who knows its formats would: every digest and head is made anew."""
    by_hand(path, "DROP TRIGGER remember_removed_event", *statements)
    from veritas_peewee.ledger.log import link

    with sqlite3.connect(path) as file:
        ends: dict[str, bytes] = {}
        rows = file.execute(
            "SELECT id, audit_id, event_type, timestamp, data FROM audit_events ORDER BY id"
        ).fetchall()
        for event_id, audit_id, kind, moment, data in rows:
            before = ends.get(audit_id, audit_id.encode())
            ends[audit_id] = digest = link(before, kind, moment, data)
            file.execute("UPDATE audit_events SET digest = ? WHERE id = ?", (digest, event_id))
        file.execute("DELETE FROM store_heads")
    file.close()


def test_a_checkpoint_says_what_the_log_is_and_who_says_so(script, key):
    fill()
    made = signed(key)
    lines = made.note.split("\n")
    assert lines[:4] == [NAME, str(made.size), made.root, str(heads.newest_head())]
    assert lines[4] == ""
    assert lines[5].startswith(f"— {NAME} ")
    assert lines[6:] == [""]
    with snapshot():
        assert (made.size, made.root_hash) == (heads.newest_event(), Tree().root())
    assert checkpoints.read_checkpoint(made.note, keys.public_key(key)) == made
    assert str(made) == made.note
    assert as_dict(made)["root"] == made.root


def test_an_empty_store_has_one_too(script, key):
    made = signed(key)
    assert (made.size, made.root_hash) == (0, merkle.EMPTY_ROOT)
    assert verify(against=made).problems == []


async def test_the_store_signs_and_keeps_what_makes_the_next_one_quick(store, key):
    audit = await store.create("https://shop.example/")
    await store.record_many(audit.id, [make_event("log_entry", message="x")] * (BLOCK + 5))
    made = await store.head(key=key)
    assert made.size == BLOCK + 5
    assert made.note == (await store.head(key=str(key), name=NAME)).note
    rows = await store.read(execute, "SELECT leaves FROM store_tree ORDER BY number", ())
    assert rows == [(BLOCK,), (5,)]
    assert str(made.head) == str(await store.head())
    with pytest.raises(InvalidAudit, match="named audits"):
        await store.head(key=key, name="other")


def test_nothing_is_a_problem_against_checkpoints_a_year_apart(path, key):
    """With removals and prunings between them: the later tree continues the earlier one."""
    with connect(path):
        ids = fill(5)
        first = signed(key)
    with connect(path):
        sync.delete(ids[0])
        sync.delete(ids[2])
        a_log(2 * BLOCK)
        prune(keep_newest=3)
        fill(2)
        second = signed(key)
        with snapshot():
            now = Tree()
            path_between = now.consistency(first.size, second.size)
    merkle.check_consistency(
        first.size, second.size, path_between, first.root_hash, second.root_hash
    )
    for one in (first, second):
        assert against(path, one, key).problems == []
        assert against(path, one, key).notes == []


@pytest.mark.parametrize("seed", range(amount(2, 8)))
def test_in_any_order_of_changes_each_checkpoint_continues_those_before(path, key, seed):
    changes, kept = Changes(seed), []
    with connect(path) as one, connect(path) as two:
        for number in range(40):
            with bound(changes.random.choice([one, two])):
                changes.step()
                if number % 4 == 0:
                    kept.append(signed(key))
        with snapshot():
            now = Tree()
            for earlier, later in pairwise(kept):
                between = now.consistency(earlier.size, later.size)
                merkle.check_consistency(
                    earlier.size, later.size, between, earlier.root_hash, later.root_hash
                )
        for checkpoint in kept[::3]:
            assert verify(files=False, against=checkpoint).problems == []


def test_a_store_that_was_restored_from_an_older_backup_is_named(path, tmp_path, key):
    with connect(path):
        fill(2)
        old = signed(key)
        backup(tmp_path / "older.db")
        a_log(40)
        kept = signed(key)
    restore(tmp_path / "older.db", path, force=True)
    report = against(path, kept, key)
    said = f"the log had {kept.size} events when the checkpoint was signed, and has {old.size + 1}"
    assert said in str(report.problems)
    assert f"a restore left out the ids from {old.size + 1} to {kept.size}" in str(report.notes)
    assert against(path, old, key).problems == []
    with connect(path):
        a_log(100)
    report = against(path, kept, key)
    assert f"the first {kept.size} events of the log are not those" in str(report.problems)


def test_who_signs_after_the_restore_of_an_older_backup_is_warned_once(path, tmp_path, key, caplog):
    """With the same key two checkpoints are signed, neither of which continues the other."""
    with connect(path):
        fill(2)
        signed(key)
        backup(tmp_path / "older.db")
        a_log(40)
        kept = signed(key)
        assert caplog.messages == []
    restore(tmp_path / "older.db", path, force=True)
    (warned,) = caplog.messages
    assert "may have signed checkpoints of them, which the restored store contradicts" in warned
    caplog.clear()
    with connect(path):
        made = signed(key)
    (warned,) = caplog.messages
    assert f"left out events that the store had before, up to {kept.size}: if {NAME}" in warned
    caplog.clear()
    with connect(path):
        a_log(1)
        signed(key)
        assert caplog.messages == []
        assert "or a restore has left them out" in str(verify(against=kept).problems)
        assert verify(against=made).problems == []


def test_who_restores_what_contradicts_no_checkpoint_is_not_warned(path, tmp_path, key, caplog):
    with connect(path):
        fill(2)
        a_log(1)
        backup(tmp_path / "never signed.db")
    with connect(path):
        a_log(1)
    restore(tmp_path / "never signed.db", path, force=True)
    assert caplog.messages == []
    with connect(path):
        signed(key)
        backup(tmp_path / "signed.db")
        a_log(40)
    caplog.clear()
    restore(tmp_path / "signed.db", path, force=True)
    assert caplog.messages == []


@pytest.mark.parametrize("damage", ["not a database", "UPDATE store_tree SET root = 'x'"])
def test_of_a_replaced_store_that_cannot_tell_it_is_warned(path, tmp_path, key, caplog, damage):
    with connect(path):
        fill(2)
        backup(tmp_path / "older.db")
        signed(key)
    if damage.startswith("UPDATE"):
        by_hand(path, damage)
    else:
        path.write_text(damage)
    restore(tmp_path / "older.db", path, force=True)
    assert "may have signed checkpoints" in caplog.text


def test_an_older_file_that_was_put_in_the_place_is_named(path, tmp_path, key):
    with connect(path):
        fill(2)
    shutil.copy(path, tmp_path / "older.db")
    with connect(path):
        a_log(40)
        kept = signed(key)
    shutil.copy(tmp_path / "older.db", path)
    said = str(against(path, kept, key).problems)
    assert f"the log had {kept.size} events" in said
    assert "the newest of them are gone" in said


def test_an_event_that_was_taken_out_with_every_digest_made_anew_is_named(path, key):
    with connect(path):
        a_log(30)
        victim = a_log(30)
        a_log(BLOCK)
        kept = signed(key)
    forged(path, "DELETE FROM audit_events WHERE id = 45",
           "UPDATE audit_events SET id = id - 1 WHERE id > 45",
           f"UPDATE audits SET seal = NULL WHERE id = '{victim}'")  # fmt: skip
    problems = against(path, kept, key).problems
    where = f"the events from 33 to 48 (audit {victim}) are not those"
    assert any(text.startswith(where) for text in problems), problems
    assert any("and has 1083: the newest of them are gone" in text for text in problems)


def test_an_altered_event_with_every_digest_made_anew_is_named_with_its_audit(path, key):
    with connect(path):
        a_log(BLOCK + 30)
        victim = a_log(50)
        a_log(10)
        kept = signed(key)
    forged(path, f"UPDATE audit_events SET data = '{{}}' WHERE id = {BLOCK + 51}")
    problems = against(path, kept, key).problems
    where = f"the events from {BLOCK + 49} to {BLOCK + 64} (audit {victim}) are not those"
    assert any(text.startswith(where) for text in problems), problems
    assert any(text.startswith(f"the first {kept.size} events of the log") for text in problems)
    assert "when the head was kept" not in str(problems)  # which is the same, said again
    # Also where what the store has of the tree was made anew: only the checkpoint knows.
    by_hand(path, "DELETE FROM store_tree")
    problems = against(path, kept, key).problems
    assert any(text.startswith(f"the first {kept.size} events of the log") for text in problems)
    assert "store's tree" not in str(problems)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE store_tree SET root = zeroblob(32) WHERE number = 0",
         "row 0 of store_tree is not what its events give"),
        ("UPDATE store_tree SET parts = zeroblob(2048) WHERE number = 0",
         "row 0 of store_tree is not what its events give"),
        ("UPDATE store_tree SET parts = CAST(substr(parts, 1, 2048) || zeroblob(32) AS BLOB) "
         "WHERE number = 0", "row 0 of store_tree is not what its events give"),
        ("UPDATE store_tree SET root = 'x' WHERE number = 1",
         "row 1 of store_tree was not written by this library"),
        ("UPDATE store_tree SET parts = zeroblob(3) WHERE number = 0",
         "row 0 of store_tree was not written by this library"),
        ("DELETE FROM store_tree WHERE number = 0",
         "row 1 of store_tree was not written by this library"),
        ("INSERT INTO store_tree VALUES (7, 1, 9999, zeroblob(32), zeroblob(32))",
         "row 7 of store_tree was not written by this library"),
    ],
)  # fmt: skip
def test_rows_of_the_tree_that_are_not_what_was_stored_are_named(path, key, damage, said):
    with connect(path):
        a_log(BLOCK + 20)
        signed(key)
    by_hand(path, damage)
    with connect(path, read_only=True):
        assert said in verify().problems


def test_rows_of_the_tree_that_say_nothing_of_themselves_are_as_good(path, key):
    """As the first version of the tree has stored them."""
    with connect(path):
        a_log(BLOCK + 20)
        made = signed(key)
    by_hand(path, "UPDATE store_tree SET parts = substr(parts, 1, length(parts) - 32)")
    with connect(path):
        assert verify().problems == []
        assert signed(key).note == made.note
        a_log(BLOCK)
        assert against(path, made, key).problems == []
        signed(key)
        assert verify().problems == []
    by_hand(path, "UPDATE store_tree SET root = zeroblob(32) WHERE number = 0")
    with connect(path):
        with pytest.raises(DatabaseCorrupt, match="verify --fix` mends it"):
            signed(key)
        repair()
        assert verify().problems == []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE store_tree SET root = 'x' WHERE number = 1",
        "DELETE FROM store_tree WHERE number = 0",
        "INSERT INTO store_tree VALUES (-1, 1, 9999, zeroblob(32), zeroblob(32))",
    ],
)
def test_odd_rows_of_the_tree_are_removed_and_stored_anew(path, key, damage):
    with connect(path):
        a_log(BLOCK + 20)
        made = signed(key)
    rows = select(path, "SELECT * FROM store_tree ORDER BY number")
    by_hand(path, damage)
    with connect(path):
        assert any("rows of store_tree: the next checkpoint" in text for text in repair())
        assert verify().problems == []
        assert signed(key).note == made.note
    assert select(path, "SELECT * FROM store_tree ORDER BY number") == rows


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE store_tree SET root = zeroblob(32)",
        "UPDATE store_tree SET root = zeroblob(32) WHERE number = 1",
        "UPDATE store_tree SET last_event = last_event + 1 WHERE number = 1",
        "UPDATE store_tree SET parts = zeroblob(2048) WHERE leaves = 1024",
        "UPDATE store_tree SET parts = CAST(substr(parts, 1, 2048) || zeroblob(32) AS BLOB) "
        "WHERE number = 1",
        "UPDATE store_tree SET leaves = leaves - 1 WHERE number = 1",
        "UPDATE store_tree SET leaves = leaves - 1 WHERE number = 2",
    ],
)
def test_a_row_of_the_tree_is_made_anew_where_its_events_are_as_they_were(path, key, damage):
    with connect(path):
        a_log(2 * BLOCK + 20)
        made = signed(key)
    rows = select(path, "SELECT * FROM store_tree ORDER BY number")
    by_hand(path, damage)
    with connect(path):
        with pytest.raises(DatabaseCorrupt, match="verify --fix` mends it"):
            tree.inclusion_proof(BLOCK + 3) if "last_event" in damage else signed(key)
        assert any("is that of its events again" in text for text in repair())
        assert verify(against=made).problems == []
        assert signed(key).note == made.note
        assert not any("store_tree" in text for text in repair())
    assert select(path, "SELECT * FROM store_tree ORDER BY number") == rows


def test_what_tells_of_altered_events_is_never_made_anew(path, key):
    with connect(path):
        a_log(2 * BLOCK + 20)
        signed(key)
    by_hand(path, "UPDATE store_tree SET root = zeroblob(32) WHERE number = 0",
            f"UPDATE audit_events SET digest = zeroblob(32) WHERE id = {BLOCK + 5}")  # fmt: skip
    with connect(path):
        assert [text for text in repair() if "store_tree" in text] == [
            "row 0 of store_tree: its root is that of its events again"
        ]
        assert f"the events from {BLOCK + 1} to {BLOCK + 16} " in str(verify().problems)


def test_events_that_are_gone_without_their_heads_are_named(path, key):
    with connect(path):
        a_log(100)
        signed(key)
    by_hand(path, "DROP TRIGGER remember_removed_event", "DELETE FROM audit_events WHERE id > 90")
    with connect(path, read_only=True):
        problems = verify().problems
    assert any("made of events up to 100, and the log has 90" in text for text in problems)


def test_a_checkpoint_needs_its_key_and_a_head_does_not(path, key):
    with connect(path):
        fill()
        made, head = signed(key), str(sync.head())
    with connect(path, read_only=True):
        assert verify(against=head).ok
        assert verify(against=made).ok  # it was checked before
        with pytest.raises(InvalidAudit, match="key: a checkpoint is worth its signature"):
            verify(against=made.note)
        with pytest.raises(NotProven, match="is not one over this text"):
            verify(against=made.note.replace(f"\n{made.size}\n", "\n1\n"), key=key)
        with pytest.raises(StoreError, match="is no head"):
            verify(against="1-2-3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{NAME}\n3\n", "not a checkpoint: that begins with origin"),
        (f"{NAME}\n03\n{'A' * 43}=\n", "'03' is not the size of a tree"),
        (f"{NAME}\nx\n{'A' * 43}=\n", "'x' is not the size of a tree"),
        (f"{NAME}\n3\n{'A' * 44}\n", "is not the root of a tree"),
        (f"{NAME}\n3\n{'A' * 42}B=\n", "is not the root of a tree"),  # bits that nobody reads
        (f"{NAME}\n3\n{'A' * 43}=\n\nmore\n", "not a checkpoint"),
        (f"\n3\n{'A' * 43}=\n", "not a checkpoint"),
        (f"other.example\n3\n{'A' * 43}=\n", "it is of 'other.example', and signed as"),
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(key, text, said):
    from veritas_peewee.evidence import notes

    note = notes.signed(text, keys.signing_key(key))
    with pytest.raises(NotProven, match=said):
        checkpoints.read_checkpoint(note, keys.public_key(key))


def test_lines_that_later_versions_add_are_read_over(key):
    from veritas_peewee.evidence import notes

    text = f"{NAME}\n3\n{'A' * 43}=\nsomething new\n1-2-3-{'ab' * 32}\n"
    found = checkpoints.read_checkpoint(
        notes.signed(text, keys.signing_key(key)), keys.public_key(key)
    )
    assert (found.size, str(found.head)) == (3, f"1-2-3-{'ab' * 32}")


def test_nothing_is_signed_that_can_still_be_undone(script, key):
    audit_id = a_log(3)
    first = signed(key)
    with pytest.raises(StoreError, match="can still be undone"), script.atomic():
        sync.record(audit_id, make_event("log_entry", message="never"))
        signed(key)
    sync.record(audit_id, make_event("log_entry", message="another"))
    assert verify(against=first).problems == []
    assert verify(against=signed(key)).problems == []


async def test_a_function_that_writes_to_a_store_signs_nothing(store, key):
    with pytest.raises(StoreError, match="can still be undone"):
        await store.write(lambda: sync.head(key=key))
    assert (await store.head(key=key)).size == 0


def test_nothing_is_signed_while_an_import_is_not_complete(path, tmp_path, key):
    with connect(path):
        fill()
        sync.export(tmp_path / "audits.jsonl")
    with connect(tmp_path / "other.db"):
        sync.import_(tmp_path / "audits.jsonl")
        current_database().execute_sql("UPDATE import_heads SET open = 1")
        with pytest.raises(StoreError, match="an import or a copy is not complete"):
            signed(key)
        current_database().execute_sql("UPDATE import_heads SET open = 0")
        made = signed(key)
    assert against(tmp_path / "other.db", made, key).problems == []


# ---- the command line ----


def test_a_checkpoint_is_printed_kept_and_verified(path, ids, tmp_path, key, capsys):
    kept = tmp_path / "kept.txt"
    code, printed, error = run_here(capsys, "head", "--database", path, "--signed", key)
    assert (code, error) == (0, "")
    kept.write_text(printed)
    code, line, _ = run_here(capsys, "vkey", key)
    for given in (line.strip(), key):
        run = run_here(capsys, "verify", "--database", path, "--against", kept, "--key", given)
        assert run[0] == 0, run
    code, _, error = run_here(capsys, "verify", "--database", path, "--against", kept)
    assert code == 2
    assert "name the key that must have signed it, --key KEY" in error
    by_hand(path, "UPDATE audit_events SET digest = zeroblob(32) WHERE id = 3")
    code, _, error = run_here(capsys, "verify", "--database", path, "--against", kept, "--key", key)
    assert code == 1
    assert "are not those of which the checkpoint was signed" in error
    kept.write_text(printed.replace("\n", "\r\n"))
    code, _, error = run_here(capsys, "verify", "--database", path, "--against", kept, "--key", key)
    assert (code, "line ends of Windows" in error) == (1, True)


def test_with_a_key_only_a_checkpoint_will_do(path, ids, tmp_path, key, capsys):
    """Whoever can alter what was kept could put a head, which nobody signs, in its place."""
    with connect(path, read_only=True):
        kept, made = heads.newest_head(), signed(key)
        for one in (str(kept), kept, None, made.note.split("\n", 1)[1]):
            with pytest.raises(NotProven):
                verify(against=one, key=key)
        keys.make_key(tmp_path / "other.key", NAME)
        with pytest.raises(NotProven):
            verify(against=made, key=tmp_path / "other.key")
    (tmp_path / "head.txt").write_text(f"{kept}\n")
    for given in (str(kept), tmp_path / "head.txt"):
        code, _, error = run_here(
            capsys, "verify", "--database", path, "--against", given, "--key", key
        )
        assert (code, "this is a head, which nobody has signed" in error) == (2, True)
    code, _, error = run_here(capsys, "verify", "--database", path, "--key", key)
    assert (code, "is for a signed checkpoint" in error) == (2, True)


def test_a_private_key_that_others_can_read_is_warned_of(path, ids, key, capsys, caplog):
    for mode, warned in ((0o600, 0), (0o644, 1), (0o640, 1), (0o400, 0)):
        key.chmod(mode)
        caplog.clear()
        code, printed, _ = run_here(capsys, "head", "--database", path, "--signed", key)
        assert (code, printed.startswith(NAME)) == (0, True)
        assert [f"its mode is {mode:04o}, so others" in text for text in caplog.messages] == (
            [True] * warned
        )


def test_keys_are_made_and_shown_by_commands(tmp_path, capsys):
    file = tmp_path / "store.key"
    code, line, _ = run_here(capsys, "keygen", file, "--name", NAME)
    assert (code, line.split("+")[0]) == (0, NAME)
    assert run_here(capsys, "vkey", file)[1] == line
    assert run_here(capsys, "vkey", file, "--pem")[1].startswith("-----BEGIN PUBLIC KEY-----")
    code, _, error = run_here(capsys, "keygen", file, "--name", NAME)
    assert (code, "no key is written over it" in error) == (1, True)
    code, _, error = run_here(capsys, "keygen", tmp_path / "b", "--name", "a b")
    assert (code, "cannot be a key's name" in error) == (2, True)


def test_json_of_a_checkpoint_has_its_parts(path, ids, key, capsys):
    code, printed, _ = run_here(capsys, "head", "--database", path, "--signed", key, "--json")
    found = json.loads(printed)
    assert code == 0
    assert sorted(found) == ["head", "note", "origin", "root", "size"]
    assert len(b64decode(found["root"])) == 32
    assert found["size"] == select(path, "SELECT MAX(id) FROM audit_events")[0][0]


def test_a_name_without_a_key_is_wrong_usage(path, ids, capsys):
    code, _, error = run_here(capsys, "head", "--database", path, "--name", "x")
    assert (code, "give --signed KEY too" in error) == (2, True)
