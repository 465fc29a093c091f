"""Audits taken elsewhere: as JSON Lines that can be imported again, as tables, as reports."""
