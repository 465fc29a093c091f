"""The faults; importing this package registers them."""

from torture import hostile, hostile_files, processes
from torture.faults import alterations, backup, beside, damage, full, kill, power, rollback, upgrade

__all__ = [
    "alterations",
    "backup",
    "beside",
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
