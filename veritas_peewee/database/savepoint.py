"""Peewee's savepoint, as `atomic()` uses it inside a transaction."""

from __future__ import annotations

import peewee


class Savepoint(peewee._savepoint):
    """Peewee's savepoint.

    When rolled back, it also drops the `after_commit` callbacks registered inside it and runs the
    `after_rollback` ones.
    """

    def _begin(self) -> None:
        super()._begin()  # type: ignore[misc]
        self.callbacks = len(self.db.state.commit_callbacks)
        self.undo = len(self.db.undo)
        self.mark = None if self.db.keeper is None else self.db.keeper.mark()

    def rollback(self, begin: bool = True) -> None:
        first = self.undo  # `begin` counts anew
        del self.db.state.commit_callbacks[self.callbacks :]
        if self.db.keeper is not None:
            self.db.keeper.undone(self.mark)
        super().rollback(begin)
        # Last: what takes files back looks first whether a row names them.
        self.db.run_undo(first)
