"""SQL that is known by its text: what begins or ends a transaction, and what is planned anew."""

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
PLANNED_ANEW = "/* planned anew */ "
"""How a statement begins that a server is to plan for its values each time it is run: of one that
was run before it would take the plan that is right for most values, and bad for some."""
