"""Texts of audits made safe for a terminal, and errors on one line."""

from __future__ import annotations

import os
import re
import sys

from veritas_peewee.presentation.page import clean as without_controls

PROGRAM = "veritas-peewee"


# CSI and OSC sequences (ECMA-48) are removed whole; of others, only the escape character.
_SEQUENCE = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)"
)


def clean(value: object) -> str:
    """`value` as text without anything that controls a terminal."""
    text = str(value).replace("\r\n", "\n")
    return without_controls(_SEQUENCE.sub("", text))


def one_line(value: object) -> str:
    """`clean`, on one line."""
    return " ".join(clean(value).split())


def say(text: object, *, end: str = "\n") -> None:
    """Write a text on standard output, and at once.

    Not by `typer.echo`, which puts a stream of its own around the given one, and swallows what
    that cannot write: a head that was not printed would look printed.
    """
    sys.stdout.write(f"{text}{end}")
    sys.stdout.flush()


def complain(message: object) -> None:
    """Write `veritas-peewee: message` as one line on standard error."""
    sys.stderr.write(f"{PROGRAM}: {one_line(message)}\n")
    sys.stderr.flush()


def in_words(error: Exception) -> str:
    """What an error says; an error of the system with the file that it is about, and no number."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    name = error.filename2 or error.filename
    if name is None and isinstance(error, FileNotFoundError) and not _has_current_folder():
        return "the current folder was removed: change to another one"
    return error.strerror if name is None else f"{name}: {error.strerror}"


def _has_current_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True
