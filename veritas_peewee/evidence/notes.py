"""Signed notes (C2SP `signed-note`): a text, an empty line, and lines of signatures."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode

from veritas_peewee.errors import NotProven
from veritas_peewee.evidence import ed25519
from veritas_peewee.evidence.keys import PublicKey, SigningKey, key_id
from veritas_peewee.values.plain import shown

_LINE = re.compile(r"— (\S+) ([A-Za-z0-9+/]+=*)")
_CONTROLS = re.compile(r"[\0-\x09\x0b-\x1f\x7f]")
_MOST = 100
"""The most signatures that are looked at."""


def signed(text: str, key: SigningKey) -> str:
    """The note of a text, which must end with a newline, with one signature."""
    signature = key.sign(text.encode())
    coded = b64encode(key_id(key.name, key.public.data) + signature).decode()
    return f"{text}\n— {key.name} {coded}\n"


def split(note: bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """A note's text, and the names and bytes of its signatures, none of which is checked.

    Raises NotProven for what is not a note, or was altered on its way, and says how.
    """
    if b"\r" in note:
        raise NotProven(
            "it has line ends of Windows (CR LF), and what was signed has not: it was changed on "
            "its way; fetch it again as it is, byte for byte"
        )
    try:
        text = note.decode()
    except UnicodeDecodeError as error:
        raise NotProven("it is not UTF-8: that is no signed note") from error
    if _CONTROLS.search(text):
        raise NotProven("it has control characters: that is no signed note")
    if not text.endswith("\n"):
        raise NotProven("its last newline is missing: it was cut off, or changed on its way")
    body, found, after = text.rpartition("\n\n")
    if not found:
        raise NotProven("it has no empty line before its signatures: that is no signed note")
    lines = after.splitlines()
    matches = [_LINE.fullmatch(line) for line in lines]
    if not lines or len(lines) > _MOST or None in matches:
        raise NotProven(
            "what follows its last empty line are no signatures (`— NAME BASE64`): was a line "
            "added, or the dash replaced?"
        )
    return f"{body}\n", [_signature(match) for match in matches if match]


def _signature(match: re.Match[str]) -> tuple[str, bytes]:
    try:
        return match[1], b64decode(match[2], validate=True)
    except ValueError:
        raise NotProven(f"the signature of {match[1]} is not base64") from None


def checked(note: bytes, key: PublicKey) -> tuple[str, str]:
    """A note's text, and the name under which the key has signed it.

    Raises NotProven unless the key has, and says who did; signatures of others are not looked at.
    """
    text, signatures = split(note)
    for name, data in signatures:
        if key.name not in (None, name) or data[:4] != key_id(name, key.data):
            continue
        if not ed25519.is_signed(key.data, text.encode(), data[4:]):
            raise NotProven(
                f"the signature of {name} is not one over this text: the text was altered, or the "
                "signature"
            )
        return text, name
    names = ", ".join(shown(name) for name, _ in signatures)
    whose = f"the key of {key.name}" if key.name else "this key"
    same = any(name == key.name for name, _ in signatures)
    raise NotProven(
        f"it is not signed by {whose}, but by "
        + (f"another one of that name: {names}" if same else names)
    )
