"""README.md is `nbs/index.ipynb`: `python tests/readme.py` writes it anew, `tests/test_house.py` compares.

The same command draws the picture of popularity from the study's figures, and photographs the judged answer with
Chromium where that is installed.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STUDY = ROOT / "data" / "mini" / "study.json"
POPULARITY = ROOT / "nbs" / "images" / "facts_by_popularity.png"
JUDGED_ANSWER = ROOT / "nbs" / "images" / "judged_answer.png"


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


def popularity_rows() -> dict[str, list[list]]:  # arm -> (group, value, low, high)
    "What the picture of popularity shows: three seeds of the study."
    groups = json.loads(STUDY.read_text(encoding="utf-8"))["by_popularity"]
    return {arm: [[g["group"], g["facts_pct"], *g["facts_pct_ci"]] for g in groups[arm]] for arm in ("base", "fence")}


def draw_popularity() -> None:
    "Draw the picture, and write into the file what it shows."
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from fence_nb.results.figures import plot_popularity

    plot_popularity(popularity_rows(), "share of facts (%)", POPULARITY)
    values = PngInfo()
    values.add_text("rows", json.dumps(popularity_rows()))
    with Image.open(POPULARITY) as picture:
        picture.save(POPULARITY, pnginfo=values)


def photograph_answer(chromium: str) -> None:
    "The judged answer of the page, as a browser shows it."
    import fence_nb as f
    from fence_nb.domains.examples import ANSWER, PAGE, example_lm

    page = f.score([ANSWER], documents=[PAGE], model=example_lm())._repr_html_()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "answer.html")
        file.write_text(f"<meta charset=utf-8><body style='margin:18px'>{page}</body>", encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=800,420"]
        subprocess.run([chromium, *options, f"--screenshot={JUDGED_ANSWER}", file.as_uri()], check=True)


if __name__ == "__main__":
    draw_popularity()
    if chromium := shutil.which("chromium"):
        photograph_answer(chromium)
    (ROOT / "README.md").write_text(readme_text(), encoding="utf-8")
