"""The order of effects: each commit, sync, new name and removal of an operation, and its answer."""

from __future__ import annotations

import builtins
import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from veritas_peewee.database.transactions import Transactions
from veritas_peewee.files import durable

FAILING = ("fsync", "rename", "link", "unlink", "rmdir", "mkdir", "write")
"""The calls that `Effects.failing` makes fail."""


class Effect(NamedTuple):
    """Something that was done: what, and the file or folder, as a path from the watched folder."""

    what: str
    name: str

    def __str__(self) -> str:
        return f"{self.what} {self.name}"


class Effects:
    """What is done below a folder from now on, in order; real files and real databases.

    Renames, links and folders go by their new name, files that are synced by the name that they
    have at that moment. A `commit` is of a transaction that changed something, an `end` of one that
    did not. What SQLite itself does to its files is not seen.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = Path(os.path.realpath(root))
        self.seen: list[Effect] = []
        self._fail_at: int | None = None
        self._error = 0
        self.failed: Effect | None = None
        self._calls = 0
        for what in ("rename", "replace", "link"):
            self._wrap(monkeypatch, what, lambda old, new, **k: (new, k.get("dst_dir_fd")))
        for what in ("unlink", "remove", "rmdir", "mkdir"):
            self._wrap(monkeypatch, what, lambda path, *a, **k: (path, k.get("dir_fd")))
        self._wrap(monkeypatch, "fsync", lambda handle: ("", handle))
        self._wrap_writes(monkeypatch)
        self._wrap_commits(monkeypatch)

    def _wrap(
        self, monkeypatch: pytest.MonkeyPatch, what: str, path_of: Callable[..., Any]
    ) -> None:
        real = getattr(os, what)
        word = {"replace": "rename", "remove": "unlink"}.get(what, what)

        @functools.wraps(real)
        def wrapped(*args: Any, **named: Any) -> Any:
            name = self._name(*path_of(*args, **named))
            if name is None:
                return real(*args, **named)
            self._may_fail(Effect(word, name))
            result = real(*args, **named)
            self.seen.append(Effect(word, name))
            return result

        monkeypatch.setattr(os, what, wrapped)

    def _wrap_writes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def opened(file: Any, mode: str = "r", *args: Any, **named: Any) -> Any:
            if isinstance(file, int) and (name := self._name("", file)) is not None:
                try:
                    self._may_fail(Effect("write", name))
                except OSError:
                    os.close(file)
                    raise
            return builtins.open(file, mode, *args, **named)

        monkeypatch.setattr(durable, "open", opened, raising=False)

    def _wrap_commits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = Transactions.finish

        def finish(database: Any, *, commit: bool) -> None:
            connection = database.state.conn
            real(database, commit=commit)
            total = connection.total_changes
            changed = total != vars(database).get("changes_seen", 0)
            database.changes_seen = total
            if commit and database.location.path is not None:
                name = self._name(database.location.path, None)
                if name is not None:
                    self.seen.append(Effect("commit" if changed else "end", name))

        monkeypatch.setattr(Transactions, "finish", finish)

    def _name(self, path: Any, folder: int | None) -> str | None:
        if folder is not None:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fspath(path))
        path = os.path.abspath(path)
        if path != str(self.root) and not path.startswith(f"{self.root}/"):
            return None
        return os.path.relpath(path, self.root)

    # ---- calls that fail ----

    def _may_fail(self, effect: Effect) -> None:
        self._calls += 1
        if self._calls == self._fail_at:
            self.failed = effect
            raise OSError(self._error, os.strerror(self._error), effect.name)

    @contextmanager
    def failing(self, number: int, error: int) -> Iterator[None]:
        """Have the call of this number, from 1 on, fail with an error of the system."""
        self._calls, self._fail_at, self._error, self.failed = 0, number, error, None
        try:
            yield
        finally:
            self._fail_at = None

    # ---- what was seen ----

    def clear(self) -> None:
        self.seen.clear()

    def answered(self, name: str = "caller") -> None:
        """Note that the caller has its answer."""
        self.seen.append(Effect("answer", name))

    def matching(self, pattern: str) -> list[int]:
        """The positions of the effects whose whole text a regular expression matches."""
        return [n for n, one in enumerate(self.seen) if re.fullmatch(pattern, str(one))]

    def assert_order(self, *patterns: str) -> None:
        """Each pattern's effects are there, and all of them come before those of the next one."""
        listed = "\n".join(map(str, self.seen))
        for pattern in patterns:
            assert self.matching(pattern), f"no {pattern!r} in\n{listed}"
        for first, then in pairwise(patterns):
            assert max(self.matching(first)) < min(self.matching(then)), (
                f"not all of {first!r} is before {then!r} in\n{listed}"
            )

    def assert_folders_are_synced(self) -> None:
        """Each folder that was made and still exists has its name on disk when the caller knows."""
        answer = self.matching("answer .*")[0]
        for at, one in enumerate(self.seen[:answer]):
            if one.what == "mkdir" and (self.root / one.name).exists():
                if one.name.endswith("-sessions"):
                    continue  # nobody is alive after a power cut
                parent = Effect("fsync", os.path.dirname(one.name) or ".")
                assert parent in self.seen[at:answer], f"no {parent} after {one}"
