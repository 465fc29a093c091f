"""Audits taken along: as JSON Lines that can be imported again, as tables, as reports."""
