"""The console, and how a score, a status, a moment … looks on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from veritas_peewee.cli.text import one_line

NONE = "-"
NARROWEST = 20
"""Characters of the shortest line for which tables are laid out; shorter ones the terminal wraps.
"""
_UNBOUNDED = 10_000
_OFF_TERMINAL = 100
_WIDTH, _HEIGHT, _TYPER = "COLUMNS", "LINES", "TERMINAL_WIDTH"
_STATUS = {
    "queued": "dim",
    "running": "cyan",
    "completed": "green",
    "error": "red",
    "disconnected": "yellow",
}
_BAND = ((90, "bold green"), (70, "green"), (40, "yellow"), (20, "red"), (0, "bold red"))


class _Console(Console):
    """A console that cuts nothing: what is wider than its lines, the terminal wraps."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **{"crop": False, **options})


def console(*, stderr: bool = False, wide: bool = False) -> Console:
    """A console without markup; in a pipe or file, `wide` has lines that are never cut."""
    stream = sys.stderr if stderr else sys.stdout
    width = None
    if not stream.isatty() and not os.environ.get(_WIDTH):
        width = _UNBOUNDED if wide else _OFF_TERMINAL
    made = _Console(file=stream, width=width, markup=False, highlight=False, emoji=False)
    made.width = max(made.width, NARROWEST)
    return made


@contextmanager
def legible() -> Iterator[None]:
    """Within the block, the environment names no size in which nothing could be read.

    It is read by Rich, by Typer and here. A size of 0 is what terminals without one report, as
    those that `docker exec -t`, `expect` and CI make: then it is not known.
    """
    given = {name: os.environ.get(name) for name in (_WIDTH, _HEIGHT, _TYPER)}
    for name, text in given.items():
        if text is not None:
            size = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
            os.environ.pop(name)
            if size > 0:
                os.environ[name] = str(size if name == _HEIGHT else max(size, NARROWEST))
    try:
        yield
    finally:
        for name, text in given.items():
            if text is not None:
                os.environ[name] = text


def score(value: float | None) -> Text:
    """A trust score in the colour of its band."""
    if not isinstance(value, int | float):
        return Text(NONE, "dim")
    style = next((style for low, style in _BAND if value >= low), "")
    return Text(f"{value:.1f}".removesuffix(".0"), style)


def status(value: object) -> Text:
    """A status in its colour."""
    text = one_line(value)
    return Text(text, _STATUS.get(text, ""))


def address(url: object) -> str:
    """A URL without `https://`; another scheme is shown."""
    return one_line(url).removeprefix("https://")


def when(value: object, form: str = "%Y-%m-%d %H:%M") -> str:
    """A moment in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime(form)
    return NONE if value is None else one_line(value)


def counted(number: object, noun: str) -> str:
    """`1 page`, `2 pages`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: object) -> str:
    """Seconds as `2 min 13 s`."""
    if not isinstance(seconds, int | float):
        return NONE
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def columns() -> Table:
    """A table without lines."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


def add_whole(table: Table, name: str, texts: Iterable[str | Text], **options: Any) -> None:
    """Add a column whose cells are never cut, however short the line."""
    table.add_column(name, no_wrap=True, min_width=max(map(cells, (name, *texts))), **options)


def cells(text: str | Text) -> int:
    """How many of a console's cells a text takes."""
    return (Text(text) if isinstance(text, str) else text).cell_len


def rest(table: Table, name: str, width: int) -> None:
    """Add a last column that takes the rest of the line and is cut at its end."""
    # If the line has an end, the table fills it: otherwise Rich would shorten every column.
    table.expand = width <= 1000
    table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1 if table.expand else None)


def print_line(out: Console, line: Text, whole: int) -> None:
    """Print one line, cut at the console's edge, but not within its first `whole` characters."""
    if out.width < _UNBOUNDED:
        line.truncate(max(out.width, whole), overflow="ellipsis")
    out.print(line, soft_wrap=True)


def print_cursor(out: Console, cursor: str | None) -> None:
    """Say how the next page is asked for, if there is one."""
    if cursor:
        out.print(f"more: --cursor {cursor}", style="dim", soft_wrap=True)
