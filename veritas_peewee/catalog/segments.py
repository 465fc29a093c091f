"""FTS5's own tables: whether its index of pages is that of the segments it lists.

SQLite's check of an index looks at each segment that is listed, not at what is left beside them:
yet with the number of such a page a new segment cannot be written. (sqlite.org/fts5.html does not
describe the format; it is described at the top of its source, `fts5_index.c`, and is kept stable.)
"""

from __future__ import annotations

from collections.abc import Iterator

from veritas_peewee.database.statements import execute

_INDEX = "search_index"
_STRUCTURE = 10
"""The id of the row that lists the segments."""


def pages_agree() -> bool:
    """Whether the index of pages has pages of each listed segment, and of no others."""
    rows = execute(f"SELECT block FROM {_INDEX}_data WHERE id = ?", (_STRUCTURE,))
    pages = execute(f"SELECT DISTINCT segid FROM {_INDEX}_idx", ())
    if not rows or not isinstance(rows[0][0], bytes):
        return False
    try:
        return {segment for (segment,) in pages} == _segments(rows[0][0])
    except (StopIteration, RuntimeError):  # it ends too early
        return False


def _segments(structure: bytes) -> set[object]:
    """The numbers of the segments: after a counter of 4 bytes, numbers of variable length."""
    values = _numbers(structure[4:])
    levels, _, _ = next(values), next(values), next(values)
    found: set[object] = set()
    for _ in range(levels):
        next(values)
        for _ in range(next(values)):
            found.add(next(values))
            next(values), next(values)  # its first and its last page
    return found


def _numbers(data: bytes) -> Iterator[int]:
    """SQLite's numbers of variable length, up to 8 bytes each: 7 bits a byte."""
    value = 0
    for byte in data:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            yield value
            value = 0
