"""Many processes on one file, forks, cancellations, and what opening and closing leaves behind."""

import contextvars
import os

import pytest

from tests.support.processes import forked
from torture import processes
from torture.model import FAULTS, OK, Run
from veritas_peewee import Audit, AuditStore, StoreError, connect
from veritas_peewee.files.sessions import State, look
from veritas_peewee.recording import operations

pytestmark = [
    pytest.mark.ends_within(110),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def in_child(check):
    """Run `check` in a forked child that has nothing open here; its process id."""
    return forked(lambda: contextvars.Context().run(check))


@pytest.mark.parametrize(
    ("name", "rounds"),
    [("two-processes", 1), ("held-lock", 1), ("open-race", 2), ("fork", 4),
     ("cancellations", 400), ("open-close", 40)],
)  # fmt: skip
def test_a_fault_of_processes_costs_nothing(tmp_path, name, rounds):
    assert processes
    for row in FAULTS[name].function(Run(rounds, tmp_path, seed=1)):
        assert (row.verdict, row.problems) == (OK, [])
        assert row.acknowledged


def test_a_forked_child_does_not_keep_its_parents_session_alive(tmp_path):
    """The parent dies while its child lives on: its audits are told."""
    path = tmp_path / "audits.db"
    ready, go, up = os.pipe(), os.pipe(), os.pipe()

    def live_on():
        os.write(up[1], b"x")
        os.read(go[0], 1)

    def parent():
        with connect(path) as database:
            audit = operations.create("https://example.com", id="running")
            operations.update_status(audit.id, "running")
            in_child(live_on)
            os.read(up[0], 1)  # it has let go of what it was given by the fork
            os.write(ready[1], database.session.id.encode())
            os._exit(0)  # without a word, as a process that is killed

    os.waitpid(in_child(parent), 0)
    session = os.read(ready[0], 16).decode()
    assert look(tmp_path / "audits.db-sessions", session) is State.DEAD
    with connect(path):
        assert Audit.get_by_id("running").status == "disconnected"
    os.write(go[1], b"x")
    for one in (*ready, *go, *up):
        os.close(one)


def test_what_a_forked_child_is_told_is_saved_stays_saved(tmp_path):
    path = tmp_path / "audits.db"
    opened, closed = os.pipe(), os.pipe()

    def child():
        try:
            with connect(path):
                Audit.select().count()
                os.write(opened[1], b"x")
                os.read(closed[0], 1)
                operations.create("https://example.com", id="acknowledged")
                os._exit(0)
        except StoreError:
            os.write(opened[1], b"refused"[:1])
            os._exit(7)

    with connect(path):
        operations.create("https://example.com", id="parent")
        pid = in_child(child)
        os.read(opened[0], 1)
    os.write(closed[1], b"x")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for one in (*opened, *closed):
        os.close(one)
    with connect(path):
        found = {audit.id for audit in Audit.select()}
    assert code == 7 or "acknowledged" in found


async def test_a_store_is_unharmed_by_a_child_that_drops_it(tmp_path):
    async with AuditStore.open(tmp_path / "audits.db") as store:
        audit = await store.create("https://example.com")
        for _ in range(3):
            pid = in_child(lambda: store.__del__())
            assert os.waitpid(pid, 0)[1] == 0
            await store.record(audit.id, {"type": "log_entry"})
        assert len(await store.events(audit.id)) == 3
