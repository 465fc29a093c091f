"""The event loops of tests in which the loop matters: anyio's backends, and asyncio on uvloop."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

UVLOOP: tuple[str, dict[str, Any]] = ("asyncio", {"use_uvloop": True})


def anyio_backend() -> Any:
    """The fixture of that name, for a module to have in place of anyio's own."""
    loops = [*("asyncio", "trio"), *([UVLOOP] if find_spec("uvloop") else [])]
    names = ["asyncio", "trio", "uvloop"][: len(loops)]

    @pytest.fixture(scope="module", params=loops, ids=names, name="anyio_backend")
    def chosen(request: pytest.FixtureRequest) -> Any:
        return request.param

    return chosen
