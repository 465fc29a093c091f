"""A case, the specification of a measurement, and its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Metrics = dict[str, float]


class Unsupported(Exception):
    """The peer has no way to do what the case asks for; the text says why."""


@dataclass(frozen=True)
class Spec:
    """The specification of one measurement, which runs in a process of its own."""

    case: str
    peer: str
    param: str
    data: Path
    seconds: float
    quick: bool = False
    pinned: bool = False
    source: Path | None = None
    """The checkout from which the package is imported; None for the one of the benchmark."""

    def as_json(self) -> dict[str, Any]:
        source = None if self.source is None else str(self.source)
        return {**asdict(self), "data": str(self.data), "source": source}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Spec:
        source = found.get("source")
        paths = {"data": Path(found["data"]), "source": None if source is None else Path(source)}
        return cls(**{**found, **paths})


@dataclass(frozen=True)
class View:
    """A table of the report: one metric, by peer and parameter."""

    metric: str
    title: str
    digits: int = 0


@dataclass(frozen=True)
class Case:
    """A case: `run` is called in the measurement's own process."""

    name: str
    title: str
    run: Callable[[Spec], Metrics]
    params: tuple[str, ...]
    peers: tuple[str, ...]
    views: tuple[View, ...]
    quick_params: tuple[str, ...] = ()
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Peers that are not measured with every parameter, each with those that are: for some it makes
    no difference, and some would take minutes."""
    own_file: bool = False
    """Whether it begins with a new file, so that an earlier commit can be measured with it too."""
    once: bool = False
    """Measured in one round only, because a round takes long and repeats well."""
    note: str = ""


@dataclass
class Outcome:
    """The rounds of one (case, peer, param, pinned)."""

    case: str
    peer: str
    param: str
    pinned: bool
    rounds: list[Metrics] = field(default_factory=list)
    problem: str | None = None


Key = tuple[str, str, str, bool]
Outcomes = Mapping[Key, Outcome]
