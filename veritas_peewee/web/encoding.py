"""Importing this module tells FastAPI's encoder how to write our rows, for routes without a return
type.

Results are dataclasses, which FastAPI can write. If a route has a return type, pydantic writes its
answer and asks the rows themselves. Without one, FastAPI's encoder uses `vars()` for objects of
classes that it does not know, which for a row gives Peewee's own state. So `as_dict` is registered
in its table of encoders by type, for the rows that the facade returns.
"""

from __future__ import annotations

from contextlib import suppress

from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot
from veritas_peewee.presentation.data import as_dict

with suppress(ImportError):  # an application on Starlette alone has no such encoder
    from fastapi.encoders import ENCODERS_BY_TYPE

    ENCODERS_BY_TYPE.update(
        dict.fromkeys((Audit, AuditEvent, AuditFinding, AuditScreenshot), as_dict)
    )
