"""`verify` on a server: whatever another program has altered, removed or added is named."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.audits import fill
from tests.support.on_server import by_hand, past_triggers, verified
from tests.support.places import Databases
from veritas_peewee import AuditNotFound, ReadOnlyStore, StoreError, connect, sync
from veritas_peewee.ledger.heads import newest_head
from veritas_peewee.maintenance.repair import repairing, strays
from veritas_peewee.migrations import server_catalog, server_parts
from veritas_peewee.recording import operations, recorder, removal


@pytest.fixture
def url(server: Databases) -> Iterator[str]:
    with server.new() as made:
        yield made


@pytest.fixture
def ids(url: str) -> list[str]:
    with connect(url):
        return fill()


def head_of(url: str) -> str:
    with connect(url, read_only=True):
        return str(newest_head())


# ---- what is whole ----


def test_a_store_is_whole_after_every_kind_of_write(url, ids):
    before = head_of(url)
    with connect(url):
        removal.delete(ids[1])
        operations.update(ids[0], narrative="other")
        recorder.record(ids[2], {"type": "log_entry", "message": "after its end"})
    report = verified(url, before)
    assert (report.problems, report.unchecked, report.notes) == ([], [], [])
    assert (report.audits, report.files) == (3, 3)
    assert report.events == by_hand(url, "SELECT COUNT(*) FROM audit_events")[0][0] > 20


def test_an_empty_store_is_whole_and_has_a_head(url):
    head = head_of(url)
    assert head.startswith("0-0-0-")
    assert verified(url, against=head).ok


def test_verify_is_as_of_one_moment_and_holds_up_no_writer(url, ids):
    with connect(url, read_only=True):
        seen = []

        def meanwhile(done: int, total: int) -> None:
            if not seen:
                by_hand(url, "SELECT 1")
            seen.append(total)

        from veritas_peewee.maintenance.verify import verify

        assert verify(progress=meanwhile, files=False).ok
        assert seen == [4]


def test_one_audit_is_checked_by_itself(url, ids):
    past_triggers(url, f"UPDATE audits SET narrative = 'x' WHERE id = '{ids[0]}'")
    with connect(url, read_only=True):
        assert sync.verify(ids[1]) == []
        assert sync.verify(ids[0])[0].startswith(f"audit {ids[0]}: its row was altered")
        with pytest.raises(AuditNotFound):
            sync.verify("nobody")


# ---- rows ----


ALTERED = {
    "UPDATE audits SET trust_score = 1 WHERE id = '{0}'": ["audit {0}: its row was altered"],
    "UPDATE audits SET seal = NULL WHERE id = '{0}'": ["audit {0} has no seal"],
    "UPDATE audits SET host = 'x' WHERE id = '{0}'": ["audit {0}: host is not that of its url"],
    "UPDATE audits SET screenshots_count = 7 WHERE id = '{0}'":
        ["audit {0}: its row was altered", "audit {0}: screenshots_count is not 1"],
    "UPDATE audit_findings SET severity = 'low' WHERE id = 1": ["finding 1 of audit {0}"],
    "DELETE FROM audit_findings WHERE id = 1": ["audit {0}: its row was altered"],
    "UPDATE audit_screenshots SET label = 'x' WHERE id = 1": ["screenshot 1 of audit {0}"],
    "UPDATE audit_events SET data = '{{}}' WHERE id = 2": ["event 2 of audit {0} was altered"],
    "UPDATE audit_events SET digest = NULL WHERE id = 2": ["event 2 of audit {0} was not written"],
    "DELETE FROM audit_events WHERE id = 2":
        ["event 3 of audit {0} was altered", "event 2: missing from the store"],
    "DELETE FROM audit_catalog WHERE audit_id = '{0}'":
        ["audit {0}: its entry in the catalog is not what it holds"],
    "UPDATE audit_catalog SET status = 'error' WHERE audit_id = '{0}'":
        ["audit {0}: its entry in the catalog is not what it holds"],
    "DELETE FROM audit_patterns WHERE audit_id = '{0}'":
        ["the patterns of audits are not those of the catalog"],
    "UPDATE audit_counts SET audits = audits + 1 WHERE pattern_type = ''":
        ["the counts of audits are not those of the catalog"],
    "UPDATE audit_catalog SET words = NULL WHERE audit_id = '{0}'":
        ["the full-text index is not that of the catalog"],
    "UPDATE audit_catalog SET words = words || 'other:9' WHERE audit_id = '{0}'":
        ["the full-text index is not that of the catalog"],
    "DELETE FROM audits WHERE id = '{0}'":
        ["2 rows of audit_findings belong to a row of audits that is missing: {0}"],
    "INSERT INTO removed_events VALUES (1, '{0}', NULL)":
        ["event 1: another event had this id", "event 1 of audit {0} was removed by itself"],
    "UPDATE store_changes SET number = -1": ["row 1 of store_changes: its number was not written"],
    "DELETE FROM store_changes": ["store_changes has another number of rows than one"],
    "DELETE FROM store_state": ["store_state has another number of rows than one"],
    "INSERT INTO store_heads VALUES (99, 'x')":
        ["row 99 of store_heads: its digest was not written", "up to event 99 the log is not"],
    "DELETE FROM veritas_migrations": ["the record of migrations, veritas_migrations, is not"],
    "SELECT setval('audit_findings_id_seq', 3)":
        ["the numbers of audit_findings continue after 3, and there is 8 already"],
}  # fmt: skip


@pytest.mark.parametrize("statement", ALTERED)
def test_what_another_program_does_to_rows_is_named(url, ids, statement):
    past_triggers(url, statement.format(*ids))
    problems = verified(url).problems
    for wanted in ALTERED[statement]:
        assert any(text.startswith(wanted.format(*ids)) for text in problems), problems


def test_an_image_that_is_missing_or_altered_is_named(url, ids):
    past_triggers(
        url,
        f"DELETE FROM store_images WHERE file_path LIKE '{ids[0]}%'",
        f"UPDATE store_images SET data = 'other' WHERE file_path LIKE '{ids[1]}%'",
    )
    missing, altered = sorted(verified(url).problems)
    assert missing.startswith(f"screenshot 1 of audit {ids[0]}: ")
    assert altered.startswith(f"screenshot 2 of audit {ids[1]}: ")
    assert altered.endswith("was altered")


def test_what_was_cut_off_is_noticed_by_a_head(url, ids):
    head = head_of(url)
    past_triggers(url, *(
        f"DELETE FROM {table} WHERE {column} = '{ids[3]}'"
        for table, column in (("audit_events", "audit_id"), ("audit_findings", "audit_id"),
                              ("audit_screenshots", "audit_id"), ("audit_runners", "audit_id"),
                              ("audits", "id"))
    ))  # fmt: skip
    assert verified(url).problems == []
    problems = verified(url, head).problems
    assert any("are gone: the head that was kept is of event" in text for text in problems)
    assert any("1 audits that were there when the head was kept are gone" in one
               for one in problems)  # fmt: skip


def test_what_cannot_be_read_leaves_the_rest_to_be_checked(url, ids):
    past_triggers(url, "ALTER TABLE audit_findings RENAME TO findings",
                  f"UPDATE audits SET host = 'x' WHERE id = '{ids[1]}'")  # fmt: skip
    problems = verified(url).problems
    assert any('relation "audit_findings" does not exist' in text for text in problems)
    assert f"audit {ids[1]}: host is not that of its url" in problems
    assert "the table audit_findings is missing" in problems


# ---- the schema ----


ACTING = {
    "CREATE TRIGGER other BEFORE INSERT ON audits FOR EACH ROW EXECUTE FUNCTION "
    "suppress_redundant_updates_trigger()": "the trigger other on audits",
    "CREATE RULE nothing AS ON DELETE TO audits DO INSTEAD NOTHING": "the rule nothing on audits",
    "CREATE UNIQUE INDEX one_url ON audits (url)": "the index one_url on audits",
    "CREATE POLICY own ON audits USING (true)": "the policy own on audits",
    "ALTER TABLE audits ADD CONSTRAINT short CHECK (length(url) < 30)":
        "the constraint short on audits",
}  # fmt: skip


@pytest.mark.parametrize("statement", ACTING)
def test_nothing_is_written_through_what_another_program_has_added(url, ids, statement):
    by_hand(url, statement)
    (problem,) = verified(url).problems
    assert problem.startswith(f"{ACTING[statement]} is not of this library and acts on what")
    with pytest.raises(ReadOnlyStore, match=ACTING[statement]), connect(url):
        pass
    by_hand(url, problem.partition("writes: ")[2])  # the statement that it names
    assert verified(url).problems == []
    with connect(url):
        operations.create("https://again.example/")


DERIVED = {
    "DROP TRIGGER veritas_audit_changed ON audits":
        "the trigger veritas_audit_changed on audits is missing",
    "ALTER TABLE audits DISABLE TRIGGER veritas_audit_changed":
        "the trigger veritas_audit_changed on audits is not that of this version",
    "DROP INDEX idx_audits_url_time": "the index idx_audits_url_time on audits is missing",
    "DROP INDEX idx_catalog_words ;; CREATE INDEX idx_catalog_words ON audit_catalog (id)":
        "the index idx_catalog_words on audit_catalog is not that of this version",
    "DROP VIEW removed": "the view removed is missing",
    "CREATE OR REPLACE VIEW event_log AS SELECT 1::bigint AS id, ''::text COLLATE \"C\" AS "
    "audit_id, ''::text COLLATE \"C\" AS url, ''::text COLLATE \"C\" AS timestamp, "
    "''::text COLLATE \"C\" AS event_type, '' AS data, '' AS digest":
        "the view event_log is not that of this version",
    "CREATE OR REPLACE FUNCTION count_screenshots() RETURNS trigger LANGUAGE plpgsql "
    "AS 'BEGIN RETURN NULL; END'": "the function count_screenshots is not that of this version",
    "DROP FUNCTION count_entry CASCADE": "the function count_entry is missing",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_audits_url'::regclass":
        "the index idx_audits_url on audits is not that of this version",
}  # fmt: skip


@pytest.mark.parametrize("statement", DERIVED)
def test_what_holds_no_rows_is_named_and_made_again_by_the_next_writer(url, ids, statement, caplog):
    by_hand(url, *statement.split(" ;; "))
    problems = verified(url).problems
    assert any(text.startswith(DERIVED[statement]) for text in problems), problems
    with connect(url):
        operations.create("https://again.example/")
    assert "is made again; another program has changed the schema" in caplog.text
    assert verified(url).problems == []
    caplog.clear()
    with connect(url):
        pass
    assert caplog.text == ""


OF_TABLES = {
    "ALTER TABLE audit_runners ALTER COLUMN session TYPE varchar(500)":
        "the column audit_runners.session is not that of this version: it is '2 character "
        "varying(500) NOT NULL', not '2 text COLLATE C NOT NULL'",
    "ALTER TABLE audits ALTER COLUMN url DROP NOT NULL":
        "the column audits.url is not that of this version",
    "ALTER TABLE audits DROP COLUMN verdict_mode CASCADE":
        "the column audits.verdict_mode is missing",
    "ALTER TABLE audit_findings DROP CONSTRAINT audit_findings_audit_id_fkey":
        "the constraint audit_findings_audit_id_fkey on audit_findings is missing",
    "ALTER TABLE audit_events DISABLE TRIGGER ALL":
        "the constraint audit_events_audit_id_fkey on audit_events is not that of this version",
    "ALTER TABLE store_changes SET UNLOGGED":
        "the table store_changes is not that of this version: it is 'r u', not 'r p'",
    "ALTER TABLE audits ENABLE ROW LEVEL SECURITY":
        "the table audits is not that of this version",
}  # fmt: skip


@pytest.mark.parametrize("statement", OF_TABLES)
def test_an_altered_table_is_named_and_not_written(url, ids, statement):
    by_hand(url, statement)
    problems = verified(url).problems
    assert any(text.startswith(OF_TABLES[statement]) for text in problems), problems
    with pytest.raises(ReadOnlyStore, match="mended by hand"), connect(url):
        pass


def test_what_another_program_adds_beside_is_a_note(url, ids):
    by_hand(url, "CREATE INDEX mine ON audits (risk_level)",
            "CREATE TABLE notes (audit text REFERENCES audits (id), body text)",
            "ALTER TABLE audits ADD COLUMN remark text")  # fmt: skip
    report = verified(url)
    assert report.problems == []
    assert report.notes == [
        "the column audits.remark is not of this library, and does not act on it",
        "the index mine on audits is not of this library, and does not act on it",
        "the table notes is not of this library; its rows keep those of audits (notes_audit_fkey)",
    ]
    with connect(url):
        operations.create("https://again.example/")


def test_the_schema_that_was_just_made_is_the_one_that_is_known(url):
    """Whoever changes the schema puts its new digests into `server_parts`."""
    with connect(url, read_only=True) as database:
        parts = server_catalog.parts_in(database.raw.execute, "public")
        views, others = server_parts.digests_of(parts)
        assert views in server_parts.VIEWS
        assert others == server_parts.DIGEST


@pytest.mark.parametrize(
    "statement", ["DELETE FROM veritas_migrations", "DROP TABLE veritas_migrations"]
)
def test_the_record_of_migrations_is_made_again_and_none_runs_twice(url, ids, statement, caplog):
    by_hand(url, statement)
    assert "the record of migrations, veritas_migrations" in verified(url).problems[-1]
    with connect(url):
        pass
    assert "lacked 0001_initial" in caplog.text
    assert verified(url).problems == []


def test_a_schema_of_the_version_before_is_brought_up_and_looked_at(url, ids):
    by_hand(url, "DROP TABLE store_tree",
            "DELETE FROM veritas_migrations WHERE name > '0001_initial'",
            "DROP INDEX idx_audits_url_time")  # fmt: skip
    with pytest.raises(StoreError, match="has an older schema"), connect(url, read_only=True):
        pass
    with connect(url):
        operations.create("https://again.example/")
    assert verified(url).problems == []


def test_a_schema_of_another_name_is_the_same(server, url):
    by_hand(url, 'CREATE SCHEMA "Of-us"')
    other = f"{url}&options=-csearch_path%3D%22Of-us%22"
    with connect(other) as database:
        ids = fill(1)
        assert len(ids) == 2
        assert not server_parts.differences(database)
    assert verified(other).problems == []


def test_what_this_user_may_not_read_is_no_damage(url, ids):
    by_hand(url, "DROP ROLE IF EXISTS half_blind", "CREATE ROLE half_blind LOGIN",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO half_blind",
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO half_blind",
            "REVOKE SELECT ON audit_patterns FROM half_blind")  # fmt: skip
    report = verified(url.replace("user=postgres", "user=half_blind"))
    assert report.problems == []
    assert report.unchecked == [
        "the catalog: could not be checked: PostgreSQL: permission denied for table audit_patterns"
    ]
    by_hand(url, "DROP OWNED BY half_blind", "DROP ROLE half_blind")


# ---- mended ----


MENDED = {
    "UPDATE audits SET screenshots_count = 7 WHERE id = '{0}'": "audit {0}: screenshots_count is 1",
    "UPDATE audits SET host = 'x'": "gave 3 audits the host of their url",
    "DELETE FROM audit_catalog": "renewed the catalog's entries of 3 audits",
    "DELETE FROM audit_patterns": "made the patterns of audits again",
    "DELETE FROM audit_counts": "counted the audits again",
    "UPDATE audit_catalog SET words = NULL": "built the full-text index again",
    "UPDATE audit_catalog SET patterns = 'x'": "made the catalog and the full-text index anew",
    "SELECT setval('audit_findings_id_seq', 3)": "the numbers of audit_findings continue after 8",
    "DROP TABLE audit_counts": "made the table audit_counts, which was missing, without any row",
    "DROP FUNCTION remember_removed_audits CASCADE":
        "the function remember_removed_audits was missing, and is made again",
}  # fmt: skip


@pytest.mark.parametrize("statement", MENDED)
def test_what_is_derived_is_mended(url, ids, statement):
    past_triggers(url, statement.format(*ids))
    assert verified(url).problems
    with repairing(url) as done:
        pass
    assert MENDED[statement].format(*ids) in done
    assert verified(url).problems == []
    with repairing(url) as done:
        assert done == []


def test_an_image_that_no_row_names_is_removed(url, ids):
    past_triggers(url, "INSERT INTO store_images (file_path, data) VALUES ('x/left.png', 'x')")
    with connect(url, read_only=True):
        assert strays() == ["x/left.png"]
    with repairing(url) as done:
        assert done == ["removed the image x/left.png, which no row names"]
    assert verified(url).files == 4


def test_what_was_lost_or_altered_is_never_made_to_look_right(url, ids):
    past_triggers(url, f"UPDATE audits SET trust_score = 1 WHERE id = '{ids[0]}'",
                  f"DELETE FROM audit_events WHERE audit_id = '{ids[1]}' AND id = "
                  f"(SELECT max(id) FROM audit_events WHERE audit_id = '{ids[1]}')")  # fmt: skip
    with repairing(url):
        pass
    problems = verified(url).problems
    assert any(text.startswith(f"audit {ids[0]}: its row was altered") for text in problems)
    assert f"audit {ids[1]}: the last 1 events of its log are missing" in problems


def test_who_may_only_read_the_rows_is_told_no_problem(url, ids):
    name = f"only_reads_{os.getpid()}"
    by_hand(url, f"CREATE ROLE {name} LOGIN",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")  # fmt: skip
    try:
        assert verified(url.replace("user=postgres", f"user={name}")).problems == []
    finally:
        by_hand(url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")
