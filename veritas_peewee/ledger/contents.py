"""What a connection caches of audits' findings and images, by which they are known again."""

from __future__ import annotations

from typing import Any, NamedTuple

MOST_CHAINS = 10_000
"""The most audits whose last digest, and whose state, is cached."""
MOST_CONTENTS = 100_000
"""The most findings whose contents are cached, of all audits together."""


MOST_IMAGES = 100_000
"""The most images whose paths are cached, of all audits together."""


class Images(NamedTuple):
    """The images of an audit's log, up to an event."""

    upto: int
    by_path: dict[str, list[tuple[int, int]]]
    """(the event's id, index) of each, in order, by the engine's path of it."""


def image_told(event: dict[str, Any]) -> tuple[str, int] | None:
    """The engine's path and the index of the image that a `screenshot` event has brought; None if
    it has none that is stored."""
    path, index, reference = event.get("url"), event.get("index"), event.get("data")
    is_stored = isinstance(reference, dict) and "file" in reference
    if is_stored and isinstance(path, str) and isinstance(index, int):
        return path, index
    return None


class Contents:
    """The part of a connection's memory that holds what was told of findings and images."""

    def __init__(self) -> None:
        self.images: dict[str, Images] = {}
        """The images of audits, by audit id."""
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

    def add_images(self, audit_id: str, images: Images) -> None:
        """Cache the images of an audit's log."""
        self.images[audit_id] = images
        if sum(len(one.by_path) + 1 for one in self.images.values()) > MOST_IMAGES:
            self.images.clear()

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
