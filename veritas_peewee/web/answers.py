"""What routes answer: JSON with names, in which moments are RFC 3339 in UTC."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import Response

from veritas_peewee import sync
from veritas_peewee.models import Audit, AuditEvent
from veritas_peewee.queries.progress import Progress, progress
from veritas_peewee.store import AuditStore
from veritas_peewee.values.json_schema import with_more
from veritas_peewee.values.moments import rfc3339
from veritas_peewee.values.named import Named, as_dict

# Clients that read a stream by lines take these for the ends of lines.
_LINE_ENDS = {char: f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def json_text(value: object) -> str:
    """A result or rows as JSON text on one line; what JSON or UTF-8 has no form for is replaced."""
    return _on_one_line(_encode(as_dict(value, moment=rfc3339)))


def _on_one_line(text: str) -> str:
    if text.isascii():  # Python knows that of a text, however long
        return text
    for char, escaped in _LINE_ENDS.items():  # to translate each character takes 50 times as long
        text = text.replace(char, escaped)
    return text.encode(errors="replace").decode()


def event_text(event: AuditEvent) -> str:
    """An event, with its token, as JSON text."""
    values = ShownEvent(event).named()
    when, digest = values["timestamp"], values["digest"]
    try:
        # The data is JSON as it was read: only these two have another form.
        forms = {"timestamp": rfc3339(when), "digest": digest.hex()}
        return _on_one_line(_encode(values | forms))
    except (AttributeError, TypeError, ValueError):  # written by another program
        return json_text(values)


class Answer(Response):
    """A result, or rows, as JSON."""

    media_type = "application/json"

    def __init__(
        self, value: object, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(json_text(value), status_code, headers)


@dataclass(frozen=True, slots=True)
class ShownAudit(Named):
    """An audit with all that belongs to it, how far it is, and where its images are."""

    audit: Audit
    progress: Progress
    images: dict[int, str]
    """The address of each screenshot's image, by the id of its row."""

    def named(self) -> dict[str, Any]:
        found = self.audit.named()
        runs = self.audit.status == "running"
        return {
            **found,
            "phase": self.progress.phase if runs else None,
            "pct": self.progress.pct if runs else None,
            "screenshots": [
                {**shot, "url": self.images[shot["id"]]} for shot in found["screenshots"]
            ],
        }

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        schema = Audit.json_schema()
        properties = dict(schema["properties"])
        del properties["events"]
        shots = properties["screenshots"]
        properties["screenshots"] = {**shots, "items": with_more(shots["items"], url="string")}
        shown = {**schema, "title": "ShownAudit", "properties": properties}
        shown["required"] = [*schema["required"], "details", "findings", "screenshots"]
        return with_more(shown, phase=["string", "null"], pct=["number", "null"])


@dataclass(frozen=True, slots=True)
class ShownEvent(Named):
    """An event, with the token after which a stream continues."""

    event: AuditEvent

    def named(self) -> dict[str, Any]:
        return {**self.event.named(), "token": self.event.token}

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        schema = with_more(AuditEvent.json_schema(), token="string")
        return {**schema, "title": "ShownEvent"}


async def shown(store: AuditStore, connection: HTTPConnection, audit_id: str) -> ShownAudit:
    """An audit as the API shows it; raises AuditNotFound."""
    audit, at = await store.read(lambda: (sync.get(audit_id), progress(audit_id)))
    images = {shot.id: _image_path(connection, audit.id, shot.id) for shot in audit.screenshots}
    return ShownAudit(audit, at, images)


def _image_path(connection: HTTPConnection, audit_id: str, number: int) -> str:
    return path_of(connection, "screenshot", audit_id=audit_id, screenshot_id=number)


def path_of(connection: HTTPConnection, name: str, **parts: Any) -> str:
    """The path of one of our routes, as the browser knows it.

    Without a host, which behind a proxy is not the one that the browser knows.
    """
    scope = connection.scope
    # The router is the outermost application's, and knows the paths of what is mounted in it.
    start = scope.get("app_root_path", scope.get("root_path", ""))
    return f"{start}{scope['router'].url_path_for(name, **parts)}"
