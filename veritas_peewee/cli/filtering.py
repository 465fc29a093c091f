"""The filters of the history as options of a command: one entry of `OPTIONS` for each filter."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, cast

import typer

from veritas_peewee.cli.options import audit_url, moment
from veritas_peewee.models import AuditStatus, Severity
from veritas_peewee.queries.filters import Filters

OPTIONS: dict[str, Any] = {
    "status": Annotated[AuditStatus | None, typer.Option(help="Only with this status.")],
    "risk_level": Annotated[str | None, typer.Option("--risk", help="Only with this risk level.")],
    "url": Annotated[
        str | None, typer.Option(help="Only audits of this address.", callback=audit_url)
    ],
    "host": Annotated[
        str | None, typer.Option(help="Only audits of this site, by its name or any address of it.")
    ],
    "site_type": Annotated[str | None, typer.Option(help="Only this type of site.")],
    "audit_tier": Annotated[
        str | None, typer.Option("--tier", help="Only of this tier, such as standard_audit.")
    ],
    "min_score": Annotated[float | None, typer.Option(help="The lowest trust score.")],
    "max_score": Annotated[float | None, typer.Option(help="The highest trust score.")],
    "pattern_type": Annotated[
        str | None,
        typer.Option("--pattern", help="Only with a finding of this pattern type.", metavar="TYPE"),
    ],
    "min_severity": Annotated[
        Severity | None,
        typer.Option(help="Only with a finding (of that type) this grave or graver."),
    ],
    "since": Annotated[
        datetime | None,
        typer.Option(
            parser=moment,
            metavar="DATE",
            help="Created at or after: 2026-01-31, 2026-01, 7d ago; UTC unless it has a zone.",
        ),
    ],
    "until": Annotated[
        datetime | None, typer.Option(parser=moment, metavar="DATE", help="Created before.")
    ],
}
"""Typer's option for each key of `Filters`, in the order in which `--help` lists them.

An option is named after its filter unless the entry names it; its help is what users read.
"""


class OrderBy(StrEnum):
    """The orders of the history."""

    NEWEST = "newest"
    OLDEST = "oldest"
    HIGHEST = "highest"
    LOWEST = "lowest"


By = Annotated[OrderBy, typer.Option(help="By date or by score.")]


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all filter options in place of its keyword-only parameter `filters`."""
    signature = inspect.signature(command, eval_str=True)
    parameters = list(_with_options(signature))

    @functools.wraps(command)
    def call(**given: Any) -> None:
        filters = {name: given.pop(name) for name in OPTIONS}
        command(**given, filters=cast(Filters, filters))

    # Typer reads both: the parameters in their order, and the types of those without an option.
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    return call


def _with_options(signature: inspect.Signature) -> Iterator[inspect.Parameter]:
    """The command's own parameters, with those of the filters where `filters` was."""
    for parameter in signature.parameters.values():
        if parameter.name != "filters":
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            continue
        for name, annotation in OPTIONS.items():
            yield parameter.replace(name=name, annotation=annotation, default=None)
