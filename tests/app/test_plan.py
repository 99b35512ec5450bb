"The dry run: everything a profile names is looked at, what is missing is said, and nothing is started."

import re
from dataclasses import replace

import pytest
from conftest import ROOT, fence

from fence_nb.app.plan import assumed, dry_run, estimate_calls, gpu_hours, requirements_of
from fence_nb.core.records import Document, InputError
from fence_nb.core.settings import load_profile
from fence_nb.domains.services import try_opening
from fence_nb.evidence.graph import build_triples
from fence_nb.evidence.kb import build_kb
from fence_nb.fence.recipes import OBJECTIVES

KEYS = ("BRAVE_API_KEY", "FENCE_CONTACT", "HF_TOKEN", "OPENAI_API_KEY", "GOOGLE_API_KEY")


@pytest.fixture
def bare(monkeypatch):
    for key in KEYS:
        monkeypatch.delenv(key, raising=False)
    return monkeypatch


def test_command(tmp_path):
    done = fence(
        "run",
        "--profile",
        "llama3-8b",
        "--dry-run",
        "--run",
        tmp_path / "run",
        home=tmp_path,
        extra={"HF_TOKEN": "hf_never_shown"},
    )
    assert (
        done.returncode == 1 and not (tmp_path / "run").exists() and "hf_never_shown" not in done.stdout + done.stderr
    )
    for what in (
        "base_model",
        "teacher",
        "corpora",
        "knowledge_base",
        "search",
        "graph",
        "prompts_file",
        "embedder",
        "gpu",
    ):
        assert re.search(rf"^{what} ", done.stdout, re.M), what
    for words in (
        "GPU hours",
        "tool calls",
        "Assumptions",
        "BRAVE_API_KEY",
        "FENCE_CONTACT",
        "fence kb build",
        "missing:",
    ):
        assert words in done.stdout
    assert not re.search(r"= (\S+): \w+ = \1:", done.stdout), "nothing is said twice"


def test_what_is_here_is_not_missing(tmp_path, bare, endpoint):
    build_kb([Document(title="Torin", text="A port.")], tmp_path / "kb.db")
    build_triples([("Torin", "kind", "port")], tmp_path / "kg.db")
    (tmp_path / "topics.txt").write_text("Ada\nBo\nCy\n")
    bare.setenv("BRAVE_API_KEY", "k")
    p = load_profile(
        "llama3-8b",
        dict(
            base_model=str(ROOT / "data/mini/base"),
            teacher=f"{endpoint}#stand-in",
            knowledge_base=str(tmp_path / "kb.db"),
            graph=str(tmp_path / "kg.db"),
            prompts_file=str(tmp_path / "topics.txt"),
            n_prompts="2",
            n_test_prompts="1",
            embedder="none",
            corpora="qags",
            corpora_path=str(tmp_path),
            model_prices="stand-in=1/2",
        ),
    )
    found = {n.what: n for n in requirements_of(p)}
    assert {k for k, n in found.items() if n.state == "missing"} <= {"corpora", "gpu", "unsloth"}
    assert "mturk_cnndm.jsonl" in found["corpora"].todo and "fence data fetch qags" in found["corpora"].todo
    words, ready = dry_run(p)
    assert not ready and "USD at the price in model_prices" in words
    found = {
        n.what: n
        for n in requirements_of(
            load_profile(
                "llama3-8b",
                {
                    "prompts_file": str(tmp_path / "topics.txt"),
                    "search": "searxng",
                    "graph": "none",
                    "corpora": "nonsense",
                },
            )
        )
    }
    assert (
        "has 3 topics" in found["prompts_file"].todo
        and found["search"].state == "missing"
        and found["corpora"].state == "missing"
        and "graph" not in found
    )


def test_a_miniature_needs_nothing(bare):
    words, ready = dry_run(load_profile("mini"))
    assert ready and "Nothing is missing" in words


def test_estimates_are_arithmetic():
    p = load_profile("llama3-8b")
    estimates = estimate_calls(p, 1000, 300)
    critiques = estimates[0]
    assert (critiques.who, critiques.calls) == ("teacher", 1000)
    assert critiques.written == 1000 * p.n_critiques * assumed("critique")
    seconds = critiques.read / assumed("read_8b") + critiques.written / assumed("write_8b")
    assert gpu_hours(critiques) == pytest.approx(seconds / 3600 * assumed("larger"))

    def calls(estimates, **values):
        return sum(e.calls for e in estimates if all(getattr(e, name) == value for name, value in values.items()))

    assert calls(estimate_calls(p, 2000, 300), stage="r1") == 2 * calls(estimates, stage="r1")
    of_one_pass = p.n_prompts * p.n_candidates * assumed("claims") * assumed("tool_calls")
    assert calls(estimates, stage="r4", who="tools") == 3 * of_one_pass, "candidates and two policies"


def test_an_objective_says_what_its_training_costs(monkeypatch):
    "A new one is a row of `OBJECTIVES`; the estimate follows."
    new = replace(OBJECTIVES["dpo"], answers_read=lambda p: 7, answers_written=lambda p: 5)
    monkeypatch.setitem(OBJECTIVES, "dpo", new)
    p = load_profile("llama3-8b", {"arms": "facttune"})
    of_training = [estimate for estimate in estimate_calls(p, 1000, 300) if estimate.stage == "r5"]
    assert of_training[0].read == 7 * (assumed("question") + p.max_new_tokens)
    assert of_training[-1].calls == 5 * assumed("claims")


def test_a_message_does_not_repeat_the_setting():
    def fail():
        raise InputError("search = brave: the environment variable X is not set")

    assert try_opening("search", "brave", fail).todo == "the environment variable X is not set"
