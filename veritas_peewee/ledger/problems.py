"""The list of problems in a report."""

from __future__ import annotations

from typing import Any


class Problems(list[str]):
    """The texts of the problems that were found, one for each; empty if there are none.

    A damaged file can have millions of problems, so `add` lists the first `MOST` and then says
    that there are more.
    """

    MOST = 1000

    def add(self, text: str) -> None:
        """List one more problem, unless there are too many already."""
        if len(self) < self.MOST:
            self.append(text)
        elif len(self) == self.MOST:
            self.append("… and more")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Any) -> Any:
        return handler(list[str])  # for a route that returns a report
