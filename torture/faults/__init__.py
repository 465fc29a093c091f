"""The faults; importing this package registers them."""

from torture import hostile, hostile_files, processes
from torture.faults import backup, damage, full, kill, power, rollback, upgrade

__all__ = [
    "backup",
    "damage",
    "full",
    "hostile",
    "hostile_files",
    "kill",
    "power",
    "processes",
    "rollback",
    "upgrade",
]
