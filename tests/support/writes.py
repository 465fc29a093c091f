"""Writes that wait for one another, and the outcome of each."""

from __future__ import annotations

import threading

import anyio

from veritas_peewee import Audit


def add(url="https://example.com"):
    return Audit.create(url=url).id


def count():
    return Audit.select().count()


class Gate:
    """Holds the writer inside a write until it is let go."""

    def __init__(self):
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self):
        self.entered.set()
        assert self.release.wait(60)

    async def wait(self):
        await anyio.to_thread.run_sync(self.entered.wait, 60)


async def outcome(results, key, call, *args, **kwargs):
    try:
        results[key] = await call(*args, **kwargs)
    except Exception as error:
        results[key] = error
