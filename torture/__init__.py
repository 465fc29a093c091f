"""Faults of the machine, the disk and the file that the store must survive, by the hundred.

`python -m torture` runs them and prints one table. Nothing is simulated: processes are killed,
file systems are shut down and filled, bytes of real files are changed.
"""
