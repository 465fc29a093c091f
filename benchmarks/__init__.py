"""The benchmark: the store measured against its peers, one process for each measurement.

Run it with `python -m benchmarks`; `--help` says how to run parts of it.
"""
