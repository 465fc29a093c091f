# mypy: ignore-errors
"""The words of the search are folded: marks, letters in disguise and invisible signs.

The tables remain as they are. The entries of audits with other text than ASCII are made again
after it by the current code, in the same transaction; an older version would write the old form.
"""


def up(migrator, db):
    """Nothing of the schema changes."""
