"""Text of the file that is not valid UTF-8: it can be shown, and is never taken for other text."""

from __future__ import annotations


class OddText(str):
    """A stored text that is not valid UTF-8, with each byte that cannot be decoded as `\\xff`.

    No seal and no digest covers such a text, and an export writes its bytes.
    """

    __slots__ = ("raw",)
    raw: bytes

    def __new__(cls, raw: bytes) -> OddText:
        made = super().__new__(cls, raw.decode(errors="backslashreplace"))
        made.raw = raw
        return made


def decoded(raw: bytes) -> str:
    """The text of these bytes of a file; an `OddText` if they are not valid UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return OddText(raw)
