"""The engine of an application: a command, or a function of its own, that runs queued audits."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio

from veritas_peewee.errors import AuditNotFound, InvalidAudit, StoreBusy
from veritas_peewee.models import Audit
from veritas_peewee.queries import lookups
from veritas_peewee.recording import operations, recorder
from veritas_peewee.running.engine import Command, words_of
from veritas_peewee.running.run import claim_to_run, run_function
from veritas_peewee.store import AuditStore
from veritas_peewee.values.plain import invalid

Send = Callable[[dict[str, Any]], Awaitable[None]]
"""Records one event of an engine, leniently."""
EngineFunction = Callable[[Audit, Send], Awaitable[object]]

ENGINES = 8
"""How many engines an application runs at once, if it does not say so."""
MODULES = "security_modules"
"""The option with the names of the security modules that an engine is to use."""
_NAMES = ("url", "tier", "verdict_mode", "audit_id", MODULES)
_NAMED = re.compile(rf"\{{({'|'.join(_NAMES)})\}}")


class EngineRunner:
    """Runs queued audits, each by whoever of all processes claims it first."""

    def __init__(self, engine: Command | EngineFunction, most: int = ENGINES) -> None:
        """`engine` is a command, in whose words `{url}`, `{tier}`, `{verdict_mode}`, `{audit_id}`
        and `{security_modules}` are filled in, or an async function of an audit and `send`; `most`
        run at once, in this process.

        Raises InvalidAudit for anything else.
        """
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise invalid("engines", "must be a whole number from 1 on", most)
        self.most = most
        self.turns = anyio.Semaphore(most)
        """One for each engine that runs; those who wait for one come in order."""
        self.begun = 0
        """How many run, wait for their turn, or were promised one."""
        self._function = engine if callable(engine) else None
        self._words = [] if callable(engine) else words_of(engine)

    def promise(self) -> None:
        """Count one more that is to run at once; raises StoreBusy if there is no turn for it."""
        if self.begun >= self.most:
            raise StoreBusy(
                f"{self.most} engines run or wait here, and no more are started at once: start it "
                "again when one has ended"
            )
        self.begun += 1

    async def run_in_turn(self, store: AuditStore, audit_id: str) -> None:
        """Do what `run` does, once there is a turn."""
        self.begun += 1
        try:
            async with self.turns:
                await self.run(store, audit_id)
        finally:
            self.begun -= 1

    async def run(self, store: AuditStore, audit_id: str) -> None:
        """Run an audit if it is queued still, and end it by what happened."""
        try:
            if self._function is None:
                audit = await store.read(_with_options, audit_id)
                await store.run(audit_id, filled(self._words, audit))
            elif await claim_to_run(audit_id, store.write):
                await run_function(audit_id, partial(self._call, store, audit_id), store.write)
        except AuditNotFound:
            return  # it was deleted meanwhile
        except InvalidAudit as error:
            await store.write(_refuse, audit_id, str(error))

    async def _call(self, store: AuditStore, audit_id: str) -> None:
        async def send(event: dict[str, Any]) -> None:
            await store.record(audit_id, event, lenient=True)

        assert self._function is not None
        await self._function(await store.read(_with_options, audit_id), send)


def runner_of(engine: Command | EngineFunction | EngineRunner, most: int) -> EngineRunner:
    """The runner of an engine, which may be one already, shared with other routes."""
    return engine if isinstance(engine, EngineRunner) else EngineRunner(engine, most)


def _with_options(audit_id: str) -> Audit:
    audit = lookups.get(audit_id)
    audit.options = lookups.options(audit_id)
    return audit


def _refuse(audit_id: str, reason: str) -> None:
    """End an audit that cannot be run, unless it is, or was, run by another."""
    if operations.claim(audit_id):
        recorder.record(audit_id, {"type": "audit_error", "audit_id": audit_id, "error": reason})


def filled(words: list[str], audit: Audit) -> list[str]:
    """The words of a command with an audit's values in the places that are named for them.

    A value stays one word, or a part of one, whatever is in it. Raises InvalidAudit for one that
    the engine would take for an option.
    """
    modules = (audit.options or {}).get(MODULES)
    values = {
        "url": audit.url,
        "tier": audit.audit_tier,
        "verdict_mode": audit.verdict_mode,
        "audit_id": audit.id,
        MODULES: joined(modules) if isinstance(modules, list) else "",
    }
    return [_NAMED.sub(lambda found: check_value(found[1], values[found[1]]), one) for one in words]


def joined(modules: list[Any]) -> str:
    """The names of security modules as one argument."""
    return ",".join(one for one in modules if isinstance(one, str))


def check_value(name: str, value: str) -> str:
    """`value`, unless an engine would take it for an option."""
    if value.startswith("-"):
        raise invalid(name, "must not begin with '-'", value)
    return value
