"The shape of the house: layers, lazy imports, notebooks in step and clean, README, settings."

import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT

NOTEBOOKS = sorted((ROOT / "nbs").glob("[0-9]*.ipynb"))
RUNS = sorted((ROOT / "nbs" / "runs").glob("*.ipynb"))


def cells(path: Path, kind: str = "code") -> list[dict]:
    return [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == kind]


def test_layers():
    order = {re.search(r"default_exp (\w+)", "".join(cells(n)[0]["source"]))[1]: n.name for n in NOTEBOOKS}
    files = {f.stem: f for f in (ROOT / "fence_nb").glob("[!_]*.py")}
    assert set(order) == set(files)
    for name, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("fence_nb.")):
                other = (node.module or "").removeprefix("fence_nb.")
                assert order[other] < order[name], f"{name} imports {other}, which comes later"


def test_imports_are_light():
    modules = sorted(f.stem for f in (ROOT / "fence_nb").glob("[!_]*.py"))
    code = f"""import importlib, sys
for m in {modules}:
    importlib.import_module("fence_nb." + m)
    heavy = sorted(set("torch transformers trl unsloth vllm sentence_transformers datasets matplotlib papermill".split()) & set(sys.modules))
    assert not heavy, (m, heavy)"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    "A copy of the repository, exported from nothing and cleaned."
    copy = tmp_path_factory.mktemp("copy of it") / "repo"
    shutil.copytree(
        ROOT,
        copy,
        ignore=shutil.ignore_patterns(
            ".venv", ".git", "runs-*", "data", "__pycache__", "*.egg-info", ".pytest_cache", ".ipynb_checkpoints"
        ),
    )
    for f in (copy / "fence_nb").glob("*.py"):
        if f.name != "__init__.py":
            f.unlink()
    for work in ("nbdev_export", "nbdev_clean"):
        code = f"from nbdev.{'doclinks' if work == 'nbdev_export' else 'clean'} import {work}; {work}()"
        # The copy must not be shadowed by the installed package, nor write to the home folder.
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            cwd=copy,
            env=ENVIRONMENT | {"HOME": str(copy.parent), "PYTHONPATH": str(copy)},
            capture_output=True,
        )
    return copy


def test_code_is_in_step(exported):
    def code(root):
        return {f.name: f.read_text(encoding="utf-8") for f in (root / "fence_nb").glob("*.py")}

    ours, fresh = code(ROOT), code(exported)
    assert sorted(ours) == sorted(fresh)
    assert [n for n in ours if ours[n] != fresh[n]] == [], "run nbdev-export"


def test_notebooks_are_clean(exported):
    differ = [
        str(n.relative_to(ROOT))
        for n in (ROOT / "nbs").rglob("*.ipynb")
        if ".ipynb_checkpoints" not in n.parts and n.read_bytes() != (exported / n.relative_to(ROOT)).read_bytes()
    ]
    assert differ == [], "run nbdev-clean"


def test_readme_is_the_index(tmp_path):
    index = ROOT / "nbs" / "index.ipynb"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "nbconvert",
            "--to",
            "markdown",
            str(index),
            "--output-dir",
            str(tmp_path),
            "--output",
            "README",
            "--RegexRemovePreprocessor.enabled=True",
            r"--RegexRemovePreprocessor.patterns=^#\|\s*hide",
        ],
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == (ROOT / "README.md").read_text(encoding="utf-8"), (
        "make README.md from nbs/index.ipynb by nbconvert"
    )


@pytest.mark.parametrize("path", NOTEBOOKS + RUNS, ids=lambda p: p.name)
def test_notebook_form(path):
    assert json.loads(path.read_text(encoding="utf-8"))["metadata"]["kernelspec"]["name"] == "python3"
    first = cells(path, "markdown")[0]["source"]
    assert first[0].startswith("# ") and any(line.startswith("> ") for line in first), "title and a line of purpose"


@pytest.mark.parametrize("path", RUNS, ids=lambda p: p.name)
def test_run_notebook_form(path):
    code = ["".join(c["source"]) for c in cells(path)]
    assert [c for c in code if re.search(r"^\s*(def|class|async def) ", c, re.M)] == [], (
        "logic belongs into the package"
    )
    tagged = [c for c in cells(path) if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
    assert set(re.findall(r"^(\w+) =", "".join(tagged[0]["source"]), re.M)) == {"profile", "run", "overrides"}


def test_every_setting_names_its_source():
    lines = (ROOT / "settings.ini").read_text(encoding="utf-8").split("[DEFAULT]")[1].split("\n[")[0].splitlines()
    for line in lines:
        if "=" in line and not line.startswith("#"):
            assert re.search(r"# (paper|silent|ours)\b", line), line


def test_every_profile_loads():
    from fence_nb.core.settings import Profile, load_profile, profile_names

    assert {"mini", "mini-base", "real-evaluator", "llama3-8b", "llama2-7b", "toy"} <= set(profile_names())
    for name in profile_names():
        load_profile(name, path=ROOT / "settings.ini")
    ini = configparser.ConfigParser(default_section="", interpolation=None, inline_comment_prefixes=("#",))
    ini.read(ROOT / "settings.ini", encoding="utf-8")
    assert set(ini["DEFAULT"]) == {f for f, info in Profile.model_fields.items() if not info.exclude}


def test_files_name_no_machine():
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True
    )
    files = (
        [ROOT / n for n in names.stdout.splitlines()]
        if names.returncode == 0 and names.stdout
        else [f for d in ("nbs", "fence_nb", "tests") for f in (ROOT / d).rglob("*") if f.is_file()]
    )
    bad = re.compile(
        rb"/(?:work|root|home/\w+)/[\w.]|\b(?:pypi|pythonhosted)\.org|" + re.escape(os.fsencode(str(ROOT))) + rb"/"
    )
    own = Path(__file__).resolve()
    found = [
        f"{f.relative_to(ROOT)}: {m[0].decode()}"
        for f in files
        if f.is_file()
        and f != own
        and f.suffix in (".py", ".ipynb", ".md", ".ini", ".toml", ".yml", ".cff", "")
        and (m := bad.search(f.read_bytes()))
    ]
    assert found == []


RANK = """
from fence_nb.evidence.tools import rerank
from fence_nb.core.records import Document
words = "abcdefgh"
pair = [Document(text=" ".join(f"{w}{k}" for w in words)) for k in range(20)]                         # equal in everything but the words,
more = [Document(text=f"{w}{k} " + "x " * 7) for k in range(20) for n, w in enumerate(words) for _ in range(n)] # which are rare to common
print([d.text for d in rerank(" ".join(d.text for d in pair), pair + more, 20)])
"""


def test_ranking_is_the_same_in_every_process():
    "A sum over a set of words would break ties by how Python hashes words in this process."
    ranked = {
        subprocess.run(
            [sys.executable, "-c", RANK],
            env=os.environ | {"PYTHONHASHSEED": str(k)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for k in range(3)
    }
    assert len(ranked) == 1
