"""Routes without a return type: FastAPI's encoder learns the form of our rows.

A result has names by being a dataclass, and so has a row in a route whose return type says what it
gives, for pydantic asks it. Without one, FastAPI takes apart what it does not know by `vars()`, and
of a Peewee row that is Peewee's own state. So `as_dict` is entered in FastAPI's table of encoders,
which is by type, for the rows that the facade returns.
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
