"Every lesson runs, and shows what it shows here: stored outputs are compared with fresh ones."

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT

LEFT_OUT = (".venv", ".git", "__pycache__", "*.egg-info", ".pytest_cache", ".ipynb_checkpoints")
PAGES = sorted(n for n in (ROOT / "nbs").rglob("*.ipynb") if n.parent.name not in ("runs", "bench"))


def without_what_is_made_here(folder: str, names: list[str]) -> set[str]:
    "What a copy for the lessons leaves out: environments, caches, runs and downloads."
    made = {"runs", "raw", "cache"} if Path(folder).name == "data" else set()
    return set(shutil.ignore_patterns(*LEFT_OUT)(folder, names)) | made & set(names)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    "A copy of the repository whose lessons have just been run, and what the run said."
    copy = tmp_path_factory.mktemp("lessons") / "repo"
    shutil.copytree(ROOT, copy, ignore=without_what_is_made_here)
    environment = os.environ | ENVIRONMENT | {"HOME": str(copy.parent), "PYTHONPATH": str(copy)}
    command = [sys.executable, "-c", "from nbdev.test import nbdev_test; nbdev_test()", "--save"]
    return copy, subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)


def test_every_lesson_runs(fresh):
    _, done = fresh
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]


def plain(text: str) -> str:
    "An output without what may differ between two machines: addresses, temporary folders, digits past the sixth."
    text = re.sub(r"0x[0-9a-f]{6,}", "0x…", text)
    text = re.sub(r"[\w/\\.:-]*[/\\]tmp[\w.-]*(?:[/\\][\w. -]+)*", "TMP", text)
    return re.sub(r"-?\d+\.\d{5,}(?:e-?\d+)?", lambda m: f"{float(m[0]):.4g}", text)


def shown(path: Path) -> list[tuple[str, str]]:
    "The end of each cell's source, and what it shows; of a picture, that there is one."
    rows = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] != "code":
            continue
        parts = []
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                parts.append("a picture")
            elif output.get("name") != "stderr":
                parts.append("".join(data.get("text/html") or data.get("text/plain") or output.get("text") or []))
        rows.append(("".join(cell["source"])[-200:], plain("\n".join(parts))))
    return rows


@pytest.mark.parametrize("path", PAGES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_stored_outputs_are_fresh(fresh, path):
    stored, now = shown(path), shown(fresh[0] / path.relative_to(ROOT))
    assert [source for source, _ in stored] == [source for source, _ in now]
    for (source, before), (_, after) in zip(stored, now, strict=True):
        assert before == after, f"stale output of the cell that ends in …{source}"
