"""Run a function in this process; its rows, as JSON, on standard output.

python -m torture.programs.apart SETTINGS [mount] [loop]     (see torture.apart)
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from torture.apart import CANNOT
from torture.model import Run
from torture.mounts import Disk, mounted_tmpfs


def main(settings: str, options: list[str]) -> None:
    function, rounds, folder, seed = json.loads(settings)
    run = Run(rounds, Path(folder), seed)
    try:
        if "mount" in options:
            with mounted_tmpfs(run.folder / "probe", "64k"):
                pass
        if "loop" in options:
            disk = Disk(run.folder / "probe-disk", 8)
            disk.mount()
            disk.unmount()
    except OSError as error:
        sys.exit(f"{CANNOT}{error}")
    module, _, name = function.partition(":")
    rows = list(getattr(importlib.import_module(module), name)(run))
    print(json.dumps([row.as_json() for row in rows]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
