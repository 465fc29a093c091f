"""`AuditStore`: hands operations to the writer and queries to the readers, and awaits them.

Longer than most modules, because it is the one list of everything that can be awaited.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack, overload
from warnings import warn

import anyio

from veritas_peewee import sync
from veritas_peewee.config import DURABILITIES, Durability, Location, locate
from veritas_peewee.database.current import current_database, refuse_undone
from veritas_peewee.database.event_loop import asyncio_loop, current_token, on_event_loop
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.errors import InvalidAudit, StoreClosed, StoreError
from veritas_peewee.startup import connect, open_reader, open_writable, with_screenshots
from veritas_peewee.values.ids import key_of

if TYPE_CHECKING:
    from anyio.lowlevel import EventLoopToken

    from veritas_peewee.database.connection import StoreDatabase
    from veritas_peewee.evidence.checkpoints import Checkpoint
    from veritas_peewee.evidence.keys import PublicKey
    from veritas_peewee.following.follower import Follower
    from veritas_peewee.following.hub import Hub
    from veritas_peewee.ledger.heads import Head
    from veritas_peewee.models import Audit, AuditEvent, AuditStatus
    from veritas_peewee.queries.comparison import Comparison
    from veritas_peewee.queries.counting import Facets
    from veritas_peewee.queries.filters import Filters
    from veritas_peewee.queries.history import Order
    from veritas_peewee.queries.images import Images, images_of
    from veritas_peewee.queries.paging import Page
    from veritas_peewee.queries.search import Hit
    from veritas_peewee.queries.trends import Trend
    from veritas_peewee.recording import disconnecting, ingest, preparing, recorder
    from veritas_peewee.recording.ingest import Source
    from veritas_peewee.threads.counts import WriterStats as WriterStats
    from veritas_peewee.threads.jobs import Job
    from veritas_peewee.threads.offload import in_thread
    from veritas_peewee.threads.readers import Readers
    from veritas_peewee.threads.writer import Writer
    from veritas_peewee.transfer.bags import BagExport
    from veritas_peewee.transfer.exporting import ExportReport
    from veritas_peewee.transfer.exporting import Progress as ExportProgress
    from veritas_peewee.transfer.files import Target
    from veritas_peewee.transfer.importing import Importer, ImportReport
    from veritas_peewee.transfer.importing import Progress as ImportProgress
    from veritas_peewee.values.columns import AuditChanges
    from veritas_peewee.values.states import StatusText

# Importing this module must be quick. The modules that every open store uses are loaded by `_open`,
# on the writer's thread. A module that answers a question is loaded by the reader's thread that is
# first asked it: that is why such functions of `sync` are named inside a lambda.

P = ParamSpec("P")
T = TypeVar("T")


class AuditStore:
    """The store of audits for async callers, on asyncio and on trio.

    Use `async with AuditStore.open() as store`, or `store = await AuditStore.open()` and later
    `await store.close()`. It belongs to the event loop in which it was opened.

    Besides the errors that they name, its methods raise StoreClosed if the store is not open, and
    StoreError in another event loop or in a forked process. Methods that write also raise
    StoreBusy, StoreFull, ReadOnlyStore or WriteUndone (see `errors`): the write was not saved. With
    StoreMoved it may be saved in a file, or a WAL, that is no longer at its path.
    """

    def __init__(
        self, location: Location, readers: int, max_pending: int, durability: Durability
    ) -> None:
        self.location = location
        self._sizes = (readers, max_pending)
        self._durability: Durability = durability
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._token: EventLoopToken | None = None
        self._loop: object = None
        self._process = os.getpid()
        self._shutting = threading.Lock()
        self._closing = False
        self._changing: anyio.Lock | None = None
        self._stack = ExitStack()

    @classmethod
    def open(
        cls,
        database: str | os.PathLike[str] | None = None,
        *,
        readers: int = 4,
        max_pending: int = 10_000,
        durability: Durability = "normal",
        screenshots: str | os.PathLike[str] | None = None,
    ) -> Self:
        """A store on `database`: a path, `":memory:"` or a `sqlite:///` URL.

        The default is $VERITAS_DATABASE, else data/veritas_audits.db. `readers` is how many reads
        run at once, `max_pending` how many writes may be queued (further callers wait for a slot).
        With `durability="full"` a power cut loses no write that was acknowledged; with `"normal"`
        it can lose the last ones, but does no damage. `screenshots` is the folder for images
        (default: `screenshots/` beside the file).

        Raises StoreError for a bad argument. The file is opened, and created or upgraded, by
        `async with` or `await`, which raise SchemaTooNew, DatabaseCorrupt, ReadOnlyStore or
        StoreBusy.
        """
        for name, value in (("readers", readers), ("max_pending", max_pending)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise StoreError(f"{name}: must be a whole number from 1 on, got {value!r}")
        if durability not in DURABILITIES:
            raise StoreError(f"durability: must be 'normal' or 'full', got {durability!r}")
        return cls(locate(database, screenshots), readers, max_pending, durability)

    # ---- opening and closing ----

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __await__(self) -> Generator[Any, Any, Self]:
        return self.__aenter__().__await__()

    async def _start(self) -> None:
        from veritas_peewee.threads.readers import Readers
        from veritas_peewee.threads.writer import Writer

        if self._changing is None:
            self._changing = anyio.Lock()
        async with self._changing:
            if self._closing:
                raise StoreClosed("this store was closed: open a new one")
            if self._writer is not None:
                return
            readers, max_pending = self._sizes
            self.location = self._stack.enter_context(with_screenshots(self.location))
            writer = Writer(partial(_open, self.location, self._durability), max_pending)
            try:
                await writer.open()
            except BaseException:
                self._stack.close()
                raise
            self._token, self._loop = current_token(), asyncio_loop()
            if not self.location.in_memory:
                self._readers = Readers(partial(open_reader, self.location), readers)
                writer.longest_read = self._readers.longest
            self._writer = writer

    async def close(self) -> None:
        """Stop intake, finish the writes that are queued, checkpoint, and let go of the file.

        May be called again; other methods then raise StoreClosed. Raises StoreError if a write has
        not ended after 60 s; the callers of writes that had not begun then get StoreClosed.
        """
        from anyio import to_thread

        self._closing = True
        if "_hub" in vars(self):  # somebody has followed
            self._hub.close()
        if self._changing is None or self._process != os.getpid():
            return
        if self._writer is not None:
            self._writer.stop_intake()
        with anyio.CancelScope(shield=True):
            async with self._changing:
                # In one thread, because asyncio's own cancellation ignores anyio's shield.
                await to_thread.run_sync(self._shut, limiter=anyio.CapacityLimiter(1))

    def _shut(self) -> None:
        with self._shutting:
            readers, self._readers = self._readers, None
            writer, self._writer = self._writer, None
            try:
                # Readers first: an open snapshot would keep the WAL from being emptied.
                if readers is not None:
                    readers.close()
            finally:
                try:
                    if writer is not None:
                        writer.close()
                finally:
                    self._stack.close()

    def __del__(self) -> None:
        writer = getattr(self, "_writer", None)
        if writer is not None and writer.process == os.getpid():
            if self._readers is not None:
                self._readers.stop()
            writer.stop()
            warn(f"{self.location.name}: the store was not closed", ResourceWarning, stacklevel=2)

    def _opened(self) -> Writer:
        writer = self._writer
        if writer is None or self._closing:
            raise StoreClosed
        if self._process != os.getpid():
            raise StoreError("this store was opened before a fork: open one in this process")
        # asyncio's loop is looked up at once; on trio, which has none, anyio's token is compared.
        loop = asyncio_loop()
        if loop is None or loop is not self._loop:
            self._check_loop()
        return writer

    def _check_loop(self) -> None:
        if not on_event_loop():
            raise StoreError("this store belongs to an event loop, and none runs in this thread")
        if current_token() != self._token:
            raise StoreError("this store was opened in another event loop: open one here")

    # ---- writing ----

    async def create(
        self,
        url: str,
        *,
        id: str | None = None,
        audit_tier: str = "standard_audit",
        verdict_mode: str = "expert",
        options: dict[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> Audit:
        """Add a queued audit of `url`, an http or https address, and return it.

        `id` is 1 to 16 letters, digits, `_`, `-` or `.` (default: a new id). `options` are JSON
        values for its engine, kept in its log; `created_at` is for histories that are made from
        archives. Raises InvalidAudit for a bad value, and for an id that is already in use.
        """
        create = partial(
            sync.create,
            id=id,
            audit_tier=audit_tier,
            verdict_mode=verdict_mode,
            options=options,
            created_at=created_at,
        )
        about = id if type(id) is str else None
        begins = about is not None or id is None  # of any other name nothing is known before it
        audit: Audit = await self._opened().submit(create, url, about=about, begins=begins)
        return audit

    async def record(self, audit_id: str, event: dict[str, Any], *, lenient: bool = False) -> int:
        """Record one event and its effect on the rows; returns the event's id.

        `event` is a dict of JSON values with the event's `type`. Raises AuditNotFound, or
        InvalidAudit for an event that cannot be stored; if `lenient`, a value that cannot be
        stored is replaced or left out instead, with a note in the audit's `errors`, as in `ingest`,
        and what is no event is recorded as one of the type `unknown`. Raises StoreError if its
        image cannot be written.
        """
        writer = self._opened()
        # Wait before the event is prepared: a hundred thousand calls may wait here.
        if not writer.take_slot():
            turn = writer.slots.turn()
            try:
                await turn
            except BaseException:
                writer.slots.missed(turn)
                raise
        try:
            if preparing.is_heavy(event):
                prepared = await in_thread(
                    partial(preparing.prepare, lenient=lenient),
                    audit_id,
                    event,
                    self._images(),
                    discard=preparing.PreparedEvent.discard,
                )
            else:
                prepared = preparing.prepare(audit_id, event, self._images(), lenient=lenient)
        except BaseException:
            writer.slots.give()
            raise
        return await _submit(writer, audit_id, prepared, has_slot=True)

    async def record_many(
        self, audit_id: str, events: Iterable[dict[str, Any]], *, lenient: bool = False
    ) -> list[int]:
        """Record events in order, all or none; returns their ids.

        Raises what `record` raises; an InvalidAudit says which event (`events[2]` is the third).
        """
        writer = self._opened()
        prepared = await in_thread(
            partial(preparing.prepare_all, lenient=lenient),
            audit_id,
            preparing.listed(events),
            self._images(),
            discard=preparing.discard_all,
        )
        ids: list[int] = await writer.submit(
            recorder.apply_all,
            audit_id,
            prepared,
            undo=partial(preparing.discard_all, prepared),
        )
        return ids

    async def ingest(
        self, source: Source, *, audit_id: str | None = None, url: str | None = None
    ) -> Audit:
        """Store an audit from the engine's output, all or nothing, and return it.

        `source` is a result (dict), events (list), or the path of a file of any form. `audit_id`
        can be the id of a stored audit that has not ended; `url` is needed if the output has none,
        and must be the stored audit's own if there is one.
        Raises InvalidAudit if `source` holds no audit or `audit_id` has ended, AuditNotFound if
        there is no such audit and no url for a new one, StoreError if a file cannot be read or an
        image cannot be stored.
        """
        writer = self._opened()
        prepared = await in_thread(
            partial(ingest.prepare_audit, source, self._images(), audit_id=audit_id, url=url),
            discard=ingest.PreparedAudit.discard,
        )
        audit: Audit = await writer.submit(
            ingest.write_audit,
            prepared,
            undo=prepared.discard,
            together=ingest.write_together,
        )
        return audit

    async def update(self, audit_id: str, /, **changes: Unpack[AuditChanges]) -> Audit:
        """Change columns of an audit (see `AuditChanges`) and return it.

        Raises AuditNotFound, or InvalidAudit for an unknown column or a bad value.
        """
        audit: Audit = await self._opened().submit(partial(sync.update, **changes), audit_id)
        return audit

    async def update_status(
        self, audit_id: str, status: AuditStatus | StatusText, *, error_message: str | None = None
    ) -> Audit:
        """Set an audit's status and, with `error_message`, its last error; returns the audit.

        Raises AuditNotFound, or InvalidAudit for an unknown status.
        """
        change = partial(sync.update_status, error_message=error_message)
        audit: Audit = await self._opened().submit(change, audit_id, status)
        return audit

    async def claim(self, audit_id: str) -> bool:
        """Take a queued audit, to run it: it is running from now on, and this process its runner.

        Of all callers, in all processes, exactly one is given True; others, and all callers for an
        audit that is not queued, False. Raises AuditNotFound.
        """
        claimed: bool = await self._opened().submit(sync.claim, audit_id)
        return claimed

    async def run(
        self,
        audit_id: str,
        command: str | Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Audit:
        """Claim a queued audit, run its engine as a child process, and return the audit ended.

        `command` is a list of words, or a text with words; no shell reads it. Its standard output
        is recorded as it comes, leniently as in `ingest`; relative paths of images are those of
        `cwd`. An engine that exits with 0 completes the audit, or leaves it disconnected if it
        reported no result; any other end, also by `timeout` (seconds), is an error with the last
        lines of standard error. A result that was reported stays. Cancelled, the engine and all
        that it started are ended first, and the audit is disconnected. Raises AuditNotFound,
        InvalidAudit if the audit is not queued, and StoreError if its output cannot be recorded.
        """
        from veritas_peewee.running import engine
        from veritas_peewee.running.run import claim_to_run, run_audit

        # All of it before the audit is claimed: what is wrong leaves it to the next one.
        words, folder = engine.words_of(command), engine.folder_of(cwd)
        engine.check_environment(env)
        limit = engine.limit_of(timeout)
        if not await claim_to_run(audit_id, self.write):
            raise InvalidAudit(f"id: audit {audit_id!r} is not queued: it runs, or has run")
        record = partial(self._record_told, audit_id, folder or "")
        await run_audit(audit_id, record, self.write, words, cwd=folder, env=env, limit=limit)
        return await self.get(audit_id)

    async def _record_told(self, audit_id: str, base: str, event: dict[str, Any]) -> None:
        if not base or not preparing.is_heavy(event):
            await self.record(audit_id, event, lenient=True)
            return
        writer = self._opened()
        prepared = await in_thread(
            partial(preparing.prepare, lenient=True, base=base),
            audit_id,
            event,
            self._images(),
            discard=preparing.PreparedEvent.discard,
        )
        await _submit(writer, audit_id, prepared)

    async def delete(self, audit_id: str) -> None:
        """Remove an audit with its rows, then its screenshot files; raises AuditNotFound."""
        await self._opened().submit(sync.delete, audit_id)

    async def write(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(*args, **kwargs)` on the writer's thread, all or nothing; returns its result.

        Inside it the models and the functions of `sync` work on this store. What it wrote is
        committed when this returns. Raises the error of `fn`, which undoes what it wrote.
        """
        call = partial(fn, *args, **kwargs)
        result: T = await self._opened().submit(call, from_caller=True)
        return result

    # ---- reading ----

    async def get(self, audit_id: str) -> Audit:
        """An audit with `.findings`, `.screenshots` and `.details`; raises AuditNotFound."""
        return await self.read(lambda: sync.get(audit_id))

    async def details(self, audit_id: str) -> dict[str, Any]:
        """What the audit's last result tells beyond the columns, by name; raises AuditNotFound."""
        return await self.read(lambda: sync.details(audit_id))

    async def verify(self, audit_id: str) -> list[str]:
        """What is missing or altered in one audit and its images; empty if it is as it was written.

        Raises AuditNotFound. `veritas-peewee verify` checks the whole store.
        """
        return await self.read(lambda: sync.verify(audit_id))

    async def events(
        self,
        audit_id: str,
        *,
        after: int = 0,
        limit: int | None = None,
        types: Iterable[str] | None = None,
    ) -> list[AuditEvent]:
        """An audit's events with ids above `after`, in order, at most `limit`; empty if absent.

        With `types` only events of these types. Raises InvalidAudit if `after` or `limit` is not a
        whole number, or `types` not a collection of texts.
        """
        return await self.read(lambda: sync.events(audit_id, after=after, limit=limit, types=types))

    async def history(
        self,
        *,
        limit: int = 20,
        cursor: str | None = None,
        order: Order = "newest",
        **filters: Unpack[Filters],
    ) -> Page[Audit]:
        """One page of at most `limit` audits (1 to 1000), newest first or in another `order`.

        Pass its `next_cursor` as `cursor` for the next page. The filters are those of `Filters`;
        "highest" and "lowest" order by trust score. Raises InvalidAudit for a bad value.
        """
        return await self.read(
            lambda: sync.history(limit=limit, cursor=cursor, order=order, **filters)
        )

    async def search(
        self, text: str, *, limit: int = 20, cursor: str | None = None, **filters: Unpack[Filters]
    ) -> Page[Hit]:
        """One page of the ended audits that match a text, best first; filters as in `history`.

        An audit matches if it has all words, in any case, with or without accents and other marks,
        and whatever invisible signs are in them: `word`, `"exact phrase"`, `-not`, `wor*` for a
        beginning. Any text is accepted. Raises InvalidAudit if `text` is not a str, and for
        whatever `history` refuses.
        """
        return await self.read(lambda: sync.search(text, limit=limit, cursor=cursor, **filters))

    async def count(self, **filters: Unpack[Filters]) -> int:
        """How many audits match; filters as in `history`. Raises InvalidAudit for a bad value."""
        return await self.read(lambda: sync.count(**filters))

    async def facets(self, **filters: Unpack[Filters]) -> Facets:
        """How many audits have each status, risk level, site type, tier and pattern type.

        The filters are those of `history`. Raises InvalidAudit for a bad value.
        """
        return await self.read(lambda: sync.facets(**filters))

    async def compare(self, ids: Iterable[str]) -> Comparison:
        """What changed between two or more audits, each compared with the one that ran before it.

        Raises AuditNotFound, and InvalidAudit for fewer than two ids or one that is given twice.
        """
        return await self.read(lambda: sync.compare(ids))

    async def trend(
        self,
        url: str | None = None,
        *,
        host: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        limit: int = 100,
    ) -> Trend:
        """The newest `limit` audits (1 to 1000) of a url or of a host as a series, oldest first.

        An audit's time is its `started_at`, or else its `created_at`. `since` (included) and
        `until` (excluded) bound that time, in the forms that `history` takes. Raises InvalidAudit
        for a bad value, and unless exactly one of `url` and `host` is given.
        """
        return await self.read(
            lambda: sync.trend(url, host=host, since=since, until=until, limit=limit)
        )

    @overload
    async def head(self, *, key: None = None, name: None = None) -> Head: ...

    @overload
    async def head(self, *, key: str | os.PathLike[str], name: str | None = None) -> Checkpoint: ...

    async def head(
        self, *, key: str | os.PathLike[str] | None = None, name: str | None = None
    ) -> Head | Checkpoint:
        """What the store holds now, in short, for `veritas-peewee verify --against`: its head, or
        with a `key` a signed checkpoint, which others can check without this library.

        `key` is the file of a private key (`veritas-peewee keygen`), `name` its name if the file
        does not say it. Each audit that has ended since the last checkpoint gets an event that
        states its rows (`audit_sealed`). Raises StoreError for a file that is not such a key, and
        while an import or a copy is not complete; InvalidAudit for a name that is missing or wrong;
        DatabaseCorrupt if events are not what they were at the last checkpoint.
        """
        if key is None:
            return await self.read(lambda: sync.head())
        from veritas_peewee.evidence import checkpoints, statements

        for some in await self.read(checkpoints.to_state, key, name):
            await self.write(statements.state, some)
        made, new_blocks = await self.read(checkpoints.signed, key, name)
        if new_blocks:
            await self.write(checkpoints.remember, new_blocks)
        return made

    def follow(self, audit_id: str, *, after: int | str | None = None) -> Follower:
        """An audit's events after an event's id or token (None: all), then new ones.

        `async for event in store.follow(id)` ends when the audit has: once its status is
        completed, error or disconnected, nobody runs it any more, and all events up to then were
        given; the follower's `ended` says how. Raises AuditNotFound, also when the audit is
        deleted, StoreClosed when the store is closed before the audit has ended, InvalidAudit for
        an id that this store has not given out, StaleToken for a token (`event.token`) that is not
        of its history, and StoreError when a server has been away for half a minute. With the last
        event's as `after`, nothing is missed or comes twice.
        """
        # `key_of` refuses None, which a follower takes for all audits.
        return self._follow(key_of(audit_id), after, first=0)

    def follow_all(self, *, after: int | str | None = None) -> Follower:
        """The events of every audit after an id or a token, then new ones, until the store closes.

        If `after` is None, the first are those committed after the iteration has begun. They come
        in the order of their ids: events that an import adds below the last one given are left
        out. Raises InvalidAudit and StaleToken as `follow` does.
        """
        return self._follow(None, after, first=None)

    def _follow(
        self, audit_id: str | None, after: int | str | None, *, first: int | None
    ) -> Follower:
        from veritas_peewee.following.follower import Follower
        from veritas_peewee.values.tokens import check_after

        after = first if after is None else check_after(after)
        # Not a method: through it the writer would keep alive a store that nobody uses any more.
        self._opened().on_commit = partial(_tell, self._hub, self._readers is None)
        patiently = self._hub.patience.run
        read = partial(patiently, self.read)
        end_dead = partial(patiently, self.write, disconnecting.disconnect_dead)
        return Follower(self._hub, read, end_dead, self._opened, audit_id, after)

    def stop_following(self) -> None:
        """End all followers as if the store were closed, and those to come; the rest goes on.

        For a server that stops: its streams end at once, and its other requests are answered.
        """
        self._hub.close()

    @cached_property
    def _hub(self) -> Hub:
        from veritas_peewee.following.hub import Hub

        if self.location.server is None:
            return Hub()
        from veritas_peewee.following.listening import Listener
        from veritas_peewee.startup import open_listener

        return Hub(Listener(partial(open_listener, self.location)))

    async def screenshot(self, file_path: str) -> bytes:
        """The bytes of a stored screenshot, by its row's `file_path`.

        Raises ScreenshotNotFound if it is gone, StoreError if it cannot be read, and InvalidAudit
        for a path outside the folder.
        """
        self._opened()
        images = self._images()
        if images.with_rows:
            return await self.read(images.read, file_path)
        return await in_thread(images.read, file_path)

    async def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `fn(*args, **kwargs)` on a reader thread, in one snapshot; returns its result.

        Inside it the models and the functions of `sync` work on this store. Raises the error of
        `fn`, and ReadOnlyStore if it writes.
        """
        writer = self._opened()
        call = partial(_call, fn, *args, **kwargs)
        if self._readers is None:  # a database in memory has one connection: the writer's
            result: T = await writer.submit(_read_on_writer, call)
        else:
            result = await self._readers.run(call)
        return result

    # ---- taking along ----

    async def export(
        self,
        target: Target,
        *,
        ids: Iterable[str] | None = None,
        images: bool = True,
        progress: ExportProgress | None = None,
        order: Order = "newest",
        **filters: Unpack[Filters],
    ) -> ExportReport:
        """Write audits to a new file of JSON Lines, which `import_` can read; returns a report.

        `target` is a path (packed by gzip if it ends in .gz) or a stream of bytes. `ids`, or the
        filters and `order` of `history`, select audits; else all are written. `images` says
        whether the screenshots' files are written too. `progress` is called, in another thread,
        with how many audits are written, and of how many if that is known. Raises AuditNotFound,
        InvalidAudit for a bad filter or for ids and filters at once, StoreError if the file exists
        already, StoreFull.
        """
        return await self._apart(
            partial(sync.export, target, ids=ids, images=images, order=order, **filters), progress
        )

    async def export_bag(
        self,
        audit_id: str,
        target: Target,
        *,
        checkpoint: Checkpoint | bytes,
        timestamp: bytes | None = None,
        certificates: bytes | None = None,
        key: PublicKey | str | os.PathLike[str] | None = None,
        images: bool = True,
        without: Collection[str] = (),
        progress: ExportProgress | None = None,
    ) -> BagExport:
        """Write an audit as a bag (BagIt 1.0), which anybody can check; returns what is in it.

        `target` is a new folder, a file if its name ends in .zip, or a stream of bytes, which gets
        a zip file. `checkpoint` is what `head(key=…)` gives, or the bytes of its file; with `key`,
        the public one that signed it, its signature is checked first. `timestamp` is the reply of a
        time stamp authority (RFC 3161) over the checkpoint's file, `certificates` are those of the
        authority (PEM). Images are left out unless `images`, or if they are `without`, by name.
        Raises AuditNotFound; NotProven if the checkpoint is not signed by the key, is not of this
        log, or is older than the audit's newest event; DatabaseCorrupt if the audit is not as it
        was written; InvalidAudit for a name that none of its images has; StoreError if the target
        exists or cannot be written.
        """
        export = partial(
            sync.export_bag,
            audit_id,
            target,
            checkpoint=checkpoint,
            timestamp=timestamp,
            certificates=certificates,
            key=key,
            images=images,
            without=without,
        )
        return await self._apart(export, progress)

    async def _apart(self, export: Callable[..., T], progress: ExportProgress | None = None) -> T:
        """Run an export on a connection of its own, whose snapshots last only while some audits are
        read; in memory there is none, and it runs as a read."""
        from anyio import to_thread

        self._opened()
        stop = threading.Event()

        def go_on(done: int, total: int | None) -> None:
            if stop.is_set():
                raise StoreClosed("the export was cancelled")
            if progress is not None:
                progress(done, total)

        call = partial(export, progress=go_on)
        try:
            if self.location.in_memory:
                return await self.read(call)
            return await to_thread.run_sync(
                _look, self.location, call, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
            )
        finally:
            stop.set()

    async def import_(
        self,
        source: Target,
        *,
        skip_existing: bool = False,
        progress: ImportProgress | None = None,
    ) -> ImportReport:
        """Store the audits of a file that `export` has written: each whole as it was, or refused.

        `source` is a path or a stream of bytes. The report's `problems` name the lines that were
        refused; an audit that is there already is refused, or left as it is if `skip_existing` is
        true. About 100 audits are one transaction: an import that was interrupted is completed by
        running it again with `skip_existing`. `progress` is called after each transaction with how
        many audits were imported, how many bytes were read, and the size if it is known. Raises
        StoreError if the file is not an export or cannot be read.
        """
        self._opened()
        importer = await in_thread(_importer, source, skip_existing, self.location)
        with importer:
            await self.write(importer.begin)
            units = importer.units()
            while unit := await in_thread(next, units, []):
                chosen = await self.read(importer.choose, unit)
                taken = await in_thread(importer.take_images, chosen, discard=importer.discard)
                undo = partial(importer.discard, taken)
                await self._opened().submit(importer.store, taken, undo=undo)
                if progress is not None:
                    progress(importer.report.audits, importer.lines.position, importer.lines.size)
            await self.write(importer.finish)
        return importer.report

    async def report(self, audit_id: str) -> str:
        """An audit as one HTML page with its screenshots inside; raises AuditNotFound."""
        return await self.read(lambda: sync.report(audit_id))

    def stats(self) -> WriterStats:
        """What the writer has done since the store was opened, and how many bytes the WAL has."""
        return self._opened().stats()

    def _images(self) -> Images:
        return images_of(self.location)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "WriterStats":
            from veritas_peewee.threads.counts import WriterStats

            return WriterStats
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


async def _submit(
    writer: Writer, audit_id: str, prepared: preparing.PreparedEvent, *, has_slot: bool = False
) -> int:
    event_id: int = await writer.submit(
        recorder.apply,
        audit_id,
        prepared,
        undo=prepared.discard if prepared.files else None,
        together=recorder.apply_together,
        alone=recorder.is_single(prepared),
        about=audit_id if type(audit_id) is str else None,
        has_slot=has_slot,
    )
    return event_id


def _open(location: Location, durability: Durability) -> StoreDatabase:
    """Open the writer's connection; called on its thread, so that loading modules does not stall
    the event loop."""
    global disconnecting, images_of, in_thread, ingest, preparing, recorder
    from veritas_peewee.queries.images import images_of
    from veritas_peewee.recording import disconnecting, ingest, preparing, recorder
    from veritas_peewee.threads.offload import in_thread

    return open_writable(location, durability)


def _importer(source: Any, skip_existing: bool, location: Location) -> Importer:
    from veritas_peewee.transfer.importing import Importer

    place = images_of(location)
    return Importer(source, skip_existing=skip_existing, place=place, database=location.name)


def _look(location: Location, call: Callable[[], T]) -> T:
    with connect(location.given, screenshots=location.screenshots, read_only=True):
        return call()


def _tell(hub: Hub, in_memory: bool, done: list[Job]) -> None:
    # In memory, reads (the followers' own too) are jobs of the writer: they are not counted.
    hub.notice(len([j for j in done if j.fn is not _read_on_writer]) if in_memory else len(done))


def _call(fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function for a read; TypeError if it is not one whose body has run."""
    if not callable(fn):
        raise TypeError(f"store.read takes a function, not {type(fn).__name__}")
    result = fn(*args, **kwargs)
    refuse_undone(result, "store.read")
    return result


def _read_on_writer(fn: Callable[[], T]) -> T:
    database = current_database()
    try:
        with database.read_only():
            return fn()
    except DRIVER_ERRORS as error:
        raise (store_error(error, database.location.name, reading=True) or error) from error
