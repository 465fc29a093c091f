"""The faults; importing this package registers them."""

from torture import hostile, hostile_files, processes
from torture.faults import (
    backup,
    damage,
    full,
    import_race,
    kill,
    power,
    power_removal,
    rollback,
    upgrade,
)

__all__ = [
    "backup",
    "damage",
    "full",
    "hostile",
    "hostile_files",
    "import_race",
    "kill",
    "power",
    "power_removal",
    "processes",
    "rollback",
    "upgrade",
]
