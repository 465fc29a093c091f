"""A file as the older SQLAlchemy code wrote it."""

from torture.legacy import DDL

ONE_AUDIT = (
    DDL
    + "INSERT INTO audits (id, url, status) VALUES ('old1', 'https://old.example', 'COMPLETED');"
)
