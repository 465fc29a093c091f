"""What a connection caches of the contents of audits' findings, by which repeats are known."""

from __future__ import annotations

MOST_CHAINS = 10_000
"""The most audits whose last digest, and whose state, is cached."""
MOST_CONTENTS = 100_000
"""The most findings whose contents are cached, of all audits together."""


class Contents:
    """The part of a connection's memory that holds the digests of findings' contents."""

    def __init__(self) -> None:
        self.contents: dict[str, set[bytes] | bool] = {}
        """The digests of the contents of an audit's findings, by audit id. True if they were
        asked for once and not read yet, False if they are too many to be cached."""
        self.cached_contents = 0
        """The number of digests in `contents`."""

    def forget_contents(self, audit_id: str | None = None) -> None:
        """Drop the contents of an audit's findings, or those of all audits, from the cache."""
        if audit_id is None:
            self.contents.clear()
            self.cached_contents = 0
        elif isinstance(known := self.contents.pop(audit_id, None), set):
            self.cached_contents -= len(known)

    def ask_for_contents(self, audit_id: str) -> None:
        """Note that an audit's contents were asked for: the next time it pays to read them all."""
        if len(self.contents) >= MOST_CHAINS:
            self.forget_contents()
        self.contents[audit_id] = True

    def add_contents(self, audit_id: str, contents: set[bytes]) -> None:
        """Cache the contents of an audit's findings in addition to those that are cached.

        `contents` is not copied if none are: it grows with what is added later.
        """
        known = self.contents.get(audit_id)
        if isinstance(known, set):
            self.cached_contents -= len(known)
            known |= contents
        else:
            known = contents
        if len(known) > MOST_CONTENTS:
            self.contents[audit_id] = False
            return
        if self.cached_contents + len(known) > MOST_CONTENTS:
            self.forget_contents()
        self.contents[audit_id] = known
        self.cached_contents += len(known)
