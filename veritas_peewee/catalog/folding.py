"""Text folded for the search: one form for all spellings that a reader takes for the same word.

Folded are case, compatibility forms (full-width letters, ligatures), marks (accents, vowel points,
tones: every character of the general category M) and what nobody sees (the category Cf: joiners,
soft hyphens, directions, tags). The index and what people type go through `folded` alike.

A character's folded form depends on nothing around it, except that the letters of a Hangul syllable
are put together. So a text can be folded in pieces, and a place in the folded text has a place in
the original (`places`).
"""

from __future__ import annotations

import re
from unicodedata import category, decomposition, lookup, name, normalize

_FEW = 64
"""Up to so many different characters are replaced one after the other: it takes a tenth of the time
of `str.translate`, which looks up every character of a text."""
_MOST_REMEMBERED = 20_000
"""The most characters whose folded form is remembered: a hostile text may have all of Unicode."""

_OTHERS = {
    # Letters that are no others with a mark for Unicode; who has no such key types these.
    "æ": "ae", "œ": "oe", "þ": "th", "ð": "d",
    "\u0131": "i",  # without its dot
    "\u0671": "\u0627",  # alef wasla
    "\u02bb": "'", "\u02bc": "'",  # apostrophes
    # Nothing to be seen, or only a longer line (kashida), though of no category for that.
    "\u0640": "", "\u115f": "", "\u1160": "", "\u2065": "", "\u3164": "", "\uffa0": "",
}  # fmt: skip


def _form(character: str) -> str:
    """The folded form of one character: none, one or several characters."""
    known = _OTHERS.get(character)
    if known is not None:
        return known
    kind = category(character)
    if kind[0] == "M" or kind == "Cf":
        return ""
    # Signs that stand behind a word (™) would become part of it; the others are letters in disguise
    # (a circled one) or stay what they are.
    if kind[0] not in "LNS" or (kind[0] == "S" and decomposition(character)[:7] == "<super>"):
        return character
    # Marks go before the case does, which makes a letter of one (U+0345).
    letters = _unmarked(_unmarked(character).casefold())
    letters = "".join(_base(_OTHERS.get(letter, letter)) for letter in letters)
    return normalize("NFC", letters)


def _unmarked(text: str) -> str:
    parts = normalize("NFKD", text)
    return "".join(part for part in parts if category(part)[0] != "M")


def _base(letter: str) -> str:
    """The letter that one with a stroke, a hook or the like is made of, as its name says."""
    if len(letter) != 1:
        return letter
    base, found, _ = name(letter, "").partition(" WITH ")
    if not found or category(letter)[0] != "L":
        return letter
    try:
        return _form(lookup(base))
    except KeyError:
        return letter


class _Forms(dict[int, str]):
    """The folded forms by their characters' numbers, for `str.translate`."""

    def __missing__(self, number: int) -> str:
        form = chr(number) if number < 128 else _form(chr(number))
        if len(self) < _MOST_REMEMBERED:
            self[number] = form
        return form


_FORMS = _Forms()
_PLAIN = set(map(chr, range(128)))
"""Characters that stay as they are whatever is around them, as far as they were met."""
_JAMO = re.compile("[\u1100-\u11ff]")
_SYLLABLE = re.compile(
    "(?:[\u1100-\u1112][\u1161-\u1175]|[\uac00-\ud7a3])[\u11a8-\u11c2]?"
)  # one that NFC puts together


def folded(text: str) -> str:
    """`text` in the form in which it is indexed and looked for; ASCII text is in it already (its
    case is the index's own matter)."""
    if text.isascii():
        return text
    changed = {
        one: form
        for one in set(text) - _PLAIN
        if (form := _FORMS[ord(one)]) != one or not _is_plain(one)
    }
    if len(changed) > _FEW:
        text = text.translate(_FORMS)
    else:  # a folded form has nothing left to fold, so the order does not matter
        for one, form in changed.items():
            text = text.replace(one, form)
    return _SYLLABLE.sub(_put_together, text) if _JAMO.search("".join(changed.values())) else text


def _is_plain(character: str) -> bool:
    """Whether a character that is its own form stays as it is; if so, this is remembered."""
    if _JAMO.match(character):
        return False
    if len(_PLAIN) < _MOST_REMEMBERED:
        _PLAIN.add(character)
    return True


def _put_together(found: re.Match[str]) -> str:
    return normalize("NFC", found[0])


def places(text: str) -> list[int]:
    """For each character of `folded(text)` the place in `text` where it begins, then the end of
    `text`. What was left out belongs to the character before it."""
    forms = [char if char < "\x80" else _FORMS[ord(char)] for char in text]
    found = [place for place, form in enumerate(forms) for _ in form]
    whole = "".join(forms)
    if _JAMO.search(whole):
        starts = [
            at for one in _SYLLABLE.finditer(whole) for at in range(one.start() + 1, one.end())
        ]
        for at in reversed(starts):
            del found[at]
    return [*found, len(text)]
