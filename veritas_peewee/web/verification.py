"""The whole verification of a store, asked for on a page: one at a time, and the last one's result.

It is remembered by the process that ran it and nowhere else: what a file says of its own
verification is worth no more than the file.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from weakref import WeakKeyDictionary

import anyio
from anyio import to_thread

from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.errors import DatabaseCorrupt, StoreClosed, StoreError
from veritas_peewee.maintenance.verify import Progress, Report, verify
from veritas_peewee.startup import connect
from veritas_peewee.store import AuditStore
from veritas_peewee.web.background import Background

_logger = logging.getLogger("veritas_peewee")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verification that has ended."""

    began: datetime
    ended: datetime
    report: Report
    failure: str | None = None
    """Why it did not come to its end."""


@dataclass(slots=True)
class Check:
    """A verification that is under way."""

    began: datetime
    done: int = 0
    total: int | None = None
    """How many audits there are; None before the first ones are checked."""


class Verification:
    """The verifications of one store in this process."""

    def __init__(self) -> None:
        self.last: Outcome | None = None
        self.current: Check | None = None

    def begin(self, store: AuditStore, background: Background) -> None:
        """Verify the whole store beside everything else, unless that is under way."""
        if self.current is None:
            background.start(self, self._run, store)
            self.current = Check(_now())

    async def _run(self, store: AuditStore) -> None:
        assert self.current is not None
        check, stop = self.current, threading.Event()

        def advance(done: int, total: int) -> None:
            if stop.is_set():
                raise StoreClosed("the verification was cancelled")
            check.done, check.total = done, total

        report, failure = Report(), None
        try:
            report = await _report(store, advance)
        except DatabaseCorrupt as error:
            report.problems.add(str(error))
        except (StoreError, *DRIVER_ERRORS) as error:
            failure = str(store_error(error, store.location.name) or error)
        except Exception:
            _logger.exception("a verification failed")
            failure = "the server's log says why"
        finally:
            stop.set()
            self.current = None
        self.last = Outcome(check.began, _now(), report, failure)


async def _report(store: AuditStore, advance: Progress) -> Report:
    if store.location.path is None:  # there is one connection, which is the readers' too
        return await store.read(partial(verify, progress=advance))

    def apart() -> Report:
        with connect(store.location.path, screenshots=store.location.screenshots, read_only=True):
            return verify(progress=advance)

    # Abandoned when the server stops: it ends at its next audit.
    limiter = anyio.CapacityLimiter(1)
    return await to_thread.run_sync(apart, abandon_on_cancel=True, limiter=limiter)


def _now() -> datetime:
    return datetime.now(UTC)


_of_stores: WeakKeyDictionary[AuditStore, Verification] = WeakKeyDictionary()


def verification_of(store: AuditStore) -> Verification:
    """The verifications of a store, as long as it is open."""
    return _of_stores.setdefault(store, Verification())
