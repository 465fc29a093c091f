# mypy: ignore-errors
"""The words of the search are folded, and hosts are those of a browser.

The tables remain as they are. The current code, after it and in the same transaction, makes the
entries of audits with other text than ASCII again, and the hosts that browsers read otherwise; an
older version would write the old forms.
"""


def up(migrator, db):
    """Nothing of the schema changes."""
