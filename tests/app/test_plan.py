"The dry run: everything a profile names is looked at, what is missing is said, and nothing is started."

import re

import pytest
from conftest import ROOT, fence

from fence_nb.app.plan import ASSUMED, dry_run, gpu_hours, needs, work_of
from fence_nb.core.records import Document, InputError
from fence_nb.core.settings import load_profile
from fence_nb.domains.services import try_opening
from fence_nb.evidence.graph import build_triples
from fence_nb.evidence.kb import build_kb

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
    found = {n.what: n for n in needs(p)}
    assert {k for k, n in found.items() if n.state == "missing"} <= {"corpora", "gpu", "unsloth"}
    assert "mturk_cnndm.jsonl" in found["corpora"].todo and "fence data fetch qags" in found["corpora"].todo
    words, ready = dry_run(p)
    assert not ready and "USD at the price in model_prices" in words
    found = {
        n.what: n
        for n in needs(
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


def test_work_is_arithmetic():
    p = load_profile("llama3-8b")
    work = list(work_of(p, 1000, 300))
    a = {k: v for k, (v, _) in ASSUMED.items()}
    critiques = work[0]
    assert (critiques.who, critiques.calls, critiques.written) == (
        "teacher",
        1000,
        1000 * p.n_critiques * a["critique"],
    )
    assert gpu_hours(critiques) == pytest.approx(
        (critiques.read / a["read_8b"] + critiques.written / a["write_8b"]) / 3600 * a["larger"]
    )
    doubled = list(work_of(p, 2000, 300))
    assert sum(w.calls for w in doubled if w.stage == "r1") == 2 * sum(w.calls for w in work if w.stage == "r1")
    assert (
        sum(w.calls for w in work if w.who == "tools" and w.stage == "r4")
        == p.n_prompts * p.n_candidates * a["claims"] * a["tool_calls"] * 3
    ), "candidates and two policies"


def test_a_message_does_not_repeat_the_setting():
    def fail():
        raise InputError("search = brave: the environment variable X is not set")

    assert try_opening("search", "brave", fail).todo == "the environment variable X is not set"
