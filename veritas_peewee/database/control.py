"""SQL that begins or ends a transaction, known by its text."""

import re

_BEFORE = r"(?:\s|--[^\n]*\n|/\*.*?\*/)*"
"""What may stand before a statement."""
CONTROL = re.compile(
    rf"{_BEFORE}(?:BEGIN|COMMIT|END|ROLLBACK(?!\s+(?:TRANSACTION\s+)?TO))\b", re.I | re.DOTALL
)
"""What a unit refuses."""
ENDS_ON_SERVER = re.compile(
    rf"{_BEFORE}(?:COMMIT|END|ABORT|PREPARE\s+TRANSACTION|ROLLBACK(?!.*\bTO\b))\b",
    re.I | re.DOTALL,
)
"""What ends a transaction on a server."""
