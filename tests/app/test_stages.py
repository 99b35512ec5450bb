"Stages on public data that needs tools, and what the tables make of several sets."

import json

import pytest

from fence_nb.core.records import Document, InputError
from fence_nb.core.settings import load_profile
from fence_nb.domains.domain import open_domain
from fence_nb.domains.open import factscore_claims, leave_out_shared
from fence_nb.evidence.kb import KnowledgeBase, build_kb
from fence_nb.evidence.tools import Toolbox
from fence_nb.results.paper import results_csv, results_tables

FACTS = [("Ada Vell was born in Torin.", "S"), ("Ada Vell won a prize.", "NS"), ("Ada Vell is nice.", "IR")]


@pytest.fixture
def profile(tmp_path):
    (tmp_path / "factscore").mkdir()
    for k, name in enumerate(("ChatGPT", "InstructGPT", "PerplexityAI")):
        topic = ("Ada Vell", "Bo Lund", "Cy Orr")[k]
        row = {
            "input": "q",
            "output": "She was born. She won.",
            "topic": topic,
            "cat": ["rare", "Europe"],
            "annotations": [
                {
                    "text": "She was born.",
                    "human-atomic-facts": [
                        {"text": text.replace("Ada Vell", topic), "label": label} for text, label in FACTS
                    ],
                }
            ],
        }
        (tmp_path / "factscore" / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    build_kb(
        [
            Document(title="Ada Vell", text="She was born in Torin."),
            Document(title="Bo Lund", text="He lived in Velm."),
        ],
        tmp_path / "kb.db",
    )
    return load_profile("llama3-8b", {"corpora": "factscore", "corpora_path": str(tmp_path)})


def test_factscore_trains_on_the_pages_of_its_topics(profile, tmp_path):
    toolbox = Toolbox([KnowledgeBase(tmp_path / "kb.db")])
    rows = factscore_claims(profile.corpora_path, toolbox)
    assert [(r.topic, r.supported) for r in rows if r.topic == "Ada Vell"] == [
        ("Ada Vell", True),
        ("Ada Vell", False),
    ], "irrelevant facts are left out"
    assert {r.documents[0].title for r in rows if r.topic == "Bo Lund"} == {"Bo Lund"} and {r.corpus for r in rows} == {
        "factscore"
    }
    claims = open_domain(profile).judged_claims(toolbox)
    train, test = claims.train, claims.test
    assert not {r.group for r in train} & {r.group for r in test} and train and test
    assert leave_out_shared(train, [], profile.corpora_path)[0] == train


def test_factscore_without_a_knowledge_base(profile):
    with pytest.raises(InputError, match="corpora = factscore: its facts have no documents; give a knowledge_base"):
        open_domain(profile).judged_claims(Toolbox([]))


def test_what_each_set_kept_is_a_table():
    rows = [
        {"corpus": c, "examples": 10, "critique_kept_pct": 70.0, "tools_kept_pct": 50.0}
        for c in ("qags", "frank", "all")
    ]
    metrics = {
        "profile": "demo",
        "seed": 0,
        "augment": {"critique_kept_pct": 70.0, "tools_kept_pct": 50.0, "by_set": rows},
    }
    assert [t.rows for t in results_tables(metrics) if t.title == "Augmentation, set by set"] == [
        [[c, "10", "70.0", "50.0"] for c in ("qags", "frank", "all")]
    ]
    assert not [
        t for t in results_tables(metrics | {"augment": {"by_set": rows[:2]}}) if t.title == "Augmentation, set by set"
    ]
    assert "augment.by_set" in results_csv(metrics)
