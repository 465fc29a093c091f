"""The tables: an audit's four, the processes that run audits, the catalog, and the store's heads.

Longer than most modules, so that all tables and their indexes are in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import peewee
from peewee import SQL, BlobField, ForeignKeyField, Index, Model, ModelInsert

from veritas_peewee.database.current import database
from veritas_peewee.database.derived import rows_without, without
from veritas_peewee.database.expressions import is_text_in_json, part_of_json, whole_part
from veritas_peewee.database.instances import Select, Unchanged
from veritas_peewee.values.details import AUDIT_RESULT, ENGINE_RESULT, details_of
from veritas_peewee.values.fields import (
    CharField,
    DateTimeField,
    EnumField,
    FloatField,
    IdField,
    IntegerField,
    TextField,
    check_number,
)
from veritas_peewee.values.ids import check_id, new_audit_id
from veritas_peewee.values.image_files import check_media_type, check_path, check_sha256
from veritas_peewee.values.json_field import JSONField
from veritas_peewee.values.json_schema import object_of
from veritas_peewee.values.moments import utc_now
from veritas_peewee.values.named import Named
from veritas_peewee.values.plain import check_text, invalid
from veritas_peewee.values.states import AuditStatus as AuditStatus
from veritas_peewee.values.states import Severity as Severity

if TYPE_CHECKING:
    from typing import Self, Unpack

    from veritas_peewee.values.attributes import RowsOf
    from veritas_peewee.values.columns import (
        AuditColumns,
        EventColumns,
        FindingColumns,
        ScreenshotColumns,
    )


def _json_methods(dialect: peewee.SqliteDatabase) -> Any:
    # Not with the models: for the few who ask for a part of a JSON column.
    from veritas_peewee.database.json_paths import JSONMethods

    return JSONMethods(dialect)


JSONField.methods = staticmethod(_json_methods)


def _default(value: str) -> list[Any]:
    """A constraint that puts a default into the DDL too, for rows inserted from a SQL shell."""
    return [SQL(f"DEFAULT {value}")]


def check_score(name: str, value: object) -> float:
    """`value` as a score from 0 to 100; else raises InvalidAudit, which begins with `name`."""
    if value is None:
        raise invalid(name, "is missing", value)
    return check_number(name, value, 0, 100)


def _check_url(value: object) -> str:
    # Not with the models, which are imported for queries too: it needs urllib and sockets.
    from veritas_peewee.values.addresses import check_url

    return check_url(value)


def _event_type(value: object) -> str:
    text = check_text("event_type", value, 100)
    if not text:
        raise invalid("event_type", "cannot be empty", text)
    return text


class _Table(Named, Model):
    # Attributes of Peewee's, which its type stubs leave out.
    if TYPE_CHECKING:
        _dirty: set[str]
        _pk: Any
        _normalize_data: ClassVar[Any]
    else:
        _dirty = Unchanged()

    _derived: ClassVar[frozenset[str]] = frozenset()
    """Columns that follow from the rows: in a model that was read a while ago, or is a copy, they
    are out of date, and a server takes a change that brings a seal or a digest for the store's."""

    if not TYPE_CHECKING:  # its types are those of Peewee's stubs

        @classmethod
        def select(cls, *fields: Any) -> Any:
            """Peewee's select; its rows become instances as the store's own do."""
            return Select(cls, fields or cls._meta.sorted_fields, is_default=not fields)

        @classmethod
        def insert(cls, __data: Any = None, **insert: Any) -> Any:
            """Peewee's insert, without what the store derives from the rows."""
            data = cls._normalize_data(__data, insert)
            if isinstance(data, dict):
                data = without(cls._derived, data)
            return ModelInsert(cls, data)

        @classmethod
        def insert_many(cls, rows: Any, fields: Any = None) -> Any:
            """Peewee's insert of many rows, without what the store derives from them."""
            return ModelInsert(cls, *rows_without(cls._derived, rows, fields))

    def save(self, force_insert: bool = False, only: Any = None) -> Any:
        """Peewee's save, which leaves what the store derives from the rows, unless it was set."""
        if only is None and not self._meta.only_save_dirty:
            kept = self._derived if force_insert else self._derived - self._dirty
            if kept & self.__data__.keys():
                names = self.__data__.keys() - kept
                only = [self._meta.fields[name] for name in names] if len(names) > 1 else None
        return super().save(force_insert, only)

    def named(self) -> dict[str, Any]:
        """The columns of the row, as far as they were read; first the audit that it belongs to."""
        columns = self.__data__
        owner = {"audit_id": columns["audit"]} if "audit" in columns else {}
        return {**owner, **self.own_columns()}

    def own_columns(self) -> dict[str, Any]:
        """The row's columns without its audit's id: an audit's rows are shown inside it."""
        return {name: value for name, value in self.__data__.items() if name != "audit"}

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        return {"title": cls.__name__, **object_of(cls._meta.sorted_fields)}

    class Meta:
        database = database
        legacy_table_names = False


class Audit(_Table):
    """One audit of one site: the projection of its events."""

    _derived = frozenset(("host", "screenshots_count", "seal", "sealed_events"))

    if TYPE_CHECKING:  # queries; lists on an audit from `AuditStore`
        findings = RowsOf["AuditFinding"]()
        screenshots = RowsOf["AuditScreenshot"]()
        events = RowsOf["AuditEvent"]()

        def __init__(self, **columns: Unpack[AuditColumns]) -> None: ...
        @classmethod
        def create(cls, **columns: Unpack[AuditColumns]) -> Self: ...  # type: ignore[override]

    id = IdField(16, primary_key=True, default=new_audit_id, rule=check_id)
    url = TextField(rule=_check_url)
    status = EnumField(
        AuditStatus, 12, default=AuditStatus.QUEUED, constraints=_default("'queued'")
    )
    audit_tier = CharField(50, default="standard_audit", constraints=_default("'standard_audit'"))
    verdict_mode = CharField(20, default="expert", constraints=_default("'expert'"))
    trust_score = FloatField(null=True, low=0, high=100)
    risk_level = CharField(50, null=True)
    signal_scores: JSONField[dict[str, float]] = JSONField(
        each=check_score, default=dict, constraints=_default("'{}'")
    )
    narrative = TextField(null=True)
    site_type = CharField(50, null=True)
    site_type_confidence = FloatField(null=True, low=0, high=1)
    security_results: JSONField[dict[str, Any]] = JSONField(
        default=dict, constraints=_default("'{}'")
    )
    pages_scanned = IntegerField(default=0, low=0, constraints=_default("0"))
    screenshots_count = IntegerField(default=0, low=0, constraints=_default("0"))
    elapsed_seconds = FloatField(default=0.0, low=0, constraints=_default("0"))
    errors: JSONField[list[str]] = JSONField(
        list, each=check_text, default=list, constraints=_default("'[]'")
    )
    error_message = TextField(null=True)
    started_at = DateTimeField(null=True)
    completed_at = DateTimeField(null=True)
    created_at = DateTimeField(default=utc_now)
    updated_at = DateTimeField(default=utc_now)
    seal = CharField(64, null=True)
    sealed_events = IntegerField(null=True)
    # Derived from the url by `addresses.host_of`, and maintained by the store.
    host = TextField(null=True)

    options: dict[str, Any] | None = None
    """The options of `create`, on the audit that is given to an engine; else they are not loaded,
    and None."""

    class Meta:
        table_name = "audits"

    @property
    def details(self) -> dict[str, Any]:
        """What the audit's last result tells beyond the columns, by name; {} without a result.

        `recommendations`, `overrides`, `domain_info` and `dark_pattern_summary` have these names in
        each form of result. The store's functions that return one audit load it; else it is read
        when it is first used.
        """
        if "_details" not in self.__dict__:
            if "_result" not in self.__dict__:
                query = last_result().where(AuditEvent.audit == self.id)
                self.load_details(query.scalar())
            data = AuditEvent.data.python_value(self.__dict__.pop("_result"))
            self.__dict__["_details"] = details_of(data, Audit._meta.fields)
        found: dict[str, Any] = self.__dict__["_details"]
        return found

    def load_details(self, result: str | None) -> None:
        """Have `details` made of the stored text of a result's event."""
        self.__dict__.pop("_details", None)
        self.__dict__["_result"] = result

    def named(self) -> dict[str, Any]:
        """The columns, and the findings, screenshots and events if they are loaded."""
        # Peewee, too, puts what it prefetches where the query would be.
        loaded = {name: self.__dict__[name] for name in _CHILDREN if name in self.__dict__}
        rows = {name: [row.own_columns() for row in rows] for name, rows in loaded.items()}
        has_details = not self.__dict__.keys().isdisjoint(("_result", "_details"))
        return self.own_columns() | ({"details": self.details} if has_details else {}) | rows

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        loaded = {}
        for name, model in _CHILDREN.items():
            fields = [field for field in model._meta.sorted_fields if field.name != "audit"]
            loaded[name] = {"type": "array", "items": object_of(fields)}
        loaded["details"] = {"type": "object"}
        return {"title": cls.__name__, **object_of(cls._meta.sorted_fields, **loaded)}

    @classmethod
    def update(cls, data: Any = None, /, **update: Any) -> peewee.ModelUpdate:
        """Peewee's update, which also sets `updated_at` and, with the status, `completed_at`."""
        changes = cls._normalize_data(data, update)
        now = utc_now()
        changes.setdefault(cls.updated_at, now)
        status = changes.get(cls.status)
        if isinstance(status, str) and status == AuditStatus.COMPLETED:
            stored = cls.completed_at.db_value(now)  # what a function is given stays as it is
            changes.setdefault(cls.completed_at, peewee.fn.COALESCE(cls.completed_at, stored))
        return super().update(changes)

    def save(self, *args: Any, **kwargs: Any) -> Any:
        """Peewee's save, which also sets `updated_at` and `completed_at`."""
        now = utc_now()
        if kwargs.get("force_insert"):
            check_text("id", self.id, Audit.id.max_length)
        if self.status == AuditStatus.COMPLETED and self.completed_at is None:
            self.completed_at = now
        if "updated_at" not in self._dirty:
            self.updated_at = now
        return super().save(*args, **kwargs)


class _Child(_Table):
    _derived = frozenset(("digest",))

    if TYPE_CHECKING:  # what Peewee adds by itself
        id = peewee.AutoField()
        audit_id = IdField(16)


class AuditFinding(_Child):
    """A dark pattern or fault that an audit found."""

    audit = ForeignKeyField(Audit, backref="findings", on_delete="CASCADE", index=False)
    pattern_type = CharField(100)
    category = CharField(50, null=True)
    severity = EnumField(Severity, 20)
    confidence = FloatField(low=0, high=1)
    description = TextField()
    plain_english = TextField(null=True)
    screenshot_index = IntegerField(null=True, default=-1, low=-1, constraints=_default("-1"))
    created_at = DateTimeField(null=True, default=utc_now)
    digest = BlobField(null=True)

    if TYPE_CHECKING:

        def __init__(
            self, *, audit: Audit | str = ..., **columns: Unpack[FindingColumns]
        ) -> None: ...
        @classmethod
        def create(  # type: ignore[override]
            cls, *, audit: Audit | str = ..., **columns: Unpack[FindingColumns]
        ) -> Self: ...

    class Meta:
        table_name = "audit_findings"


class AuditScreenshot(_Child):
    """A screenshot's file, by its path relative to the screenshot folder."""

    audit = ForeignKeyField(Audit, backref="screenshots", on_delete="CASCADE", index=False)
    file_path = TextField(rule=check_path)
    label = TextField()
    index_num = IntegerField(low=0)
    file_size_bytes = IntegerField(null=True, low=0)
    media_type = CharField(50, null=True, rule=check_media_type)
    sha256 = CharField(64, null=True, rule=check_sha256)
    created_at = DateTimeField(null=True, default=utc_now)
    digest = BlobField(null=True)

    if TYPE_CHECKING:

        def __init__(
            self, *, audit: Audit | str = ..., **columns: Unpack[ScreenshotColumns]
        ) -> None: ...
        @classmethod
        def create(  # type: ignore[override]
            cls, *, audit: Audit | str = ..., **columns: Unpack[ScreenshotColumns]
        ) -> Self: ...

    class Meta:
        table_name = "audit_screenshots"


class AbsentImage(_Table):
    """A screenshot whose image was not in the import that brought its row, and is not lost here."""

    screenshot = ForeignKeyField(
        AuditScreenshot, on_delete="CASCADE", primary_key=True, index=False
    )

    class Meta:
        table_name = "absent_images"


class AuditEvent(_Child):
    """One event as the engine reported it; the log of events is the truth about an audit."""

    # An id is never used twice: a follower's resume token must not point at another event.
    id = peewee.AutoField(constraints=[SQL("AUTOINCREMENT")])
    audit = ForeignKeyField(Audit, backref="events", on_delete="CASCADE", index=False)
    event_type = CharField(100, rule=_event_type)
    data: JSONField[dict[str, Any] | None] = JSONField(null=True)
    timestamp = DateTimeField(null=True, default=utc_now)
    digest = BlobField(null=True)

    if TYPE_CHECKING:

        def __init__(
            self, *, audit: Audit | str = ..., **columns: Unpack[EventColumns]
        ) -> None: ...
        @classmethod
        def create(  # type: ignore[override]
            cls, *, audit: Audit | str = ..., **columns: Unpack[EventColumns]
        ) -> Self: ...

    @property
    def token(self) -> str:
        """The text by which a follower resumes after this event, in this store's history only."""
        from veritas_peewee.values.tokens import token_of  # for the few who ask

        return token_of(self.id, self.digest)

    class Meta:
        table_name = "audit_events"


def last_result() -> Any:
    """A query for the data of the newest event with a result; the caller states the audit."""
    kinds = SQL(f"('{AUDIT_RESULT}', '{ENGINE_RESULT}')")
    query = AuditEvent.select(AuditEvent.data.converter(str))
    query = query.where(peewee.Expression(AuditEvent.event_type, "IN", kinds))
    return query.order_by(AuditEvent.id.desc()).limit(SQL("1"))


_CHILDREN: dict[str, type[_Child]] = {
    "findings": AuditFinding,
    "screenshots": AuditScreenshot,
    "events": AuditEvent,
}


class AuditRunner(_Table):
    """The session (a living process) in which an audit is running."""

    audit = ForeignKeyField(Audit, on_delete="CASCADE", primary_key=True, index=False)
    session = CharField(32)

    class Meta:
        table_name = "audit_runners"


class CatalogEntry(_Table):
    """The values by which an ended audit is found and counted; maintained by `catalog.entries`.

    A text is NULL where it is the one in the audit's own rows: the view `audit_catalog_texts` has
    them all. Triggers on this table update the full-text index `search_index`, `audit_patterns` and
    `audit_counts`, also when an entry is removed with its audit.
    """

    # A search's cursor names entries by id, so an id is never used twice; and unlike an implicit
    # rowid it does not change when the file is compacted (VACUUM).
    id = peewee.AutoField(constraints=[SQL("AUTOINCREMENT")])
    audit = ForeignKeyField(Audit, on_delete="CASCADE", unique=True)
    created_at = DateTimeField()
    status = CharField(12)
    risk_level = CharField(50, null=True)
    site_type = CharField(50, null=True)
    audit_tier = CharField(50)
    patterns: JSONField[dict[str, Any]] = JSONField(default=dict)
    slices: JSONField[list[Any]] = JSONField(default=list)
    url = TextField(null=True)
    narrative = TextField(null=True)
    findings = TextField(null=True)
    errors = TextField()

    class Meta:
        table_name = "audit_catalog"


class AuditPattern(_Table):
    """One row for each pattern type in an ended audit's findings, with their worst severity.

    The pattern type `""` represents findings of any type.
    """

    pattern_type = CharField(100)
    created_at = DateTimeField()
    audit_id = CharField(16)
    severity = IntegerField()

    class Meta:
        table_name = "audit_patterns"
        primary_key = peewee.CompositeKey("pattern_type", "created_at", "audit_id")
        without_rowid = True


class AuditCount(_Table):
    """How many ended audits of a bucket have these values and findings of a pattern type.

    The pattern type `""` counts all audits, with findings or without. In SQLite the text NUL
    represents NULL, which would not be equal to itself. See `catalog.entries.buckets_of`. In the
    bucket `p` the pattern type is the set of all pattern types of an audit, as JSON.
    """

    slice = CharField(10)
    status = CharField(12)
    risk_level = CharField(50)
    site_type = CharField(50)
    audit_tier = CharField(50)
    pattern_type = CharField(100)
    audits = IntegerField()

    class Meta:
        table_name = "audit_counts"
        primary_key = peewee.CompositeKey(
            "slice", "status", "risk_level", "site_type", "audit_tier", "pattern_type"
        )
        without_rowid = True


class RemovedEvent(_Table):
    """What remains of an event that was removed with its audit; a trigger stores it."""

    event_id = IntegerField(primary_key=True)
    audit_id = CharField(16)
    digest = BlobField(null=True)

    class Meta:
        table_name = "removed_events"


class RemovedAudit(_Table):
    """An audit that was removed, and when; a trigger stores it."""

    audit_id = CharField(16)
    created_at = DateTimeField()
    removed_at = DateTimeField()

    class Meta:
        table_name = "removed_audits"


class StoreChanges(_Table):
    """One row: how often rows were changed or removed, as the log does not record every change."""

    number = IntegerField()

    class Meta:
        table_name = "store_changes"


class StoreHead(_Table):
    """The digest over the digests of all events up to one."""

    event_id = IntegerField(primary_key=True)
    digest = CharField(64)

    class Meta:
        table_name = "store_heads"


class ImportHead(_Table):
    """What the store's log was after one transaction of an import that took events over with the
    ids that they had."""

    if TYPE_CHECKING:  # what Peewee adds by itself
        id = peewee.AutoField()

    position = IntegerField()
    digest = CharField(64)
    total = CharField(64)
    open = IntegerField()

    class Meta:
        table_name = "import_heads"


class TreeBlock(_Table):
    """A part of the log's tree: the root over up to 1,024 events. See `evidence.blocks`."""

    number = IntegerField(primary_key=True)
    leaves = IntegerField()
    last_event = IntegerField()
    root = BlobField()
    parts = BlobField()

    class Meta:
        table_name = "store_tree"


TABLES: tuple[type[_Table], ...] = (
    Audit,
    AuditFinding,
    AuditScreenshot,
    AuditEvent,
    AuditRunner,
    CatalogEntry,
    AuditPattern,
    AuditCount,
    RemovedEvent,
    RemovedAudit,
    StoreChanges,
    StoreHead,
    AbsentImage,
    ImportHead,
    TreeBlock,
)


score_band = whole_part(Audit.trust_score)
"""The whole number at or below a trust score: there are 101 bands, which an index has in the order
of the history."""

audit_time = peewee.fn.COALESCE(Audit.started_at, Audit.created_at)
"""When an audit ran: the start that its engine reported, or else when it was stored."""

_FINDING_ID = "$.finding.id"
reported_finding_id = part_of_json(AuditEvent.data, _FINDING_ID)
"""The engine's own id of the finding that a `finding` event reports."""

has_finding_id = is_text_in_json(AuditEvent.data, _FINDING_ID)
"""Whether that is a text: what is none is no id, also not of the text that shows it."""


def _index(model: type[_Table], name: str, *fields: Any, where: Any = None) -> None:
    model.add_index(Index(name, model._meta.table, fields, where=where))


# The filters of the history, each in the order in which the history is shown: no page needs a sort.
_index(Audit, "idx_audits_created_at", Audit.created_at, Audit.id)
for _name, _field in (
    ("status", Audit.status),
    ("trust_score", Audit.trust_score),
    ("url", Audit.url),
):
    _index(Audit, f"idx_audits_{_name}", _field, Audit.created_at, Audit.id)
for _name, *_fields in (
    ("risk", Audit.risk_level),
    ("host", Audit.host),
    ("site", Audit.site_type),
    ("tier", Audit.audit_tier),
    ("status_risk", Audit.status, Audit.risk_level),
    ("status_site", Audit.status, Audit.site_type),
    ("risk_site", Audit.risk_level, Audit.site_type),
    ("status_risk_site", Audit.status, Audit.risk_level, Audit.site_type),
    ("url_status", Audit.url, Audit.status),
    ("status_score", Audit.status, score_band),
):
    _index(Audit, f"idx_audits_{_name}_history", *_fields, Audit.created_at, Audit.id)
# The series of a site is in the order in which its audits ran.
_index(Audit, "idx_audits_url_time", Audit.url, audit_time, Audit.id)
_index(Audit, "idx_audits_host_time", Audit.host, audit_time, Audit.id)
# A range of scores is read band by band; the columns after the order let SQLite apply other
# filters without reading the row.
_index(
    Audit,
    "idx_audits_score_history",
    score_band,
    Audit.created_at,
    Audit.id,
    Audit.trust_score,
    Audit.risk_level,
    Audit.site_type,
)
_index(AuditFinding, "idx_findings_audit_id", AuditFinding.audit)
_index(AuditFinding, "idx_findings_pattern_type", AuditFinding.pattern_type)
_index(AuditScreenshot, "idx_screenshots_audit_id", AuditScreenshot.audit)
_index(AuditScreenshot, "idx_screenshots_file_path", AuditScreenshot.file_path)
_index(AuditEvent, "idx_events_audit_id", AuditEvent.audit)
# For the question whether a finding has been reported, which the log itself answers.
_index(
    AuditEvent,
    "idx_events_finding",
    AuditEvent.audit,
    reported_finding_id,
    where=AuditEvent.event_type == "finding",
)
