"""The report of `verify`: what was found, what is only noted, and what could not be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import error_code, lacking
from veritas_peewee.database.postgres_errors import CANCELLED
from veritas_peewee.database.sqlite_errors import INTERRUPTED
from veritas_peewee.errors import DatabaseCorrupt, StoreError
from veritas_peewee.ledger.heads import Head
from veritas_peewee.ledger.problems import Problems


@dataclass(slots=True)
class Report:
    """What `verify` found."""

    problems: Problems = field(default_factory=Problems)
    """What is missing or altered; empty if the store is whole."""
    misstated: set[str] = field(default_factory=set)
    """Those of the problems that no backup can mend: the log states other rows than there are."""
    unchecked: Problems = field(default_factory=Problems)
    """What could not be looked at, because the system lacked memory, descriptors, a permission or
    room for temporary files. It says nothing about the store."""
    notes: list[str] = field(default_factory=list)
    """What costs nothing but space or speed, and images that were lost before an import."""
    audits: int = 0
    events: int = 0
    files: int = 0
    """How many were checked."""
    head: Head | None = None
    """The store's head now; None if the log could not be read."""

    @property
    def ok(self) -> bool:
        return not self.problems and not self.unchecked

    @property
    def damage(self) -> list[str]:
        """The problems of what is lost or altered."""
        return [text for text in self.problems if text not in self.misstated]

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part of the check: if it fails, that is reported, and the check continues."""
        try:
            yield
        except Exception as error:  # what is in a damaged file may set off any of them
            if error_code(error) in (INTERRUPTED, CANCELLED):
                raise
            self.failed(name, error)
            current_database().look_on()

    def failed(self, name: str, error: Exception) -> None:
        """Report a part that could not be read, by the cause: the file, or the system."""
        if reason := lacking(error):
            self.unchecked.add(f"{name}: could not be checked: {reason}")
        else:
            text = str(error) or type(error).__name__
            self.problems.add(f"{name} cannot be read: {text}")


def refuse_unless_whole(report: Report, what: str, damaged: str) -> None:
    """Raise DatabaseCorrupt if there are problems, StoreError if not all could be looked at.

    The error's text says `what` was not done, and that the store or backup is `damaged`. Rows that
    the log misstates are not damaged: what there is can be saved.
    """
    found = report.damage or report.unchecked
    if not found:
        return
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    if report.damage:
        raise DatabaseCorrupt(f"{what}, {damaged}: {found[0]}{more}")
    raise StoreError(f"{what}, for it cannot be verified here: {found[0]}{more}")


class CallersError(BaseException):
    """An error of the caller's own, such as of a `progress` that ends the check: no part's."""
