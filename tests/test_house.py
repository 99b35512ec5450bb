"The shape of the house: wings, lazy imports, notebooks in step and clean, README, names, settings."

import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT
from readme import POPULARITY, popularity_rows, readme_text

WINGS = {
    "core": set(),
    "models": {"core"},
    "corpora": {"core"},
    "evidence": {"core"},
    "judging": {"core", "models", "evidence"},
    "fence": {"core", "evidence", "judging"},
    "results": {"core", "corpora", "fence"},
    "domains": {"core", "models", "corpora", "evidence", "judging"},
    "app": {"core", "models", "corpora", "evidence", "judging", "fence", "results", "domains"},
}
NOTEBOOKS = sorted(n for wing in WINGS for n in (ROOT / "nbs" / wing).rglob("[0-9]*.ipynb"))
RUNS = sorted((ROOT / "nbs" / "runs").glob("*.ipynb"))
MODULES = {
    ".".join(f.relative_to(ROOT / "fence_nb").with_suffix("").parts): f
    for f in sorted((ROOT / "fence_nb").rglob("[!_]*.py"))
}


def cells(path: Path, kind: str = "code") -> list[dict]:
    return [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == kind]


def module_of(notebook: Path) -> str:
    "The module that a notebook is exported to: its folders, then its name without the number."
    return ".".join([*notebook.relative_to(ROOT / "nbs").parent.parts, notebook.stem[3:]])


def ours_imported_by(name: str) -> set[str]:
    "The modules of ours that a module imports, wherever it does."
    modules = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level and node.module:
            modules.add(".".join([*name.split(".")[: -node.level], node.module]))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fence_nb."):
            modules.add(node.module.removeprefix("fence_nb."))
    return {m for m in modules if m and m in MODULES}


def test_a_notebook_is_a_module():
    assert set(map(module_of, NOTEBOOKS)) == set(MODULES)
    for notebook in NOTEBOOKS:
        name = re.search(r"default_exp ([\w.]+)", "".join(cells(notebook)[0]["source"]))[1]
        assert name == module_of(notebook), notebook
    for folder, n in Counter(notebook.parent for notebook in NOTEBOOKS).items():
        assert n <= 10, f"{folder}: too many rooms to look through"


@pytest.mark.parametrize("name", MODULES)
def test_layers(name):
    wing = name.split(".")[0]
    for other in ours_imported_by(name):
        assert other.split(".")[0] in WINGS[wing] | {wing}, f"{name} imports {other}; {wing} may import {WINGS[wing]}"


def test_no_module_imports_itself_in_the_end():
    graph = {name: ours_imported_by(name) for name in MODULES}
    finished = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in finished:
            for other in graph[name]:
                visit(other, (*path, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


def test_imports_are_light():
    heavy = "torch transformers trl unsloth vllm sentence_transformers datasets matplotlib papermill"
    code = f"""import importlib, sys
for m in {sorted(MODULES)}:
    importlib.import_module("fence_nb." + m)
    assert not (heavy := sorted(set("{heavy}".split()) & set(sys.modules))), (m, heavy)"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_windows_can_import_it():
    "No module of ours imports what only Unix has. psutil and filelock do, where they may."
    for name, file in MODULES.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not {"fcntl", "resource", "pwd", "grp", "termios"} & set(names), name


@pytest.mark.parametrize("folder", ["fence_nb", "tests"])
def test_lines_can_be_read(folder):
    ruff = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", folder], cwd=ROOT, capture_output=True, text=True
    )
    assert ruff.returncode == 0, ruff.stdout[-3000:] + ruff.stderr[-500:]


@pytest.mark.parametrize("name", MODULES)
def test_lines_are_short(name):
    "At most 120 columns, but for the list of public names, which nbdev writes."
    text = MODULES[name].read_text(encoding="utf-8")
    generated, _, own = text.partition("\n# %% ../")
    assert [line for line in [generated.split("\n", 1)[0], *own.splitlines()] if len(line) > 120] == []


def test_cells_and_tests_are_formatted():
    command = [sys.executable, "-m", "ruff", "format", "--no-cache", "--check", "nbs", "tests"]
    ruff = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ruff.returncode == 0, ruff.stdout[-2000:] + ruff.stderr[-500:]


def public_names() -> dict[str, list[str]]:
    "Each public name, and the modules that define it."
    modules_by_name = defaultdict(list)
    for module, file in MODULES.items():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
                for name in ast.literal_eval(node.value):
                    modules_by_name[name].append(module)
    return modules_by_name


def test_a_public_name_means_one_thing():
    assert {name: modules for name, modules in public_names().items() if len(modules) > 1} == {}


def test_every_public_name_is_used():
    "By another module, a lesson, a run notebook, a page or a test."
    words_by_place = defaultdict(set)
    for module, file in MODULES.items():
        words_by_place[module] = set(re.findall(r"\w+", file.read_text(encoding="utf-8").split("# %%", 1)[-1]))
    elsewhere = set()
    for path in [*(ROOT / "nbs").rglob("*.ipynb")]:
        for cell in cells(path):
            source = "".join(cell["source"])
            if not source.startswith(("#| export", "#| default_exp")):
                elsewhere |= set(re.findall(r"\w+", source))
    elsewhere |= {w for f in (ROOT / "tests").rglob("*.py") for w in re.findall(r"\w+", f.read_text(encoding="utf-8"))}
    unused = []
    for name, (module, *_) in public_names().items():
        others = (words for place, words in words_by_place.items() if place != module)
        own = len(re.findall(rf"\b{name}\b", MODULES[module].read_text(encoding="utf-8").split("# %%", 1)[-1]))
        if name not in elsewhere and own < 2 and not any(name in words for words in others):
            unused.append(f"{module}.{name}")
    assert unused == []


def test_only_a_domain_knows_which_domain_it_is():
    switch = re.compile(r"\.task\b|\bteacher [!=]= [\"']|\.domain [!=]= [\"']")
    modules = {m: f for m, f in MODULES.items() if not m.startswith("domains.")}
    found = [f"{m}: {hit}" for m, f in modules.items() for hit in switch.findall(f.read_text(encoding="utf-8"))]
    found += [f"{n.name}: {hit}" for n in RUNS for c in cells(n) for hit in switch.findall("".join(c["source"]))]
    assert found == []


def test_no_test_asserts_a_time():
    clock = re.compile(r"assert [^\n]*(?:time\.time\(\)|perf_counter|\bseconds\b[^\n]*<|monotonic\(\))")
    texts = {f: f.read_text(encoding="utf-8") for f in (ROOT / "tests").rglob("*.py") if f != Path(__file__).resolve()}
    assert [f"{f.name}: {m[0]}" for f, text in texts.items() for m in clock.finditer(text)] == []


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def links_of(path: Path) -> list[str]:
    "Every link of a page; of a notebook, those in its prose."
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(c["source"]) for c in cells(path, "markdown"))
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)
    return [a or b for a, b in LINK.findall(text)]


def test_links_lead_somewhere():
    "Links inside the repository; addresses elsewhere are only read, since no test needs a network."
    pages = [*ROOT.glob("*.md"), ROOT / "data" / "README.md", *(ROOT / "nbs").rglob("*.ipynb")]
    broken = []
    for page in pages:
        for link in links_of(page):
            target, _, anchor = link.partition("#")
            if re.match(r"https://[\w.-]+\.\w+(/|$)", link) or link.startswith("mailto:"):
                continue
            if target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {link}")
            elif not target and anchor and anchor not in headings_of(page):
                broken.append(f"{page.relative_to(ROOT)}: {link}: no such heading")
    assert broken == []


def headings_of(page: Path) -> set[str]:
    "Anchors as code hosts make them from headings."
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        text = "\n".join("".join(c["source"]) for c in cells(page, "markdown"))
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", t).strip().lower().replace(" ", "-") for t in titles}


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
    for f in (copy / "fence_nb").rglob("*.py"):
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
        return {str(f.relative_to(root)): f.read_text(encoding="utf-8") for f in (root / "fence_nb").rglob("*.py")}

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


def test_the_picture_of_popularity_shows_the_study():
    from PIL import Image

    with Image.open(POPULARITY) as picture:
        assert json.loads(picture.text["rows"]) == popularity_rows(), "run: python tests/readme.py"


def test_readme_is_the_index():
    assert readme_text() == (ROOT / "README.md").read_text(encoding="utf-8"), "run: python tests/readme.py"


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
    section = ""
    silent = []
    for line in (ROOT / "settings.ini").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line
        is_setting = "=" in line and not line.startswith(("#", "like ="))
        if is_setting and not re.search(r"# (paper|silent|ours)\b", line):
            silent.append(f"{section} {line}")
    assert silent == []


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
# Two texts that are equal in everything but the words, which are rare to common.
pair = [Document(text=" ".join(f"{w}{k}" for w in words)) for k in range(20)]
often = [f"{w}{k} " + "x " * 7 for k in range(20) for n, w in enumerate(words) for _ in range(n)]
more = [Document(text=text) for text in often]
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
