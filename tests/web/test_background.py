"""What an application runs beside its requests: once for each key, until it stops."""

from __future__ import annotations

import anyio
import pytest

from veritas_peewee import StoreClosed
from veritas_peewee.web.background import Background, open_background


def only(state: dict[str, Background]) -> Background:
    (background,) = state.values()
    return background


async def test_what_has_a_key_runs_once_at_a_time_and_may_run_again() -> None:
    runs: list[int] = []
    go = anyio.Event()

    async def work(number: int) -> None:
        runs.append(number)
        await go.wait()

    async with open_background() as state:
        background = only(state)
        for number in range(3):
            background.start("one", work, number)
        background.start("two", work, 7)
        await anyio.wait_all_tasks_blocked()
        assert sorted(runs) == [0, 7]
        go.set()
        await anyio.wait_all_tasks_blocked()
        background.start("one", work, 8)
        await anyio.wait_all_tasks_blocked()
    assert runs[-1] == 8


async def test_a_failure_is_logged_and_ends_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    ends: list[str] = []

    async def fails() -> None:
        raise ValueError("of its own")

    async def stays() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("stopped")

    async with open_background() as state:
        background = only(state)
        background.start("bad", fails)
        background.start("good", stays)
        await anyio.wait_all_tasks_blocked()
        assert "ValueError: of its own" in caplog.text
        assert ends == []
        background.start("bad", fails)
    assert ends == ["stopped"]


async def test_nothing_is_started_once_the_application_stops() -> None:
    async def never() -> None:
        raise AssertionError

    async with open_background() as state:
        background = only(state)
    with pytest.raises(StoreClosed, match="stopping"):
        background.start("late", never)
