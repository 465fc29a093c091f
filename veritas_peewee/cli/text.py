"""Text of audits made safe for a terminal, and the one line that an error gets."""

from __future__ import annotations

import re
import sys
from contextlib import suppress

PROGRAM = "veritas-peewee"


class ReaderGone(Exception):
    """Whoever read the standard output has gone away."""


# CSI and OSC sequences go as a whole; of any other, the escape character alone goes.
_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)"
)
# Control characters but tab and line feed, those that turn the direction of writing, surrogates.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def clean(value: object) -> str:
    """`value` as text without anything that steers a terminal."""
    text = str(value).replace("\r\n", "\n")
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


def one_line(value: object) -> str:
    """`clean`, on one line."""
    return " ".join(clean(value).split())


def complain(message: object) -> None:
    """Write `veritas-peewee: message` as one line on standard error."""
    with suppress(OSError):
        sys.stderr.write(f"{PROGRAM}: {one_line(message)}\n")
        sys.stderr.flush()
