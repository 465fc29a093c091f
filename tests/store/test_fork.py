"""A fork: the child is told, and the parent is unharmed."""

import os

import pytest

from tests.support.processes import forked
from veritas_peewee import Audit, AuditStore, NoDatabase, StoreError, connect
from veritas_peewee.queries import lookups
from veritas_peewee.recording import operations

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def test_a_childs_queries_are_refused_and_leave_the_parents_session_alone(tmp_path):
    path = tmp_path / "audits.db"
    with connect(path) as database:
        audit = operations.create("https://example.com")
        operations.update_status(audit.id, "running")

        def child():
            with pytest.raises(NoDatabase):
                Audit.select().count()
            database.close()  # as leaving the `with` block does
            with pytest.raises(StoreError, match="when this process was forked"), connect(path):
                pass
            with connect(path.with_name("other.db")):
                operations.create("https://example.com")

        assert os.waitpid(forked(child), 0)[1] == 0
        assert Audit.select().count() == 1
        operations.update(audit.id, narrative="still here")
    with connect(path):
        assert lookups.get(audit.id).status == "disconnected"


async def test_a_store_opened_before_a_fork_says_so_in_the_child(tmp_path):
    async with AuditStore.open(tmp_path / "audits.db") as store:
        audit = await store.create("https://example.com")
        await store.get(audit.id)

        def child():
            with pytest.raises(StoreError, match="before a fork"):
                store._opened()

        assert os.waitpid(forked(child), 0)[1] == 0
        await store.record(audit.id, {"type": "log_entry"})
        assert len((await store.history()).items) == 1
