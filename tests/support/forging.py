"""Lines of an export as a stranger could write them: any values, every digest and seal right."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from veritas_peewee.ledger import seals
from veritas_peewee.ledger.log import link
from veritas_peewee.ledger.stored import AUDIT, EVENT, FINDING, SCREENSHOT
from veritas_peewee.values.plain import encode_json

JSON_COLUMNS = {"signal_scores", "security_results", "errors", "data"}


def _on_disk(name: str, value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1:
        (key, inner), = value.items()  # fmt: skip
        with suppress(ValueError, TypeError):
            if key == "$blob":
                return base64.b64decode(inner)
            if key == "$real":
                return float(inner)
        if key == "$text":
            return inner
    if name in JSON_COLUMNS and value is not None:
        with suppress(ValueError):
            return encode_json(value, name)
    return value


def _row(names: tuple[str, ...], row: dict[str, Any]) -> list[Any]:
    return [_on_disk(name, row.get(name)) for name in names]


def forged(line: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> bytes:
    """The line with a change, all its digests and its seal computed over the changed values."""
    line = json.loads(json.dumps(line))
    change(line)
    audit = line["audit"]
    before, last = str(audit["id"]).encode(errors="surrogatepass"), None
    for event in line["events"]:
        values = dict(zip(EVENT[:-1], _row(EVENT[:-1], event), strict=True))
        before = last = link(before, values["event_type"], values["timestamp"], values["data"])
        event["digest"] = before.hex()
    children = []
    for names, key in ((FINDING, "findings"), (SCREENSHOT, "screenshots")):
        digests: list[bytes | None] = []
        for row in line[key]:
            digest = seals.digest_of([audit["id"], *_row(names[1:-1], row)])
            row["digest"] = digest.hex()
            digests.append(digest)
        children.append(digests)
    values = _row(AUDIT[:-2], audit)
    if audit["status"] in ("queued", "running"):
        audit["sealed_events"], audit["seal"] = None, seals.digest_of(values).hex()
    else:
        count = len(line["events"])
        audit["sealed_events"] = count
        audit["seal"] = seals.ended_seal(values, children, count, last)
    return json.dumps(line).encode() + b"\n"
