"README.md is `nbs/index.ipynb`: `python tests/readme.py` writes it anew, `tests/test_house.py` compares."

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def from_the_top(link: str) -> str:
    "A link that starts at `nbs/`, as it stands in README.md, one folder higher."
    if link.startswith("../"):
        return link[3:]
    return link if re.match(r"https?:|mailto:|#", link) else f"nbs/{link}"


def readme_text() -> str:
    "The index as Markdown, by nbconvert, with links that start at the top."
    with tempfile.TemporaryDirectory() as folder:
        options = [
            "--RegexRemovePreprocessor.enabled=True",
            r"--RegexRemovePreprocessor.patterns=^#\|\s*hide",
            "--TagRemovePreprocessor.enabled=True",
            "--TagRemovePreprocessor.remove_input_tags=remove_input",
        ]
        index = str(ROOT / "nbs" / "index.ipynb")
        command = [sys.executable, "-m", "nbconvert", "--to", "markdown", index, "--output-dir", folder]
        subprocess.run([*command, "--output", "README", *options], check=True, capture_output=True)
        text = Path(folder, "README.md").read_text(encoding="utf-8")
    return re.sub(r"(\]\()([^)\s]+)(\))", lambda m: m[1] + from_the_top(m[2]) + m[3], text)


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme_text(), encoding="utf-8")
