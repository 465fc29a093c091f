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


def before(text: str, most: int) -> str:
    """A text of at most `most` characters that sorts where the stored one does, or just before it.

    SQLite cannot be given text that is not valid UTF-8.
    """
    # A backslash sorts before any byte that is not of ASCII, and a beginning before the whole.
    return str(text)[:most]


def after(text: str, most: int) -> str | bytes:
    """As `before`, but one that sorts where the stored one does, or just after it."""
    if not isinstance(text, OddText) and len(text) <= most:
        return text
    raw = text.raw if isinstance(text, OddText) else text.encode(errors="surrogatepass")
    sound = raw.decode(errors="ignore")[:most]
    while sound and not raw.startswith(sound.encode()):
        sound = sound[:-1]
    while sound:
        sound, last = sound[:-1], ord(sound[-1])
        if last < 0x10FFFF:
            return sound + chr(0xE000 if last == 0xD7FF else last + 1)
    return b""  # every text sorts before every blob


def decoded(raw: bytes) -> str:
    """The text of these bytes of a file; an `OddText` if they are not valid UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return OddText(raw)
