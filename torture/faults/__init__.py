"""The faults; importing this package registers them."""

from torture import hostile, hostile_files, processes
from torture.faults import (
    alterations,
    backup,
    beside,
    broken,
    damage,
    followers,
    full,
    import_race,
    kill,
    power,
    power_removal,
    rollback,
    server,
    signals,
    strangers,
    upgrade,
)

__all__ = [
    "alterations",
    "backup",
    "beside",
    "broken",
    "damage",
    "followers",
    "full",
    "hostile",
    "hostile_files",
    "import_race",
    "kill",
    "power",
    "power_removal",
    "processes",
    "rollback",
    "server",
    "signals",
    "strangers",
    "upgrade",
]
