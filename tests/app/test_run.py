"All run notebooks at toy size: they run, are skipped, survive kill -9 in every stage, and repeat their figures."

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import ENVIRONMENT, ROOT, fence

STAGES = [
    "r0_base",
    "r1_evaluator_data",
    "r2_evaluator",
    "r3_evaluator_test",
    "r4_preferences",
    "r5_generator",
    "r6_generator_test",
]


def metrics(run: Path) -> dict:
    "What must not depend on the machine's mood."
    return {
        k: v for k, v in json.loads((run / "metrics.json").read_text()).items() if k not in ("seconds", "peak_rss_mb")
    }


def test_end_to_end(toy_run):
    run, done = toy_run["run"], toy_run["done"]
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((run / "metrics.json").read_text())
    assert all(seconds > 0 for seconds in found["seconds"].values())
    assert found["peak_rss_mb"] < 4096
    assert found["profile"] == "toy" and set(found["seconds"]) == set(STAGES)
    assert set(found["evaluator"]) == {"base", "vanilla", "critique", "full"}
    assert {"base", "sft", "fence", "facttune", "edit_coarse", "shorter"} <= set(found["generator"])
    for variant in found["evaluator"].values():
        assert variant["bacc_ci"] is None or variant["bacc_ci"][0] <= variant["bacc"] <= variant["bacc_ci"][1]
    for arm in found["generator"].values():
        assert {
            f"{k}{ci}"
            for k in ("facts_pct", "supported_per_response", "claims_per_response", "refusal_pct", "unparsed_pct")
            for ci in ("", "_ci")
        } <= set(arm) and "at_0.7" in arm
    assert {"critique_kept_pct", "tools_kept_pct"} <= set(found["augment"])
    assert len(done.stdout.splitlines()) <= 15 and "report.html" in done.stdout, "short, and says where the rest is"
    for words in ("evaluator full", "fence", "65.41"):
        assert words in done.stdout
    for words in ("77.2", "54.1", "Share of facts"):
        for name in ("results.txt", "results.md", "report.html"):
            assert words in (run / name).read_text(encoding="utf-8"), name
    page = (run / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)=["']?https?:""", page), "the report needs no network"


def test_every_stage_accounts_for_itself(toy_run):
    for name in STAGES:
        folder = toy_run["run"] / name
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["status"] == "done" and (folder / f"{name}.ipynb").is_file()
        for line in (folder / "failures.jsonl").read_text().splitlines():
            assert json.loads(line)["reason"]
        assert sum(manifest["failures"].values()) >= len((folder / "failures.jsonl").read_text().splitlines())


def test_nothing_is_written_elsewhere(toy_run):
    assert sorted(str(f.relative_to(toy_run["home"])) for f in toy_run["home"].rglob("*") if f.is_file()) == []


def test_second_run_is_skipped(toy_run):
    again = fence("run", "--profile", "toy", "--run", toy_run["run"], home=toy_run["home"])
    assert again.returncode == 0 and again.stderr.count("unchanged, skipped") == len(STAGES)
    assert again.stdout == toy_run["done"].stdout


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("killed") / "toy"


def kill(run: Path, stage: str, home: Path, ready) -> bool:
    "Start a stage and kill the command and its kernel -9 when `ready`, or let it end; whether it was still at work."
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from fence_nb.app.cli import main; main()",
            "run",
            "--profile",
            "toy",
            "--run",
            str(run),
            "--stages",
            stage,
        ],
        cwd=ROOT,
        env=ENVIRONMENT | {"HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not ready():
        time.sleep(0.01)
    alive = process.poll() is None
    for p in [*psutil.Process(process.pid).children(recursive=True), process] if alive else []:
        p.send_signal(signal.SIGKILL)
    process.wait()
    return alive


@pytest.mark.parametrize("stage", STAGES)
def test_kill_and_resume(toy_run, killed, stage):
    folder, home = killed / stage, toy_run["home"]

    def begun() -> bool:
        return (folder / "manifest.json").is_file()

    def half_done() -> bool:
        return any(
            f.name.endswith((".journal", ".work")) and (f.is_dir() or f.read_text())
            for f in list(folder.iterdir())
            if f.exists()
        )

    assert (
        kill(killed, stage, home, begun) and json.loads((folder / "manifest.json").read_text())["status"] == "running"
    )
    left = half_done()  # the second start may find it at once
    assert kill(killed, stage, home, half_done) or left or stage == "r0_base"  # which has nothing to do in pieces
    if stage != "r0_base":
        assert json.loads((folder / "manifest.json").read_text())["status"] == "running"
    done = fence("run", "--profile", "toy", "--run", killed, "--stages", stage, home=home)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search("goes on where it stopped" + "|unchanged, skipped" * (stage == "r0_base"), done.stderr)
    whole = toy_run["run"] / stage
    files = sorted(
        f.relative_to(whole)
        for f in whole.rglob("*")
        if f.suffix in (".jsonl", ".safetensors") and not any(p.startswith(".") for p in f.relative_to(whole).parts)
    )
    assert files and [str(f) for f in files if (folder / f).read_bytes() != (whole / f).read_bytes()] == []
    assert not list(folder.glob("*.part")) and not list(folder.glob("*.journal")) and not list(folder.glob(".*.work"))


def test_same_seed_same_metrics(toy_run, killed):
    assert metrics(killed) == metrics(toy_run["run"])
