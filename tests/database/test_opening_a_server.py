"""What keeps a store on a server from being opened is one line, of the right class, and never has a
password in it."""

from __future__ import annotations

import re
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from tests.support.command_line import run_here
from tests.support.on_server import by_hand, verified
from tests.support.places import Databases
from tests.support.pooler import pooler
from tests.support.postgres import Server
from tests.support.postgres import server as own_server
from tests.support.processes import ROOT
from veritas_peewee import AuditStore, ReadOnlyStore, StoreBusy, StoreError, connect, sync
from veritas_peewee.config import locate
from veritas_peewee.database.current import current_database
from veritas_peewee.database.postgres_opening import opening_error
from veritas_peewee.maintenance.doctor import diagnose
from veritas_peewee.maintenance.verify import verify

SECRET = "open sesame"


@pytest.fixture
def url(server: Databases) -> Iterator[str]:
    with server.new() as made:
        yield made


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server that lets some users in by their password only, and one not at all."""
    with own_server() as made:
        by_hand(made.url(), f"CREATE ROLE careful LOGIN PASSWORD '{SECRET}'",
                "CREATE ROLE banned LOGIN", "CREATE ROLE many LOGIN CONNECTION LIMIT 0",
                "CREATE ROLE guest LOGIN", "CREATE DATABASE closed",
                "REVOKE CONNECT ON DATABASE closed FROM PUBLIC")  # fmt: skip
        rules = made.folder / "data" / "pg_hba.conf"
        rules.write_text("local all careful scram-sha-256\nlocal all banned reject\n"
                         "local all all trust\n")  # fmt: skip
        by_hand(made.url(), "SELECT pg_reload_conf()", "SELECT pg_sleep(0.05)")
        yield made


def refused(url: str) -> StoreError:
    """The error of opening a store, in which there is no password, whatever is printed of it."""
    with pytest.raises(StoreError) as caught, connect(url):
        pass
    shown = "".join(traceback.format_exception(caught.value, chain=True))
    for text in (shown, str(caught.value), repr(caught.value), repr(locate(url))):
        assert SECRET not in text
        assert quote(SECRET) not in text
        assert "wrong" not in text.replace("is not the right one", "")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{locate(url).name}: ")
    return caught.value


REFUSED = {
    ("nothing", "postgres"): (StoreError, "the server has no database nothing: `createdb nothing`"),
    ("postgres", "nobody"): (StoreError, "the server knows no user nobody"),
    ("postgres", "careful"): (StoreError, "the server wants a password"),
    ("postgres", "careful&password=wrong"):
        (StoreError, "the password for the user careful is not the right one"),
    ("postgres", "banned&password=" + quote(SECRET)):
        (StoreError, "the server does not let this user in from here"),
    ("postgres", "many"): (StoreBusy, "the server has no connection left"),
    ("closed", "guest"): (StoreError, "this user may not connect to the database"),
}  # fmt: skip


@pytest.mark.parametrize(("database", "user"), REFUSED)
def test_a_server_that_lets_nobody_in_is_named_with_the_cause(guarded, database, user):
    kind, text = REFUSED[database, user]
    made = guarded.url(database).replace("user=postgres", f"user={user}")
    error = refused(made)
    assert type(error) is kind
    assert f"{locate(made).name}: {text}" in str(error)


def test_the_right_password_opens_it(guarded):
    made = guarded.url().replace("user=postgres", f"user=careful&password={quote(SECRET)}")
    by_hand(guarded.url(), "CREATE SCHEMA careful AUTHORIZATION careful")
    with connect(made) as database:
        assert SECRET not in database.name


def test_a_place_without_a_server_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for place in (
        f"postgresql://u:{quote(SECRET)}@127.0.0.1:{port}/x",
        f"postgresql://u:{quote(SECRET)}@/x?host={quote(str(tmp_path), safe='')}",
    ):
        assert "no server answers there" in str(refused(place))  # fmt: skip


def test_a_host_that_does_not_exist_is_named():
    error = refused(f"postgresql://u:{quote(SECRET)}@no-such-host.invalid/x")
    assert "there is no host of that name" in str(error)


WRONG = {
    "?bad=1": "the URL has a parameter bad, which libpq does not know",
    "?sslmode=bogus": 'a part of the URL is not right: invalid sslmode value: "bogus"',
    "?target_session_attrs=x": "a part of the URL is not right: invalid target_session_attrs value",
    "?host": 'a part of the URL is not right: missing key/value separator "=" in URI',
    "?application_name=%zz": "a part of the URL is not right: invalid percent-encoded token",
}  # fmt: skip


@pytest.mark.parametrize("query", WRONG)
def test_what_is_wrong_in_a_url_is_said(guarded, query):
    place = f"postgresql:///postgres{query}"
    if "host" not in query:
        place += f"&host={quote(str(guarded.folder), safe='')}"
    error = refused(place)
    assert f"{locate(place).name}: {WRONG[query]}" in str(error)
    assert "be reached" not in str(error)


@pytest.mark.parametrize(("place", "port"), {
    "localhost:99999/x": "port 99999 of localhost", "localhost:0/x": "port 0 of localhost",
    "localhost:-5/x": "port -5 of localhost", "a:1,b:x/y": "port of b",
    "u:pw@localhost:notaport/x": "port of localhost", "[::1]:70000/x": "port 70000 of []",
    "/x?port=70000": "port 70000", "/x?port=1,x": "port", f"u:{SECRET}": "port of u",
}.items())  # fmt: skip
def test_a_port_that_is_none_is_named_before_anything_is_looked_for(place, port):
    with pytest.raises(StoreError) as caught:
        locate(f"postgresql://{place}")
    assert f"the {port} is not a number from 1 to 65535" in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("place", [
    "localhost:1/x", "a:1,b:65535/x", "a,b:/x", "[::1]/x", "[::1]:5432/x", "u:70000@h/x", "/x",
    "/x?port=1,2", "",
])  # fmt: skip
def test_ports_that_are_ones_are_taken(place):
    assert locate(f"postgresql://{place}").server


@pytest.mark.parametrize("place", [
    f"postgresql://u:{SECRET}/more@127.0.0.1:1/x", f"postgresql://u:a@{SECRET}@127.0.0.1:1/x",
    f"postgresql://u:{SECRET}?x@127.0.0.1:1/x", f"postgresql://127.0.0.1:1/x?password={SECRET}%",
    f"postgresql://u@127.0.0.1:1/x?sslpassword={quote(SECRET)}&nothing=1",
])  # fmt: skip
def test_a_malformed_url_does_not_show_its_password(place):
    refused(place)


SAID = {
    'connection to server at "db", port 5432 failed: FATAL:  no pg_hba.conf entry for host '
    '"10.0.0.1", user "u", database "d", no encryption': "only with TLS (add ?sslmode=require)",
    "server does not support SSL, but SSL was required": "the server does not offer it",
    'root certificate file "/home/u/.postgresql/root.crt" does not exist':
        "the file /home/u/.postgresql/root.crt, and there is none, or it cannot be read: name",
    'could not read root certificate file "/home/u/notes": shutdown while in init':
        "the file /home/u/notes, and there is none, or it cannot be read: name",
    'connection to server at "127.0.0.1", port 5432 failed: server certificate for "db.example" '
    '(and 1 other name) does not match host name "127.0.0.1"':
        "made out to db.example, and the URL says 127.0.0.1: write that name there",
    "SSL error: certificate verify failed": "it has expired, or is not signed by the authority",
    "FATAL:  sorry, too many clients already": "the server has no connection left",
    "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute":
        "the server has no connection left",
    "FATAL:  the database system is starting up": "the server is starting up: try again",
    "transaction blocks not allowed in statement pooling mode": "or to a pooler in session mode",
    "connection timeout expired": "the server does not answer",
    "something new": "the server cannot be reached: something new",
}  # fmt: skip


@pytest.mark.parametrize("told", SAID)
def test_what_libpq_says_has_a_remedy(told):
    error = opening_error(RuntimeError(told), locate("postgresql://u:pw@db/d"))
    assert SAID[told] in str(error)
    assert str(error).startswith("postgresql://u@db/d: ")
    assert isinstance(error, StoreBusy) == ("connection left" in str(error) or "starting" in told)


async def test_the_facade_says_the_same(guarded):
    with pytest.raises(StoreError, match="the server has no database nothing"):
        async with AuditStore.open(guarded.url("nothing")):
            pass


# ---- a server that is there ----


def test_a_schema_that_does_not_exist_is_named(url):
    assert "none of the schemas in search_path exists" in str(
        refused(f"{url}&options=-csearch_path%3Dnone")
    )


def test_a_role_that_may_not_make_tables_is_told_so(guarded):
    error = refused(guarded.url().replace("user=postgres", "user=guest"))
    assert isinstance(error, ReadOnlyStore)
    assert "this user may not make the store's tables: GRANT CREATE on the schema" in str(error)


def granted(role: str, database: str) -> list[str]:
    """The statements of the guide for a role."""
    guide = (ROOT / "docs" / "server.md").read_text()
    (sql,) = re.findall(r"^```text\n(-- .*?)^```", guide, re.MULTILINE | re.DOTALL)
    lines = [line.rstrip(";") for line in sql.splitlines() if line.endswith(f" TO {role};")]
    return [line.replace("DATABASE audits", f"DATABASE {database}") for line in lines]


READING = ("history", "show one", "search shop", "stats", "trend https://shop.example/", "head",
           "verify", "watch one", "export --output {folder}/x", "compare one two")  # fmt: skip


@pytest.mark.parametrize("role", ["reader", "recorder"])
def test_the_rights_that_the_guide_names_are_enough_and_no_more(
    guarded, project, capsys, tmp_path, role
):
    url = guarded.new_database()
    with connect(url):
        for name in ("one", "two"):
            sync.create("https://shop.example/", id=name)
            sync.record(name, {"type": "audit_complete"})
    name = url.partition("///")[2].partition("?")[0]
    by_hand(url, f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role} LOGIN",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC", "REVOKE ALL ON SCHEMA public FROM PUBLIC",
            *granted(role, name))  # fmt: skip
    as_role = url.replace("user=postgres", f"user={role}")
    for command in READING:
        words = command.format(folder=tmp_path).split()
        result = run_here(capsys, *words, "--database", as_role)
        assert (result.code, result.err) == (0, ""), (command, result)
    if role == "recorder":
        records(as_role)
    else:
        assert isinstance(refused(as_role), ReadOnlyStore)
    levels = {one.level for one in diagnose(as_role) if one.name in ("rights", "unseen")}
    assert levels == ({"ok", "note"} if role == "recorder" else {"warning", "note"})
    by_hand(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    guarded.drop_database(url)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_text_is_refused(guarded, project, capsys, encoding):
    name = f"in_{encoding.lower()}"
    by_hand(guarded.url(), f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' "
            "TEMPLATE template0")  # fmt: skip
    url = guarded.url(name)
    assert f"the encoding of this database is {encoding}, in which not every text" in str(
        refused(url)
    )
    result = run_here(capsys, "init", "--database", url)
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "createdb --template template0 --encoding UTF8" in result.err
    assert by_hand(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []


COMMANDS = ("history", "show one", "search x", "stats", "trend https://one.example/", "head",
            "verify", "watch one", "export", "show one --json", "compare one two",
            "delete one --yes", "prune --keep 1 --yes", "verify --fix", "init")  # fmt: skip


@pytest.mark.parametrize("lacks", ["every right", "the schema", "a table"])
def test_every_command_says_what_a_role_without_rights_lacks(guarded, project, capsys, lacks):
    url = guarded.new_database()
    with connect(url):
        for name in ("one", "two"):
            sync.create("https://one.example/", id=name)
    if lacks == "the schema":
        by_hand(url, "REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    elif lacks == "a table":
        by_hand(url, "GRANT SELECT ON veritas_migrations TO guest")
    as_guest = url.replace("user=postgres", "user=guest")
    for command in COMMANDS:
        result = run_here(capsys, *command.split(), "--database", as_guest)
        assert (result.code, result.err.count("\n")) == (1, 1), (command, result)
        assert "an error of the program" not in result.err, (command, result)
        wanted = "GRANT USAGE ON SCHEMA" if lacks == "the schema" else "GRANT"
        assert wanted in result.err, (command, result)
    guarded.drop_database(url)


@pytest.fixture
def recorder(guarded: Server) -> Iterator[str]:
    """A store as one who only records opens it, with the rights that the guide names."""
    url = guarded.new_database()
    with connect(url):
        pass
    by_hand(url, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO guest",
            "GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO guest",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC")  # fmt: skip
    yield url.replace("user=postgres", "user=guest")
    guarded.drop_database(url)


def records(url: str) -> None:
    with connect(url):
        audit = sync.ingest({"url": "https://example.com/", "status": "completed"})
    with connect(url, read_only=True):
        assert sync.verify(audit.id) == []
        assert verify().ok


def test_who_only_records_needs_no_more_than_the_rights_to_rows(recorder):
    records(recorder)
    by_hand(recorder.replace("guest", "postgres"), "ALTER TABLE audits ADD COLUMN remark text",
            "CREATE INDEX mine ON audits (remark)")  # fmt: skip
    records(recorder)


def test_who_may_not_mend_the_schema_does_not_write_through_it(recorder):
    by_hand(recorder.replace("guest", "postgres"), "DROP TRIGGER count_screenshots_insert "
            "ON audit_screenshots")  # fmt: skip
    error = refused(recorder)
    assert isinstance(error, ReadOnlyStore)
    assert "which part of it cannot be seen by this role: let the owner" in str(error)
    with connect(recorder, read_only=True):
        assert verify().problems[0].startswith("the schema is not that of this version; which part")


def test_a_standby_is_only_read(tmp_path):
    with own_server() as made:
        url = made.new_database()
        with connect(url):
            pass
        made.stop()
        signal = Path(made.folder, "data", "standby.signal")
        signal.touch()
        made.start("fsync=off")
        with pytest.raises(ReadOnlyStore, match="this server is a standby"), connect(url):
            pass
        with connect(url, read_only=True) as database:
            assert database.get_tables()


@pytest.mark.parametrize("function", ["pg_advisory_lock_shared", "pg_try_advisory_lock"])
def test_a_server_whose_locks_keep_nobody_out_is_refused(url, function):
    returns, value = ("void", "") if function.endswith("shared") else ("boolean", "true")
    by_hand(url, f"CREATE FUNCTION {function}(int, int) RETURNS {returns} LANGUAGE sql "
            f"AS 'SELECT {value}'")  # fmt: skip
    error = refused(f"{url}&options=-csearch_path%3Dpublic%2Cpg_catalog")
    assert "gives a lock to two connections at once" in str(error)


def test_a_pooler_that_gives_connections_away_is_refused(url):
    with pooler(url, by_transaction=True) as pooled:
        error = refused(pooled)
    assert "a pooler gives this connection away after each transaction" in str(error)


def test_a_refused_pooler_hands_nothing_that_the_store_has_set_to_others(url):
    """Whoever got that session of the server next could not write."""
    asked = (
        b"SELECT current_setting('default_transaction_read_only'), current_setting('lock_timeout'),"
        b" current_setting('jit'), current_setting('veritas.listens', true)"
    )
    with pooler(url, by_transaction=True) as pooled:
        with psycopg.connect(pooled, autocommit=True) as other:
            before = other.execute(asked).fetchone()
        refused(pooled)
        with (
            pytest.raises(StoreError, match="gives this connection away"),
            connect(pooled, read_only=True),
        ):
            pass
        with psycopg.connect(pooled, autocommit=True) as other:
            assert other.execute(asked).fetchone() == before


def test_a_pooler_in_session_mode_is_one_like_any_other(url):
    with pooler(url, by_transaction=False) as pooled, connect(pooled) as database:
        assert database.get_tables()


# ---- settings of a role's or of a database's own ----


@pytest.mark.anyio
async def test_a_limit_of_the_database_s_own_ends_no_statement_of_the_store(server, url):
    def waits() -> int:
        rows = current_database().execute_sql("SELECT pg_sleep(0.5), 1").fetchall()
        return int(rows[0][1])

    name = url.partition("///")[2].partition("?")[0]
    by_hand(url, f"ALTER DATABASE {name} SET statement_timeout = '200ms'")
    if server.running.ask("SELECT current_setting('transaction_timeout', true)")[0] is not None:
        by_hand(url, f"ALTER DATABASE {name} SET transaction_timeout = '300ms'")
    async with AuditStore.open(url) as store:
        assert (await store.read(waits), await store.write(waits)) == (1, 1)
    # One that whoever opens it states is for this store.
    async with AuditStore.open(f"{url}&options=-cstatement_timeout%3D400") as store:
        for ask in (store.read, store.write):
            with pytest.raises(StoreError, match="`statement_timeout` is too short in the URL"):
                await ask(waits)


def test_names_that_the_database_would_quote_are_no_alteration_of_the_schema(url):
    with connect(url):
        sync.create("https://a.example/")
    name = url.partition("///")[2].partition("?")[0]
    by_hand(url, f"ALTER DATABASE {name} SET quote_all_identifiers = on")
    assert verified(url).problems == []


def test_triggers_act_though_the_default_of_the_database_is_that_of_a_replica(url):
    with connect(url):
        audit = sync.create("https://a.example/")
        sync.record(audit.id, {"type": "log_entry", "message": "removed with it"})
    name = url.partition("///")[2].partition("?")[0]
    by_hand(url, f"ALTER DATABASE {name} SET session_replication_role = replica")
    with connect(url):
        sync.delete(audit.id)
    assert by_hand(url, "SELECT count(*) FROM audit_events") == [(0,)]
    assert verified(url).problems == []
