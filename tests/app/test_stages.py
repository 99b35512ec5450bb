"Stages on public data that needs tools, and what the tables make of several sets."

import json
from types import SimpleNamespace

import pytest

from fence_nb.app import generator
from fence_nb.core.records import Document, InputError, Judgment, Label, Response
from fence_nb.core.settings import load_profile
from fence_nb.domains.domain import LookupScorer, open_domain
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


def test_the_evaluator_is_asked_about_the_answers_that_the_report_shows(tmp_path, monkeypatch):
    toy = load_profile("toy")
    questions = open_domain(toy).questions("test")
    runs = {arm: {toy.eval_temperatures[0]: []} for arm in ("base", "sft", "fence")}
    for arm, by_temperature in runs.items():
        for question in questions:
            for sample in (0, 1):
                response = Response(prompt_id=question.id, prompt="?", text="She won.", generator=arm, sample=sample)
                by_temperature[toy.eval_temperatures[0]].append(response)
    asked = []

    class Asked:
        documents = {}

        def __call__(self, responses):
            asked.extend(responses)
            return [], [Judgment(claim_id=r.id, label=Label.SUPPORTED) for r in responses], []

    (tmp_path / "base.json").write_text('{"path": "b", "how": "given"}')
    inputs = {"base.json": tmp_path / "base.json"}
    stage = SimpleNamespace(p=toy, path=tmp_path.joinpath, input=lambda _, name: inputs.get(name, tmp_path))
    monkeypatch.setattr(generator, "assessor_of", lambda *args, **options: Asked())
    judged = generator.shown_critiques(stage, runs, LookupScorer(None, None, {}.get, "the truth"))
    assert {(r.generator, r.sample) for r in asked} == {("base", 0), ("fence", 0)}
    assert len(judged) == len(asked) == 2 * min(10, len(questions))
    assert generator.write_topics(stage) is None and not (tmp_path / "topics.json").exists()
