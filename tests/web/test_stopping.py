"""Signals that tell uvicorn to stop: streams end first, and nobody else's handler is touched."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import contextmanager

import pytest
import uvicorn

from veritas_peewee import AuditStore, StoreClosed
from veritas_peewee.web import stopping
from veritas_peewee.web.stopping import streams_end_first

BOTH = (signal.SIGINT, signal.SIGTERM)


async def nothing(scope, receive, send):
    """An application that is never asked."""


def uvicorn_s():
    return uvicorn.Server(uvicorn.Config(nothing))


@contextmanager
def handled(by):
    """Signals are handled by this, as while uvicorn serves."""
    before = {number: signal.signal(number, by) for number in BOTH}
    try:
        yield
        assert [signal.getsignal(number) for number in BOTH] == [by, by]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def ends(follower):
    with pytest.raises(StoreClosed):
        await asyncio.wait_for(anext(follower), 30)


async def until(happened):
    async with asyncio.timeout(30):
        while not happened():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("number", BOTH)
def test_streams_of_all_stores_end_before_uvicorn_hears_of_a_signal(monkeypatch, number):
    monkeypatch.setattr(stopping, "LAST_WORDS", 3600.0)

    async def run():
        server = uvicorn_s()
        async with AuditStore.open(":memory:") as one, AuditStore.open(":memory:") as other:
            followers = [
                await store.follow((await store.create("https://shop.example/")).id)
                for store in (one, other)
            ]
            with handled(server.handle_exit), streams_end_first(one), streams_end_first(other):
                viewers = asyncio.gather(*map(ends, followers))
                await asyncio.sleep(0)  # they wait now
                signal.raise_signal(number)
                await viewers
                assert not server.should_exit
                signal.raise_signal(number)  # repeated: at once
                assert server.should_exit

    asyncio.run(run())


def test_uvicorn_hears_of_a_signal_after_the_last_words(monkeypatch):
    monkeypatch.setattr(stopping, "LAST_WORDS", 0.01)

    async def run():
        server = uvicorn_s()
        async with AuditStore.open(":memory:") as store:
            with handled(server.handle_exit), streams_end_first(store):
                signal.raise_signal(signal.SIGINT)
                await until(lambda: server.should_exit)
                assert not server.force_exit
                signal.raise_signal(signal.SIGINT)  # a second Ctrl-C
                assert server.force_exit

    asyncio.run(run())


def test_a_second_interrupt_within_the_last_words_is_one_that_forces(monkeypatch):
    monkeypatch.setattr(stopping, "LAST_WORDS", 0.01)

    async def run():
        server = uvicorn_s()
        async with AuditStore.open(":memory:") as store:
            with handled(server.handle_exit), streams_end_first(store):
                for _ in range(2):
                    signal.raise_signal(signal.SIGINT)
                assert server.should_exit
                await until(lambda: server.force_exit)

    asyncio.run(run())


def test_handlers_of_others_stay_as_they_are():
    class Own(uvicorn.Server):
        pass

    def own(number, frame):
        pass

    async def run(handler):
        async with AuditStore.open(":memory:") as store:
            with handled(handler), streams_end_first(store):
                assert [signal.getsignal(number) for number in BOTH] == [handler, handler]

    for handler in (own, Own(uvicorn.Config(nothing)).handle_exit, signal.SIG_IGN):
        asyncio.run(run(handler))


def test_a_handler_that_came_later_stays_when_the_application_ends():
    server = uvicorn_s()

    def later(number, frame):
        pass

    async def run():
        async with AuditStore.open(":memory:") as store:
            with streams_end_first(store):
                signal.signal(signal.SIGINT, later)
        assert signal.getsignal(signal.SIGINT) is later
        assert signal.getsignal(signal.SIGTERM) == server.handle_exit
        signal.signal(signal.SIGINT, server.handle_exit)

    with handled(server.handle_exit):
        asyncio.run(run())


def test_in_another_thread_no_handler_is_touched():
    found = []

    async def run():
        async with AuditStore.open(":memory:") as store:
            with streams_end_first(store):
                found.extend(signal.getsignal(number) for number in BOTH)

    server = uvicorn_s()
    with handled(server.handle_exit):
        thread = threading.Thread(target=asyncio.run, args=(run(),))
        thread.start()
        thread.join()
    assert found == [server.handle_exit] * 2
