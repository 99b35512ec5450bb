"Wheel and sdist in clean environments: a light core without torch, and a run in an empty folder."

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BUILT_FROM = ("setup.py", "MANIFEST.in", "pyproject.toml", "settings.ini", "LICENSE", "README.md")
HEAVY = ("torch", "transformers", "trl", "datasets", "peft", "papermill", "matplotlib")
# Blocks modules that Windows does not have, then imports everything.
WINDOWS = """
import importlib, pathlib, sys
import psutil  # which has another module for each system

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "resource", "pwd", "grp", "termios"):
            raise ModuleNotFoundError(name)

for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Absent())
import fence_nb
package = pathlib.Path(fence_nb.__path__[0])
for file in sorted(package.rglob("[!_]*.py")):
    importlib.import_module(".".join(("fence_nb", *file.relative_to(package).with_suffix("").parts)))
"""


def run(*argv, cwd, **kw) -> subprocess.CompletedProcess:
    done = subprocess.run(list(map(str, argv)), cwd=cwd, capture_output=True, text=True, timeout=900, **kw)
    assert done.returncode == 0, f"{argv}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done


def test_nothing_needs_unix():
    run(sys.executable, "-c", WINDOWS, cwd=ROOT)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    "An sdist of the repository, and the wheel that is made of it."
    pytest.importorskip("build")
    source = tmp_path_factory.mktemp("source of it")
    listed = run("git", "ls-files", "-co", "--exclude-standard", "--", *BUILT_FROM, "fence_nb", "nbs", "data", cwd=ROOT)
    for name in filter(None, listed.stdout.splitlines()):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", source / "dist", source, cwd=source)
    return {f.suffix: f for f in (source / "dist").iterdir()}


def test_wheel_and_sdist_carry_what_commands_need(built):
    wheel = set(zipfile.ZipFile(built[".whl"]).namelist())
    runs = [f.relative_to(ROOT).as_posix() for f in (ROOT / "nbs" / "runs").glob("*.ipynb")]
    base = [f.relative_to(ROOT).as_posix() for f in (ROOT / "data" / "mini" / "base").iterdir()]
    assert {f"fence_nb/_data/{name}" for name in ("settings.ini", *runs, *base)} <= wheel
    wordings = (ROOT / "fence_nb" / "judging" / "wordings").iterdir()
    assert {f"fence_nb/judging/wordings/{f.name}" for f in wordings} <= wheel
    templates = (ROOT / "fence_nb" / "results" / "templates").iterdir()
    assert {f"fence_nb/results/templates/{f.name}" for f in templates} <= wheel
    with tarfile.open(built[".gz"]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"settings.ini", "setup.py", *runs, *base} <= names


def closure(requirements: list[str]) -> dict[str, importlib.metadata.Distribution]:
    "The installed packages that requirements without extras ask for, and all that those ask for."
    packages, todo = {}, [Requirement(r) for r in requirements]
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if name in packages or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        packages[name] = importlib.metadata.distribution(name)
        todo += [Requirement(r) for r in packages[name].requires or []]
    return packages


def environment(folder: Path, wheel: Path, packages: list[Path]) -> Path:
    "A virtual environment with the wheel, which also sees some folders of packages; its `fence`."
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    install = ["-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel]
    run(sys.executable, *install, cwd=folder.parent)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", code, cwd=folder).stdout.strip())
    (site / "others.pth").write_text("".join(f"{p}\n" for p in packages))
    return folder / "bin" / "fence"


@pytest.fixture(scope="module")
def light(built, tmp_path_factory) -> Path:
    "The `fence` of an environment that holds what the wheel asks for, and nothing else."
    folder = tmp_path_factory.mktemp("light")
    with zipfile.ZipFile(built[".whl"]) as wheel:
        metadata = next(n for n in wheel.namelist() if n.endswith("METADATA"))
        text = wheel.read(metadata).decode()
    wanted = [line.removeprefix("Requires-Dist: ") for line in text.splitlines() if line.startswith("Requires-Dist: ")]
    (folder / "packages").mkdir()
    for package in closure(wanted).values():
        for top in {f.parts[0] for f in package.files or [] if f.parts[0] not in ("..", "__pycache__")}:
            link = folder / "packages" / top
            if not link.exists():
                link.symlink_to(package.locate_file(top))
    return environment(folder / "venv", built[".whl"], [folder / "packages"])


def elsewhere(folder: Path) -> dict:
    folder.mkdir(exist_ok=True)
    return {k: v for k, v in ENVIRONMENT.items() if k != "PYTHONPATH"} | {"HOME": str(folder)}


def test_the_core_needs_no_torch(light, tmp_path):
    code = f"""import importlib.util, sys
assert not [m for m in {HEAVY} if importlib.util.find_spec(m)]
import fence_nb
assert "site-packages" in fence_nb.__path__[0], fence_nb.__path__
{WINDOWS.partition("sys.meta_path.insert(0, Absent())")[2]}"""
    code = code.replace("import fence_nb\n", "import importlib, pathlib\nimport fence_nb\n", 1)
    run(light.parent / "python", "-c", code, cwd=tmp_path, env=elsewhere(tmp_path / "home"))


def test_the_core_judges_scores_revises_and_builds(light, tmp_path, endpoint):
    def lines(name: str, *rows: dict) -> Path:
        (tmp_path / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
        return tmp_path / name

    env = elsewhere(tmp_path / "home")
    claims = lines("claims.jsonl", {"claim": "Ada was born in Torin.", "documents": ["Ada was born in Torin."]})
    judged = run(light, "judge", claims, "--model", endpoint, cwd=tmp_path, env=env)
    assert json.loads(judged.stdout)["label"] == "Supported"
    page = lines("docs.jsonl", {"title": "Ada", "text": "Ada was born in Torin."})
    kb = tmp_path / "docs.db"
    assert "1 passages" in run(light, "kb", "build", page, "--out", kb, cwd=tmp_path, env=env).stdout
    text = "Ada was born in Torin. Ada taught at Velm."
    answers = lines("answers.jsonl", {"topic": "Ada", "prompt": "Tell me a bio of Ada.", "text": text})
    given = ["--responses", answers, "--kb", kb, "--model", endpoint]
    assert run(light, "score", *given, cwd=tmp_path, env=env).stdout.startswith("50.00 [")
    assert json.loads(run(light, "revise", *given, cwd=tmp_path, env=env).stdout)["after"] == "Ada was born in Torin."
    html = "import fence_nb as f; s = f.score('Ada was born in Torin.', documents=['Ada was born in Torin.'], model="
    code = f"{html}{endpoint!r}); assert 'Supported' in s._repr_html_() and len(s.claims) == 1"
    run(light.parent / "python", "-c", code, cwd=tmp_path, env=env)


@pytest.mark.parametrize(
    "argv, extra",
    [
        (["run", "--profile", "toy"], "runs"),
        (["judge", "claims.jsonl", "--model", "owner/name"], "local"),
    ],
)
def test_a_missing_extra_is_one_line(light, tmp_path, argv, extra):
    (tmp_path / "claims.jsonl").write_text('{"claim": "x", "documents": ["x"]}\n')
    env = elsewhere(tmp_path / "home")
    done = subprocess.run([light, *argv], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    *before, last = done.stderr.splitlines()
    assert done.returncode == 2 and f"pip install 'fence_nb[{extra}]'" in last, done.stderr
    assert all(line.startswith("opening ") or not line.strip() or "%|" in line for line in before)


def test_doctor_without_extras(light, tmp_path):
    done = run(light, "doctor", cwd=tmp_path, env=elsewhere(tmp_path / "home"))
    assert "torch is not installed" in done.stdout and "pip install 'fence_nb[local]'" in done.stdout


@pytest.mark.slow
def test_a_run_in_an_empty_folder(built, tmp_path):
    heavy = Path(sysconfig.get_path("purelib"))
    fence = environment(tmp_path / "venv", built[".whl"], [heavy])
    empty = tmp_path / "an empty folder"
    empty.mkdir()
    env = elsewhere(tmp_path / "home") | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
    done = run(fence, "run", "--profile", "toy", cwd=empty, env=env)
    found = json.loads((empty / "data" / "runs" / "toy" / "metrics.json").read_text())
    assert "fence" in found["generator"] and "full" in found["evaluator"]
    assert (empty / "data" / "runs" / "toy" / "report.html").is_file() and "FenCE run: toy" in done.stdout
    assert [f.name for f in empty.iterdir()] == ["data"]
    again = run(fence, "run", "--profile", "toy", cwd=empty, env=env)
    assert again.stderr.count("unchanged, skipped") == 7
