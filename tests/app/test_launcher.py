"The launcher on run notebooks of our own: unknown names, skipping, resuming, changing, failing, and where it writes."

import io
import json
import re

import nbformat
import pytest
from conftest import ROOT

from fence_nb.app.launch import StageFailed, check_parameters, run_profile
from fence_nb.app.runs import Stage, gather_metrics
from fence_nb.core.records import InputError
from fence_nb.core.store import fingerprint

PARAMETERS = 'profile = "toy"\nrun = "data/runs/toy"\noverrides = {}'
FIRST = """from fence_nb.app.runs import Stage
stage = Stage("r0_first", profile, run, overrides)
with open(stage.path("count.txt"), "a") as f: f.write("once\\n")
stage.path("a.txt").write_text(f"seed {stage.p.seed}")
stage.finish({"first": {"seed": stage.p.seed}})"""
SECOND = """from fence_nb.app.runs import Stage
stage = Stage("r1_second", profile, run, overrides)
text = stage.input("r0_first", "a.txt").read_text() + stage.external("data/outside.txt").read_text()
with open(stage.path("count.txt"), "a") as f: f.write("once\\n")
stage.finish({"second": {"length": len(text), "rounds": stage.p.rounds}})"""


def notebook(path, code: str, tagged: bool = True) -> None:
    cells = [
        nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]} if tagged else {}),
        nbformat.v4.new_code_cell(code),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=cells, metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "python3"}}
        ),
        path,
    )


@pytest.fixture
def project(tmp_path, monkeypatch):
    root = tmp_path / "a project"
    notebook(root / "nbs" / "runs" / "r0_first.ipynb", FIRST)
    notebook(root / "nbs" / "runs" / "r1_second.ipynb", SECOND)
    (root / "data").mkdir()
    (root / "data" / "outside.txt").write_text("outside")
    text = (ROOT / "settings.ini").read_text(encoding="utf-8")
    (root / "settings.ini").write_text(
        re.sub(r"(\[toy\].*?)\nrounds = \d+", r"\1", text, flags=re.S).replace("[toy]", "[toy]\nrounds = 1\nstages =")
    )
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("fence_nb.app.launch.write_report", lambda run: run / "report.html")
    return root


def launch(**kw) -> str:
    "What the launcher says, without the lines that only say how far a stage is."
    log = io.StringIO()
    run_profile("toy", out=log, **kw)
    return re.sub(r"  r\d_\w+: \d+ s.*\n", "", log.getvalue())


def test_run_skip_change(project, tmp_path):
    first = launch()
    assert re.search(r"\[1/2\] r0_first: done in \d+ s, \d+ MB\n\[2/2\] r1_second: done", first)
    run = project / "data" / "runs" / "toy"
    metrics = json.loads((run / "metrics.json").read_text())
    assert (
        metrics["first"] == {"seed": 0}
        and set(metrics["seconds"]) == {"r0_first", "r1_second"}
        and metrics["peak_rss_mb"] > 10
    )
    manifest = json.loads((run / "r1_second" / "manifest.json").read_text())
    assert (
        manifest["status"] == "done"
        and manifest["read"] == ["rounds"]
        and manifest["parameters"]["rounds"]["origin"] == "[toy]"
    )
    assert (
        manifest["inputs"] == {"r0_first/a.txt": fingerprint(run / "r0_first" / "a.txt")}
        and "torch" in manifest["versions"]
    )
    assert nbformat.read(run / "r1_second" / "r1_second.ipynb", 4).cells[1].metadata.tags == ["injected-parameters"]

    assert (
        launch()
        == "[1/2] r0_first: unchanged, skipped\n[2/2] r1_second: unchanged, skipped\nreport: "
        + str(run / "report.html")
        + "\n"
    )

    # A parameter that only the second stage reads; a stage that runs again starts clean.
    changed = launch(overrides={"rounds": 2})
    assert "r0_first: unchanged" in changed and "r1_second: run again, rounds was 1, is 2" in changed
    assert (run / "r1_second" / "count.txt").read_text() == "once\n"

    # What an earlier stage gives, what lies outside, a lost output, the code of a notebook.
    changed = launch(overrides={"rounds": 2, "seed": 11})
    assert (
        "r0_first: run again, seed was 0, is 11" in changed
        and "r1_second: run again, input r0_first/a.txt changed" in changed
    )
    (project / "data" / "outside.txt").write_text("other")
    assert "external data/outside.txt changed" in launch(overrides={"rounds": 2, "seed": 11})
    (run / "r0_first" / "a.txt").unlink()
    assert "output a.txt is gone" in launch(overrides={"rounds": 2, "seed": 11})
    notebook(project / "nbs" / "runs" / "r1_second.ipynb", SECOND + "\n1 + 1")
    assert "r1_second: run again, the notebook changed" in launch(overrides={"rounds": 2, "seed": 11})

    assert not (tmp_path / "home").exists(), "a run writes nothing to the home folder"
    assert {f.name for f in project.iterdir()} == {"nbs", "data", "settings.ini"} and {
        f.name for f in (project / "data").iterdir()
    } == {"runs", "outside.txt"}


ASKS = """from pathlib import Path
from fence_nb.app.runs import Stage
from fence_nb.core.records import Claim, Failure
from fence_nb.core.store import run_resumable
stage = Stage("r0_first", profile, run, overrides)
def ask(word):
    Path(stage.p.root, "asked.txt").open("a").write(word)
    if word in Path(stage.p.root, "down.txt").read_text():
        return [Failure(stage="judge", item_id=word, reason="failed", detail="status 503")]
    return [Claim(response_id="r", text=word, start=0, end=1)]
records = run_resumable(stage.path("records.jsonl"), list("abc"), ask)
text = " ".join(r.text for r in records if r.kind == "Claim")
stage.path("a.txt").write_text(text)
failures = [r for r in records if r.kind == "Failure"]
stage.guard(failures, 3)
stage.finish({"first": {"text": text}}, failures)"""


def test_what_failed_is_asked_again(project):
    notebook(project / "nbs" / "runs" / "r0_first.ipynb", ASKS)
    down, asked = project / "down.txt", project / "asked.txt"
    down.write_text("b")
    with pytest.raises(StageFailed, match="1 of 3 items failed.*start the same run again to ask for them once more"):
        launch(overrides={"max_failure_rate": 0.3})
    tolerant = {"max_failure_rate": 0.5}
    first = launch(overrides=tolerant)
    assert "[1/2] r0_first: goes on where it stopped" in first and "1 failed\n" in first
    assert asked.read_text() == "abcb"
    again = launch(overrides=tolerant)
    assert "[1/2] r0_first: asks again for what failed, 1 in all" in again and asked.read_text() == "abcbb"
    assert "[2/2] r1_second: unchanged, skipped" in again, "nothing came of it"
    down.write_text("")
    again = launch(overrides=tolerant)
    assert "[1/2] r0_first: asks again" in again and "[2/2] r1_second: run again, input r0_first/a.txt" in again
    assert json.loads((project / "data/runs/toy/metrics.json").read_text())["first"] == {"text": "a b c"}
    assert "[1/2] r0_first: unchanged, skipped" in launch(overrides=tolerant)
    assert asked.read_text() == "abcbbb"


def test_a_file_that_a_setting_names_counts(project):
    notebook(
        project / "nbs" / "runs" / "r0_first.ipynb",
        FIRST.replace("with open(", "open(stage.p.place(stage.p.prompts_file)).read()\nwith open(", 1),
    )
    topics = project / "data" / "topics.txt"
    topics.write_text("Ada Vell")
    changes = {"prompts_file": "data/topics.txt"}
    assert "r0_first: done" in launch(overrides=changes)
    assert "r0_first: unchanged, skipped" in launch(overrides=changes)
    topics.write_text("Bo Lund")
    assert "r0_first: run again, external data/topics.txt changed" in launch(overrides=changes)


def test_resume_keeps_what_is_still_true(project):
    run = project / "data" / "runs" / "toy"
    stage = Stage("r0_first", "toy", run)
    stage.path("records.jsonl.part").write_text("half\n")
    assert Stage("r0_first", "toy", run).path("records.jsonl.part").exists()  # killed: goes on
    assert not Stage("r0_first", "toy", run, {"seed": 1}).path("records.jsonl.part").exists()  # changed: starts clean


def test_a_stage_that_is_killed_twice_knows_what_its_first_half_was_made_of(project):
    run, words = project / "data" / "runs" / "toy", project / "data" / "words.txt"
    words.write_text("one")
    stage = Stage("r0_first", "toy", run)
    stage.external("data/words.txt")
    stage.path("records.jsonl.part").write_text("half\n")
    Stage("r0_first", "toy", run)  # killed before it came to read
    words.write_text("two")
    assert not Stage("r0_first", "toy", run).path("records.jsonl.part").exists()


def test_files_of_settings_are_told_from_the_runs_own(project):
    run = project / "data" / "runs" / "toy"
    stage = Stage("r0_first", "toy", run)
    stage.path("base").mkdir()
    for value in ("data", str(stage.path("base")), "a/hub-name", "http://localhost/v1#m", ""):
        stage.p.place(value)
    assert stage.manifest["external"] == {}, "what the run makes, or holds the run, is no file of a setting"
    stage.p.place("data/outside.txt")
    assert list(stage.manifest["external"]) == ["data/outside.txt"]


def test_unknown_names_stop_before_anything_runs(project):
    for kw, words in (
        ({"overrides": {"sede": 1}}, "unknown parameter 'sede'; nearest: seed"),
        ({"stages": ["r7"]}, "stage 'r7' does not exist"),
        ({"overrides": {"rounds": "x"}}, "parameter 'rounds'"),
    ):
        with pytest.raises(InputError, match=words):
            launch(**kw)
    notebook(project / "nbs" / "runs" / "r1_second.ipynb", SECOND, tagged=False)
    with pytest.raises(InputError, match="no cell is tagged 'parameters'"):
        launch()
    with pytest.raises(InputError, match="unknown parameter 'limmit'"):
        check_parameters(project / "nbs" / "runs" / "r0_first.ipynb", ["limmit"])
    assert not (project / "data" / "runs").exists()


def test_a_failing_notebook_is_one_line(project):
    path = project / "nbs" / "runs" / "r0_first.ipynb"
    notebook(path, FIRST + "\nraise ValueError('two\\nlines')")
    with pytest.raises(StageFailed, match=r"^r0_first: ValueError: two lines \(see .*r0_first.ipynb\)$") as e:
        launch(stages=["r0"])
    assert not e.value.usage
    notebook(
        path,
        "from fence_nb.app.runs import Stage\nstage = Stage('r0_first', profile, run, overrides)\n"
        "stage.external('nowhere.txt')",
    )
    with pytest.raises(StageFailed, match="InputError: r0_first needs nowhere.txt") as e:
        launch(stages=["r0"])
    assert e.value.usage
    notebook(path, "import os\nos._exit(1)")
    with pytest.raises(StageFailed, match="the kernel died"):
        launch(stages=["r0"])
    notebook(path, "1 + 1")
    with pytest.raises(StageFailed, match="without stage.finish"):
        launch(stages=["r0"])


def test_a_quiet_stage_says_that_it_lives(project, monkeypatch):
    monkeypatch.setattr("fence_nb.app.launch.StageProgress.__init__.__defaults__", (1.0,))
    notebook(project / "nbs" / "runs" / "r0_first.ipynb", FIRST + "\nimport time; time.sleep(3)")
    log = io.StringIO()
    run_profile("toy", out=log, stages=["r0"])
    assert re.search(r"  r0_first: \d+ s\n", log.getvalue())


def test_no_nan_in_metrics(project):
    stage = Stage("r0_first", "toy", project / "run")
    with pytest.raises(ValueError):
        stage.finish({"x": float("nan")})
    assert gather_metrics(project / "run") == {}
