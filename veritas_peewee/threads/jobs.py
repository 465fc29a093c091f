"""A job of the writer: a call, how far it is, and what becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum
from time import perf_counter
from typing import TYPE_CHECKING, Any

import anyio

from veritas_peewee.database.current import inside_unit, refuse_undone
from veritas_peewee.threads.wording import name_of, text_of_argument

if TYPE_CHECKING:
    import asyncio

_lock = threading.Lock()

Together = Callable[[list[tuple[Any, ...]]], list[Any]]
"""Runs several jobs of one kind, whole or absent; given the arguments of each, it returns their
results."""


class State(Enum):
    """How far a job is; the value is the word in its `repr`.

    It is queued until the writer takes it for running, or its caller withdraws it. Once it has
    run, or can no longer be run, it is done: it has a result or an error.
    """

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    WITHDRAWN = "withdrawn"


QUEUED, RUNNING, DONE, WITHDRAWN = State


class Job:
    """A call for the writer and, once its batch has ended, its outcome."""

    __slots__ = (
        "about", "alone", "answered", "args", "begins", "error", "fn", "from_caller", "result",
        "state", "submitted", "together", "undo",
    )  # fmt: skip

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        undo: Callable[[], object] | None,
        together: Together | None,
        answered: anyio.Event | asyncio.Future[None],
        alone: bool = False,
        about: str | None = None,
        begins: bool = False,
        from_caller: bool = False,
    ) -> None:
        self.fn = fn
        self.args = args
        self.undo = undo
        self.together = together
        self.alone = alone  # whether it is a single statement, whole or absent by itself
        self.about = about  # the name of what it writes to, if that is one thing
        self.begins = begins  # whether it adds what it is about, if that has a name yet
        self.from_caller = from_caller  # whether a caller has named the function
        self.answered = answered  # what its caller waits for
        self.state = QUEUED
        self.result: Any = None
        self.error: BaseException | None = None
        self.submitted = perf_counter()

    def __repr__(self) -> str:
        ago = perf_counter() - self.submitted
        args = ", ".join(map(text_of_argument, self.args))
        call = f"{name_of(self.fn)}({args})"
        return f"<Job {call}: {self.state.value}, submitted {ago:.3f} s ago>"

    def withdraw(self) -> None:
        """Let the job never run, if it has not begun; the writer, when it finds it, tidies up."""
        move((self,), QUEUED, WITHDRAWN)

    def take_back(self) -> None:
        """Undo, once, what was done for the job outside the database: its rows will never be."""
        with _lock:
            undo, self.undo = self.undo, None
        if undo is not None:
            with suppress(Exception):  # a failure to tidy up must not stop the writer
                undo()

    @property
    def is_ours(self) -> bool:
        """Whether it is one of the store's own writes, with what the store gives it."""
        # What a caller gives can be used up by being read, or write by itself.
        return not self.from_caller and inside_unit(self.fn) is not self.fn

    def run(self) -> None:
        """Call the function and set `result`; TypeError if it is an async one or a generator."""
        self.result = inside_unit(self.fn)(*self.args)
        refuse_undone(self.result, "store.write")


def move(jobs: Iterable[Job], before: State, after: State) -> list[Job]:
    """Change the state of the jobs that are in `before` to `after`; returns those jobs.

    The caller's thread, the writer's and one that closes the store meet here, and only here:
    whoever moves a job out of QUEUED is the one who decides what becomes of it.
    """
    with _lock:
        found = [job for job in jobs if job.state is before]
        for job in found:
            job.state = after
    return found


def withdrawn(jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if job.state is WITHDRAWN]
