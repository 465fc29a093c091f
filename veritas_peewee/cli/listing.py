"""Audits as a list, a line for each: with their ids whole, and as many columns as fit."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence

from rich.table import Table
from rich.text import Text

from veritas_peewee.cli.terminal import (
    NONE,
    add_whole,
    address,
    cells,
    columns,
    rest,
    score,
    status,
    when,
)
from veritas_peewee.cli.text import one_line
from veritas_peewee.models import Audit

_Part = tuple[str, Sequence[str | Text]]
"""A column: its name, and its cells."""
_LEAST_URL = 16
"""Characters of the last column below which it has too little room to say anything."""


def history_table(audits: Sequence[Audit], width: int) -> Table:
    """A line for each audit, with as many columns as fit; on a short line the URL is below."""
    form = "%Y-%m-%d %H:%M" if width >= 100 else "%m-%d %H:%M"
    scores = [score(audit.trust_score) for audit in audits]
    parts: list[_Part] = [
        ("Created, UTC", [when(audit.created_at, form) for audit in audits]),
        ("Status", [status(audit.status) for audit in audits]),
        ("Score", scores),
    ]
    if width >= 100:
        risks = [one_line(audit.risk_level or NONE) for audit in audits]
        styles = [text.style for text in scores]
        parts.append(("Risk", [Text(*pair) for pair in zip(risks, styles, strict=True)]))
    if width >= 120:
        parts.append(("Site", [one_line(audit.site_type or NONE) for audit in audits]))
    return _listed(audits, parts, width, least=("Status", "Score"))


def stored_table(stored: Sequence[tuple[str, Audit]], width: int) -> Table:
    """A line for each audit that was ingested, with the file it came from."""
    audits = [audit for _, audit in stored]
    sources = ["pipe" if file == "-" else one_line(os.path.basename(file)) for file, _ in stored]
    most = max(24, width // 4)
    parts: list[_Part] = [
        ("Status", [status(audit.status) for audit in audits]),
        ("Score", [score(audit.trust_score) for audit in audits]),
        ("From", [_shortened(source, most) for source in sources]),
    ]
    return _listed(audits, parts, width, least=("Status", "Score"))


def _listed(
    audits: Sequence[Audit],
    parts: Sequence[_Part],
    width: int,
    *,
    least: Collection[str],
) -> Table:
    """A line for each audit: its id, which is never cut, these columns, and its URL.

    Where the line has too little room for that, only the columns `least` are there, and the URL is
    below the id.
    """
    table = columns()
    ids = [one_line(audit.id) for audit in audits]
    urls = [address(audit.url) for audit in audits]
    is_short = width - _whole((("Audit", ids), *parts)) < _LEAST_URL
    shown: list[Sequence[str | Text]] = [ids]
    if is_short:
        parts = [part for part in parts if part[0] in least]
        pairs = zip(ids, urls, strict=True)
        shown = [[Text.assemble(one, "\n", (url, "dim")) for one, url in pairs]]
        table.width = max(width, _whole((("Audit", ids), *parts)))
        table.add_column("Audit", no_wrap=True, overflow="ellipsis", ratio=1)
    else:
        add_whole(table, "Audit", ids)
    for name, texts in parts:
        add_whole(table, name, texts, justify="right" if name == "Score" else "left")
        shown.append(texts)
    if not is_short:
        rest(table, "URL", width)
        shown.append(urls)
    for row in zip(*shown, strict=True):
        table.add_row(*row)
    return table


def _whole(parts: Iterable[_Part]) -> int:
    """The width of a table in which nothing of these columns is cut."""
    return sum(max(map(cells, (name, *texts))) + 2 for name, texts in parts)


def _shortened(text: str, most: int) -> Text:
    shortened = Text(text)
    shortened.truncate(most, overflow="ellipsis")
    return shortened
