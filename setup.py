"The wheel carries what its commands need; everything else stands in pyproject.toml."

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = ("settings.ini", "nbs/runs/*.ipynb", "nbs/bench/*.ipynb", "data/mini/base/*")
ROOT = Path(__file__).resolve().parent


class BuildWithData(build_py):
    "Copies settings, notebooks and the miniature's base model to `fence_nb/_data`, where `find_settings` looks last."

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # the repository itself is found first
        for pattern in CARRIED:
            for file in sorted(ROOT.glob(pattern)):
                target = Path(self.build_lib, "fence_nb", "_data", file.relative_to(ROOT))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)


setup(cmdclass={"build_py": BuildWithData})
