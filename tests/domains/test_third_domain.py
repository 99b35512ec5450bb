"A domain that the package has never heard of: found by its import path, it goes through r0 to r6."

import json
import os
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, fence

from fence_nb.core.records import InputError
from fence_nb.core.settings import load_profile
from fence_nb.domains.domain import open_domain

HERE = Path(__file__).parent
SETTINGS = {
    "domain": "movers:Movers",
    "evaluator_steps": 20,
    "n_prompts": 4,
    "n_test_prompts": 4,
    "arms": "sft,fence",
    "evaluators": "full",
    "eval_temperatures": "1.0",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    "The run folder, finished."
    folder = tmp_path_factory.mktemp("movers")
    given = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    paths = os.pathsep.join(filter(None, (str(HERE), ENVIRONMENT.get("PYTHONPATH"))))
    done = fence("run", "--profile", "toy", "--run", folder / "run", *given, home=folder, extra={"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "run"


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_stage_is_done(run):
    manifests = sorted(run.glob("r*/manifest.json"))
    assert [json.loads(m.read_text())["status"] for m in manifests] == ["done"] * 7
    assert (run / "report.html").is_file()


def test_its_claims_teacher_and_tool_made_the_evaluators_rows(run):
    rows = records(run / "r1_evaluator_data" / "evaluator_rows.jsonl")
    assert len({row["example_id"] for row in rows}) == 40
    assert all(row["critique"].startswith("home: the claim gives") for row in rows if row["critique"])
    assert any(row["evidence"] == "tools" for row in rows)


def test_its_truth_and_its_topics_reach_the_figures(run):
    judgments = records(run / "r6_generator_test" / "judgments.jsonl")
    assert judgments and {j["judge"] for j in judgments} == {"the register"}
    values = json.loads((run / "r6_generator_test" / "values.json").read_text())
    topics = {topic for rows in values["base"].values() for _, _, topics, _ in rows for topic in topics}
    assert "home" in topics and topics <= {"home", ""}
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["generator"]) >= {"base", "sft", "fence"}
    assert "base" not in metrics, "nobody knows what its base model knows"


def test_the_report_shows_places_and_what_the_evaluator_says_of_the_answers(run):
    test = run / "r6_generator_test"
    assert set(json.loads((test / "topics.json").read_text())["places"].values()) == {"NR"}
    claims = {claim["id"] for claim in records(test / "claims.jsonl")}
    critiques = [r for r in records(test / "critiques.jsonl") if r["kind"] == "Judgment"]
    assert critiques and {critique["claim_id"] for critique in critiques} <= claims
    assert {critique["judge"] for critique in critiques} != {"the register"}
    page = (run / "report.html").read_text()
    assert (run / "figures" / "world.png").is_file() and "it agrees on" in page and "stopped saying" in page


def test_it_has_none_of_the_miniatures_parameters(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    domain = open_domain(load_profile("toy", {"domain": "movers:Movers"}))
    assert (domain.name, list(domain.group_order)) == ("movers", []) and "movers" in sys.modules
    with pytest.raises(InputError, match="unknown parameter 'people'"):
        load_profile("toy", {"domain": "movers:Movers", "people": 60})
    with pytest.raises(InputError, match="no attribute 'Stayers'"):
        open_domain(load_profile("toy", {"domain": "movers:Stayers"}))
