"""Which database the models talk to *here*: a connection belongs to one thread's context.

Peewee's models hold one database for the whole process. Ours is a proxy that looks the real one
up in a context variable, so that each thread and task reaches the store it works for, and where
none is open (as on an event loop's thread) a query is an error instead of a stall.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import get_ident
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, TypeVar, cast

from peewee import DatabaseProxy

from veritas_peewee.database.event_loop import not_open_here
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.errors import NoDatabase, StoreError
from veritas_peewee.files.platform import after_fork_in_child

if TYPE_CHECKING:
    from veritas_peewee.database.connection import StoreDatabase
    from veritas_peewee.files.images import ScreenshotFolder

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Binding(NamedTuple):
    database: StoreDatabase
    thread: int

    def is_here(self) -> bool:
        return self.thread == get_ident() and self.database.process == _process


# Each statement asks for it, and `os.getpid` is a call of the system.
_process = os.getpid()
_UNDONE = frozenset((CoroutineType, AsyncGeneratorType, GeneratorType))


def _note_fork() -> None:
    global _process
    _process = os.getpid()


after_fork_in_child(_note_fork)
_current: ContextVar[_Binding | None] = ContextVar("veritas_peewee_database", default=None)


class CurrentDatabase(DatabaseProxy):
    """The database that is open in this thread and context."""

    def initialize(self, obj: Any) -> None:
        if obj is not None:
            raise NoDatabase("the models find their database by themselves: use connect()")

    @property
    def obj(self) -> StoreDatabase | None:
        binding = _current.get()
        if binding is None or not binding.is_here():
            return None
        return binding.database

    # Peewee's proxy builds these scopes itself; ours must come from the database.
    def atomic(self, *args: Any, **kwargs: Any) -> Any:
        return current_database().atomic(*args, **kwargs)

    def savepoint(self) -> Any:
        return current_database().savepoint()

    def __getattr__(self, name: str) -> Any:
        found = self.obj
        if found is None:
            if name.startswith("__"):
                raise AttributeError(name)
            raise not_open_here()
        return getattr(found, name)


database = CurrentDatabase()


def current_database() -> StoreDatabase:
    """The database open in this thread and context; raises NoDatabase if there is none."""
    binding = _current.get()
    # As in `is_here`, which would be one more call for each statement.
    if binding is None or binding.thread != get_ident() or binding.database.process != _process:
        raise not_open_here()
    return binding.database


def current_backend() -> str:
    """The name of the current database's backend; SQLite's where there is none."""
    binding = _current.get()
    return "sqlite" if binding is None else binding.database.backend


@contextmanager
def bound(opened: StoreDatabase) -> Iterator[StoreDatabase]:
    """Make `opened` the current database of this thread for the length of a `with` block."""
    token = _current.set(_Binding(opened, get_ident()))
    try:
        yield opened
    finally:
        _current.reset(token)


@contextmanager
def snapshot() -> Iterator[None]:
    """Whatever is read in the block is as of one moment."""
    database = current_database()
    if database.transaction_is_open:
        yield
        return
    # Not a unit of the database, which takes the write lock in a script.
    connection = database.raw
    connection.execute(database.begin_snapshot)
    try:
        yield
    finally:
        # SQLite has ended it after some errors: a ROLLBACK would only fail, and mask the cause.
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def screenshot_folder() -> ScreenshotFolder:
    """The screenshot folder of the current database."""
    folder = current_database().location.screenshots
    if folder is None:
        raise StoreError("this database has no screenshot folder: give it one")
    return _folder_class()(folder)


@functools.cache
def _folder_class() -> type[ScreenshotFolder]:
    # Not with the models, which need no images.
    from veritas_peewee.files.images import ScreenshotFolder

    return ScreenshotFolder


class Atomic(Protocol[P, T_co]):
    """The type of a function that was decorated with `atomic`."""

    inside_unit: Callable[P, Any]
    """The function without a unit of its own, for callers in a unit that fails if it fails."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co: ...


def atomic(fn: Callable[P, T]) -> Atomic[P, T]:
    """`fn` as one all-or-nothing unit of the current database.

    A driver's errors are raised as the store's own; raises NoDatabase where none is open.
    """

    @functools.wraps(fn)
    def unit(*args: P.args, **kwargs: P.kwargs) -> T:
        opened = current_database()
        try:
            with opened.unit():
                return fn(*args, **kwargs)
        except DRIVER_ERRORS as error:
            where = opened.location.name
            raise (store_error(error, where, reading=opened.reading) or error) from error

    made = cast(Atomic[P, T], unit)
    made.inside_unit = fn
    return made


def with_own_errors(fn: Callable[P, T]) -> Callable[P, T]:
    """`fn` for scripts: a driver's errors are raised as the store's own, as by `atomic`.

    The threads of a store do the same themselves, once they have seen whether a server has gone.
    """
    if "inside_unit" in vars(fn):
        return fn

    @functools.wraps(fn)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return fn(*args, **kwargs)
        except DRIVER_ERRORS as error:
            opened = current_database()
            if opened.role not in ("script", "viewer"):
                raise
            where = opened.location.name
            raise (store_error(error, where, reading=opened.reading) or error) from error

    return call


def inside_unit(call: Callable[..., T]) -> Callable[..., T]:
    """`call` without a unit of its own: for callers in a unit that fails if it fails.

    There a savepoint would protect nobody. `call` may be an `atomic` function, or a `partial` of
    one; anything else is returned as it is.
    """
    if type(call) is functools.partial:
        inner = _body_of(call.func)
        return call if inner is None else functools.partial(inner, *call.args, **call.keywords)
    return _body_of(call) or call


def refuse_undone(result: object, where: str) -> None:
    """Raise TypeError for what a call has returned if the function's body has yet to run: its
    caller would run it outside of the store, if at all."""
    if type(result) not in _UNDONE:
        return
    if isinstance(result, GeneratorType):
        raise TypeError(f"{where} takes a plain function, not a generator: return a list")
    if isinstance(result, CoroutineType):
        result.close()
    raise TypeError(f"{where} takes a plain function, not an async one")


def _body_of(call: object) -> Callable[..., Any] | None:
    # Only a plain function is asked: an object of a caller's class may answer with anything.
    if type(call) is not FunctionType:
        return None
    body = call.__dict__.get("inside_unit")
    # A caller's wrapper, if made with `functools.wraps`, has a copy of the attribute, but wraps the
    # unit and not the body: without the unit it would not be run.
    return body if call.__dict__.get("__wrapped__") is body else None
