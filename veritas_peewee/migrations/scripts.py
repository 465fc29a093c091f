"""Where the numbered scripts are: Peewee's runner reads them from a folder."""

from __future__ import annotations

import os
from pathlib import Path


def folder(*parts: str) -> Path:
    """The folder of the scripts below this package.

    Where the package is in an archive, such as a zipapp, that is a copy, which this process removes
    when it ends.
    """
    own = Path(__file__).parent.joinpath(*parts)
    return own if own.is_dir() else _copied(*parts)


def _copied(*parts: str) -> Path:
    # Not for whoever has the package in a folder.
    import atexit
    import shutil
    import tempfile
    from importlib import resources

    made, owner = Path(tempfile.mkdtemp(prefix="veritas-peewee-")), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:  # not in a forked child
            shutil.rmtree(made, ignore_errors=True)

    atexit.register(remove)
    for script in resources.files(__package__).joinpath(*parts).iterdir():
        if script.name[0].isdecimal():
            (made / script.name).write_bytes(script.read_bytes())
    return made
