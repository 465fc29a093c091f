"""`doctor` on a server: how it is set up, who uses the store, and what holds vacuum back."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.audits import fill
from tests.support.command_line import run_here
from tests.support.on_server import by_hand, past_triggers
from tests.support.places import Databases
from tests.support.pooler import pooler
from tests.support.postgres import Server
from tests.support.postgres import server as own_server
from veritas_peewee import connect, sync
from veritas_peewee.files.platform import host_name
from veritas_peewee.maintenance import server_room, server_settings
from veritas_peewee.maintenance.diagnosis import Finding
from veritas_peewee.maintenance.doctor import diagnose
from veritas_peewee.migrations.server import KNOWN


@pytest.fixture
def url(server: Databases) -> Iterator[str]:
    with server.new() as made:
        yield made


@pytest.fixture(scope="module")
def durable() -> Iterator[Server]:
    """A server set up as one for work is."""
    with own_server("fsync=on", "max_prepared_transactions=2") as made:
        yield made


def found(url: str, name: str) -> list[Finding]:
    return [one for one in diagnose(url) if one.name == name]


def the(url: str, name: str) -> Finding:
    (one,) = found(url, name)
    return one


def test_a_sound_store_has_no_problem_and_no_warning(durable):
    url = durable.new_database()
    with connect(url):
        fill()
    findings = diagnose(url)
    assert {one.level for one in findings} <= {"ok", "note"}
    names = [one.name for one in findings if one.level == "ok"]
    assert names == ["server", "durability", "encoding", "locks", "rights", "schema", "contents",
                     "holder", "connections", "size", "vacuum"]  # fmt: skip
    assert the(url, "contents").value["audits"] == 4
    assert the(url, "encoding").value["encoding"] == "UTF8"
    assert the(url, "size").value["bytes"] > 0


def test_nothing_is_changed(url):
    tables = [name for (name,) in by_hand(url, "SELECT tablename FROM pg_tables "
                                          "WHERE schemaname = 'public' ORDER BY 1")]  # fmt: skip
    before = [by_hand(url, f"SELECT xmin::text, * FROM {name}") for name in tables]
    diagnose(url)
    assert [by_hand(url, f"SELECT xmin::text, * FROM {name}") for name in tables] == before


def test_a_server_that_does_not_sync_is_a_problem(url):
    finding = found(url, "durability")[0]
    assert finding.level == "problem"
    assert finding.text.startswith("fsync is off: after a crash of the machine the database can")


def test_commits_that_do_not_wait_by_default_are_a_note(durable):
    url = durable.new_database()
    name = url.partition("///")[2].partition("?")[0]
    by_hand(url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    findings = found(url, "durability")
    about_it = [one for one in findings if "synchronous_commit" in one.text]
    assert [one.level for one in about_it] == ["ok", "note"]
    assert findings[0].value["synchronous_commit"] == "on"


def test_another_encoding_is_a_problem(durable):
    by_hand(durable.url(), "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    finding = the(durable.url("latin"), "encoding")
    assert (finding.level, finding.value["encoding"]) == ("problem", "LATIN1")


def test_a_pooler_is_seen(url):
    with pooler(url, by_transaction=True) as pooled:
        (finding,) = diagnose(pooled)
        assert finding.level == "problem"
        assert "a pooler gives this connection away" in finding.text
    with pooler(url, by_transaction=False) as pooled:
        assert the(pooled, "locks").level == "note"


def test_rights_that_lack_are_named(durable):
    url = durable.new_database()
    with connect(url):
        pass
    name = url.partition("///")[2].partition("?")[0]
    by_hand(url, "DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN",
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
            f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")  # fmt: skip
    findings = found(url.replace("user=postgres", "user=reader"), "rights")
    texts = [one.text for one in findings if one.level == "warning"]
    assert len(texts) == 2  # not one for each table
    assert texts[0].startswith("reader lacks INSERT, UPDATE, DELETE on absent_images, audit_cat")
    assert texts[0].endswith(": GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "
                             "reader, or only read")  # fmt: skip
    assert "may make no temporary table" in texts[1]
    assert findings[-1].level == "note"
    assert "for its owner" in findings[-1].text


def test_a_role_without_rights_is_told_so_in_few_lines(durable):
    url = durable.new_database()
    with connect(url):
        pass
    stranger = url.replace("user=postgres", "user=stranger")
    by_hand(url, "DROP ROLE IF EXISTS stranger", "CREATE ROLE stranger LOGIN")
    lines = [one for one in diagnose(stranger) if one.level in ("warning", "problem")]
    assert [(one.level, one.name) for one in lines] == [
        ("problem", "rights"),
        ("problem", "unseen"),
    ]
    assert "lacks SELECT, INSERT, UPDATE, DELETE on absent_images, " in lines[0].text
    assert ", store_state, store_tree, veritas_migrations: GRANT SELECT, INSERT" in lines[0].text
    assert lines[1].text == "without rights to be seen are: schema"
    by_hand(url, "GRANT SELECT ON veritas_migrations TO stranger")
    lines = [one for one in diagnose(stranger) if one.level == "problem"]
    assert lines[1].text == "without rights to be seen are: contents, sessions"


def test_a_server_that_ends_no_transaction_for_how_long_it_lasts_is_a_note(url, monkeypatch):
    assert bool(found(url, "standstill")) == (version_of(url) < server_settings.ENDS_LONG_ONES)
    monkeypatch.setattr(server_settings, "ENDS_LONG_ONES", 990000)
    finding = the(url, "standstill")
    assert finding.level == "note"
    assert "has no transaction_timeout, which 17 has" in finding.text


def version_of(url: str) -> int:
    ((number,),) = by_hand(url, "SELECT current_setting('server_version_num')::int")
    return number


def test_a_database_without_a_store_is_a_warning(durable):
    finding = the(durable.new_database(), "schema")
    assert finding.level == "warning"
    assert "`veritas-peewee init` makes one" in finding.text


def test_a_server_that_cannot_be_reached_is_a_problem(durable):
    (finding,) = diagnose(durable.url("nothing"))
    assert (finding.level, finding.name) == ("problem", "database")
    assert "the server has no database nothing" in finding.text


def test_what_another_program_did_to_the_schema_is_named(url):
    by_hand(url, "CREATE RULE nothing AS ON DELETE TO audits DO INSTEAD NOTHING",
            "DROP INDEX idx_audits_url_time",
            "CREATE INDEX mine ON audits (risk_level)")  # fmt: skip
    levels = {(one.level, one.text.split(" is ")[0]) for one in found(url, "schema")}
    assert levels == {
        ("ok", f"of this version ({KNOWN[-1]})"),
        ("problem", "the rule nothing on audits"),
        ("problem", "the index idx_audits_url_time on audits"),
        ("note", "the index mine on audits"),
    }


# ---- who uses it ----


def test_who_has_it_open_is_named_with_its_host_and_last_sign(url):
    assert the(url, "holder").level == "ok"
    with connect(url):
        sync.create("https://example.com/")
        finding = the(url, "holder")
    assert finding.level == "note"
    assert finding.text.startswith(f"process {os.getpid()} on {host_name()} has it open")
    assert finding.value["state"] == "ALIVE"
    assert finding.value["age"] < 30


def test_a_process_that_has_died_is_told(url):
    by_hand(url, "INSERT INTO store_sessions (told, heartbeat) VALUES ('far 7', "
            "clock_timestamp() - interval '1 hour')")  # fmt: skip
    finding = the(url, "holder")
    assert finding.text.startswith("process 7 on far has died; its last sign of life was 36")
    assert the(url, "sessions").value == {"alive": 0, "dead": 1}


def test_few_connections_left_are_a_warning(url, monkeypatch):
    assert the(url, "connections").level == "ok"
    monkeypatch.setattr(server_room, "FEW_CONNECTIONS", 10_000)
    assert the(url, "connections").level == "warning"


# ---- vacuum ----


def test_what_holds_vacuum_back_is_named(durable, monkeypatch):
    monkeypatch.setattr(server_room, "OLD_SNAPSHOT", 0)
    url = durable.new_database()
    with connect(url):
        pass
    with psycopg.connect(url, application_name="slow report") as reading:
        reading.execute("SELECT 1")
        by_hand(url, "BEGIN", "CREATE TABLE x ()", "PREPARE TRANSACTION 'half'")
        by_hand(url, "SELECT pg_create_physical_replication_slot('unread', true)")
        try:
            texts = [one.text for one in found(url, "snapshot")]
        finally:
            by_hand(url, "ROLLBACK PREPARED 'half'", "SELECT pg_drop_replication_slot('unread')")
    assert any(text.startswith("a transaction of slow report") for text in texts)
    assert any(text.startswith("the prepared transaction half of postgres") for text in texts)
    assert any("nobody reads the replication slot unread" in text for text in texts)


def test_the_row_that_each_write_changes_may_not_pile_up(url, monkeypatch):
    assert found(url, "bloat") == []
    monkeypatch.setattr(server_room, "LARGE_STATE", 0)
    assert the(url, "bloat").level == "warning"


def test_dead_rows_that_nobody_removes_are_a_warning(url, monkeypatch):
    monkeypatch.setattr(server_room, "MANY_DEAD", 0)
    past_triggers(url, "INSERT INTO removed_audits (audit_id, created_at, removed_at) SELECT "
                  "'x', '2026-01-01 00:00:00', '2026-01-01 00:00:00' FROM generate_series(1, 50)",
                  "DELETE FROM removed_audits", "SELECT pg_stat_force_next_flush()",
                  "SELECT 1")  # fmt: skip
    assert any(one.level == "warning" and one.value["table"] == "removed_audits"
               for one in found(url, "vacuum"))  # fmt: skip


# ---- as a command ----


def test_the_command_prints_it_and_ends_with_one_for_a_problem(url, project, capsys):
    result = run_here(capsys, "doctor", "--database", url, "--json")
    assert result.code == 1  # the tests' own server does not sync
    assert result.json["ok"] is False
    assert result.err.startswith("veritas-peewee: durability: fsync is off")
    result = run_here(capsys, "doctor", "--database", url)
    assert "PostgreSQL" in result.out
