"""The console, and how a score, a status, a moment … looks on it."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from veritas_peewee.cli.text import ReaderGone, one_line

NONE = "-"
_UNBOUNDED = 10_000
_OFF_TERMINAL = 100
_STATUS = {
    "queued": "dim",
    "running": "cyan",
    "completed": "green",
    "error": "red",
    "disconnected": "yellow",
}
_BAND = ((90, "bold green"), (70, "green"), (40, "yellow"), (20, "red"), (0, "bold red"))


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise ReaderGone  # Rich would exit with the code of a failure


def console(*, stderr: bool = False, wide: bool = False) -> Console:
    """A console without markup; in a pipe or file, `wide` has lines that are never cut."""
    stream = sys.stderr if stderr else sys.stdout
    width = None
    if not stream.isatty() and not os.environ.get("COLUMNS", "").isdigit():
        width = _UNBOUNDED if wide else _OFF_TERMINAL
    return _Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


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


def print_cursor(out: Console, cursor: str | None) -> None:
    """Say how the next page is asked for, if there is one."""
    if cursor:
        out.print(f"more: --cursor {cursor}", style="dim", soft_wrap=True)
