"""The samples go into the wheel, so that `veritas-peewee demo` works wherever it is installed.

All else is in pyproject.toml. In a checkout they are stored once, in data/samples.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SAMPLES = Path("data", "samples")


class BuildWithSamples(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            # The results name their images relative to the folder that holds `data`.
            shutil.copytree(
                SAMPLES, Path(self.build_lib, "veritas_peewee", SAMPLES), dirs_exist_ok=True
            )


setup(cmdclass={"build_py": BuildWithSamples})
