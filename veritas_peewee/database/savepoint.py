"""Peewee's savepoint, as `atomic()` uses it inside a transaction."""

from __future__ import annotations

import peewee


class Savepoint(peewee._savepoint):
    """Peewee's savepoint.

    When rolled back, it also drops the `after_commit` callbacks registered inside it and runs the
    `after_rollback` ones.
    """

    def _begin(self) -> None:
        self.db.before_savepoint()
        super()._begin()  # type: ignore[misc]
        self.callbacks = len(self.db.state.commit_callbacks)
        self.undo = len(self.db.undo)
        self.mark = None if self.db.keeper is None else self.db.keeper.mark()

    def rollback(self, begin: bool = True) -> None:
        first, mark = self.undo, self.mark  # `begin` counts anew
        self.db.before_going_back()
        del self.db.state.commit_callbacks[self.callbacks :]
        try:
            super().rollback(begin=False)
            self.db.after_going_back()
        finally:
            # After it: until the rows are taken back, what is remembered of them is right.
            if self.db.keeper is not None:
                self.db.keeper.undone(mark)
        if begin:
            self._begin()
        # Last: what takes files back looks first whether a row names them.
        self.db.run_undo(first)
