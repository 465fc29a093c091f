"""Snippets: for each audit that was found, the piece of its text that shows best why.

The time of FTS5's own `snippet` grows with the square of the matches in a text: hours for a long
one. So FTS5 only marks the matches, and the piece is chosen here. The time of marking grows like
that too, so a long text is searched in parts.

The index has folded texts (`catalog.folding`); a snippet is of the text as it was written, with the
matches where the folded words come from.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from veritas_peewee.catalog.folding import folded, places
from veritas_peewee.catalog.full_text import BREAK, MARKS, marked_apart, was_folded, words_of
from veritas_peewee.catalog.indexes import index

WIDTH = 180
"""The most characters of a snippet, besides the `…` at its ends; a longer match is shown whole."""
LONG = 20_000
"""An entry with more characters than this is searched in parts."""
PART = 10_000
"""The most characters of a part."""
MOST_PARTS = 20
"""The most parts of an entry among which its snippet is chosen: the ones that match best."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A piece of what was found."""

    text: str
    matches: tuple[tuple[int, int], ...]
    """The positions in `text` of the words that were searched for: (begin, end) of each."""


class _Piece(NamedTuple):
    """Matches near enough for one snippet. A piece is better if it has more different words, and
    of two with as many the one with more matches."""

    different: int
    number: int
    matches: list[tuple[int, int]]
    text: str
    source: int
    """Which of the texts it is in."""


def snippets_of(
    expression: str, some: str, entries: Sequence[int], originals: Callable[[int], Sequence[str]]
) -> dict[int, Snippet]:
    """A snippet for each of these catalog entries, all of which `expression` matches.

    `originals` gives the texts of an entry as they were written, in the order of its columns; it is
    asked only where that is another text. `some` is the expression for any of the words that are
    looked for: a part of a long text need not have all of them.
    """
    found = dict.fromkeys(entries, Snippet("", ()))
    matches, long = index().marked(expression, entries, LONG)
    for entry, *texts in matches:
        found[entry] = snippet(texts, _originals_of(texts, partial(originals, entry)))
    for entry in long:
        parts = [part for text in originals(entry) for part in _parts(text)]
        words = [(number, words_of(part)) for number, part in enumerate(parts)]
        best = sorted(marked_apart(("part",), words, some, most=MOST_PARTS))
        chosen = [parts[number] for number, _ in best]
        found[entry] = snippet([part for _, part in best], chosen.__getitem__)
    return found


def _originals_of(
    texts: Sequence[str], originals: Callable[[], Sequence[str]]
) -> Callable[[int], str | None]:
    return lambda number: originals()[number] if was_folded(texts[number]) else None


def _parts(text: str) -> Iterator[str]:
    """A text in parts that overlap, cut between words where there are spaces."""
    start = 0
    while len(text) - start > PART:
        end = text.rfind(" ", start + PART // 2, start + PART)
        end = start + PART if end < 0 else end
        yield text[start:end]
        start = text.find(" ", end - WIDTH, end)
        start = end - WIDTH if start < 0 else start
    yield text[start:]


def snippet(texts: Iterable[str], original_of: Callable[[int], str | None]) -> Snippet:
    """The best piece of some texts in which each match is between two marks.

    `original_of` gives the text as it was written by its number here, or None if it is this one.
    If the text is not its folded form, the entry is of another moment, and the original is not
    used.
    """
    best = _Piece(0, 0, [], "", 0)
    for number, text in enumerate(texts):
        if MARKS[0] in text:
            # `max` gives the first of equal pieces.
            best = max(best, _best_of(text.replace(BREAK, ""), number), key=lambda piece: piece[:2])
    if not best.matches:
        return Snippet("", ())
    matches, text = _as_written(best, original_of(best.source))
    (begin, _), (_, end) = matches[0], matches[-1]
    room = max(0, WIDTH - (end - begin))
    first = max(0, begin - max(room // 2, room - (len(text) - end)))
    last = min(len(text), end + max(room // 2, room - begin))
    # Whole words at both ends, in scripts that separate words by spaces.
    if first and (space := re.search(r"\s", text[first - 1 : begin])):
        first += space.start()
    while first and first < begin and not text[first].isalnum():
        first += 1
    if last < len(text) and (space := re.search(r"\s\S*$", text[end : last + 1])):
        last = end + space.start()
    before, after = "…" * (first > 0), "…" * (last < len(text))
    shift = len(before) - first
    return Snippet(
        f"{before}{text[first:last]}{after}",
        tuple((one + shift, other + shift) for one, other in matches),
    )


def _as_written(piece: _Piece, text: str | None) -> tuple[list[tuple[int, int]], str]:
    """The matches of a piece as they are in the text as it was written, and that text."""
    if text is None or text == piece.text or folded(text) != piece.text:
        return piece.matches, piece.text
    starts = places(text)

    def written(begin: int, end: int) -> tuple[int, int]:
        while starts[end] == starts[end - 1]:  # a part of what one sign stands for is all of it
            end += 1
        return starts[begin], starts[end]

    return [written(*match) for match in piece.matches], text


_MATCH = re.compile(f"{MARKS[0]}([^{''.join(MARKS)}]*){MARKS[1]}")


def _best_of(text: str, source: int) -> _Piece:
    """The best piece of one text, no longer than a snippet."""
    matches, words = [], []
    for number, found in enumerate(_MATCH.finditer(text)):
        begin = found.start() - 2 * number
        matches.append((begin, begin + len(found[1])))
        words.append(found[1].lower())
    inside: Counter[str] = Counter()
    left, best, chosen = 0, (0, 0), (0, 0)
    for right, word in enumerate(words):
        inside[word] += 1
        while left < right and matches[right][1] - matches[left][0] > WIDTH:
            inside[words[left]] -= 1
            if not inside[words[left]]:
                del inside[words[left]]
            left += 1
        worth = len(inside), right - left + 1
        if worth > best:
            best, chosen = worth, (left, right + 1)
    plain = text.replace(MARKS[0], "").replace(MARKS[1], "")
    return _Piece(*best, matches[slice(*chosen)], plain, source)
