# mypy: ignore-errors
"""Images of the older store get the hash, the media type and the size of their files.

They are filled in after it by the current code, in the same transaction.
"""


def up(migrator, db):
    pass
