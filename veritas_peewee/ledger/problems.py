"""The list of what a report finds wrong."""

from __future__ import annotations

from typing import Any


class Problems(list[str]):
    """Texts, one for each thing that is wrong; empty if nothing is.

    A damaged file can have millions, so `add` lists the first `MOST` and then says that there
    are more.
    """

    MOST = 1000

    def add(self, text: str) -> None:
        """List one more."""
        if len(self) < self.MOST:
            self.append(text)
        elif len(self) == self.MOST:
            self.append("… and more")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Any) -> Any:
        return handler(list[str])  # for a route that returns a report
