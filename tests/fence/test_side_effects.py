"Side effects of training, controls that nobody trains, and tests of knowledge, as stages r4 and r6 take them."

from dataclasses import dataclass

import numpy as np
import pytest

import fence_nb.app.generator as stages
from fence_nb.core.records import Claim, InputError, Judgment, Label, Prompt, Question, Response
from fence_nb.core.settings import load_profile
from fence_nb.domains.domain import LookupScorer
from fence_nb.fence.recipes import CONTROL_ARMS, main_arm
from fence_nb.fence.side_effects import general_questions, is_right, neutral_texts, token_kl
from fence_nb.judging.prompts import TERSE, AskOptions
from fence_nb.models.interface import ScriptedLM
from fence_nb.results.metrics import check_metrics
from fence_nb.results.paper import results_csv, results_tables, summary_text
from fence_nb.results.scores import side_effect_figures

PROFILE = {"bootstrap": "20", "n_test_prompts": "2", "eval_temperatures": "1.0,0.7", "splitter": "sentences"}


# Questions


def test_questions_are_different_and_can_be_checked():
    questions = general_questions()
    assert len(questions) == 100 == len({q.prompt.id for q in questions})
    assert all(q.right and all(is_right(q, answer) for answer in q.right) for q in questions)
    assert [q.prompt.text for q in questions if is_right(q, q.prompt.text)] == [], "an echo is never right"
    assert len(set(neutral_texts())) == 20 and all(20 <= len(text.split()) <= 60 for text in neutral_texts())


@pytest.mark.parametrize(
    "reply, right",
    [
        ("42", True),
        ("6 times 7 is forty-two.", True),
        ("The answer: **42**!", True),
        ("\n\n42", True),
        ("420", False),
        ("4 2", False),
        ("I cannot say.\n42", False),
        ("", False),
    ],
)
def test_a_right_reply(reply, right):
    question = Question(Prompt(text="What is 6 times 7?"), ("42", "forty-two"))
    assert is_right(question, reply) is right


def test_divergence_is_that_of_scipy():
    from scipy.stats import entropy

    rng = np.random.default_rng(0)
    model, base = ([rng.dirichlet(np.ones(7), n) for n in (3, 5)] for _ in range(2))
    expected = np.concatenate([entropy(p, q, axis=1) for p, q in zip(model, base, strict=True)]).mean()
    logs = [[np.log(p).astype(np.float32) for p in texts] for texts in (model, base)]
    assert token_kl(*logs) == pytest.approx(expected, rel=1e-4)
    assert token_kl(logs[0], logs[0]) == 0


def test_won_and_lost():
    right = {"base": [True] * 30 + [False] * 20, "fence": [False] * 12 + [True] * 18 + [False] * 18 + [True, None]}
    effect = side_effect_figures(right, {"fence": 0.5}, n=100)["fence"]
    assert (effect.questions, effect.better, effect.worse) == (49, 1, 12)
    from scipy.stats import binomtest

    assert effect.p_holm == pytest.approx(binomtest(1, 13).pvalue, abs=0.01), "McNemar's exact test"
    assert effect.difference == pytest.approx(100 * -11 / 49) and effect.difference_ci[1] < 0
    base = side_effect_figures(right, {}, n=100)["base"]
    assert base.right_pct == 60 and base.p_holm is None is base.kl


# Stages


def model(name: str, forgets: bool = False) -> ScriptedLM:
    "Knows one sum and one capital, unless it forgot them."

    def answer(conversation, sample, seed) -> str:
        question = conversation[-1]["content"]
        if "7 + 5" in question:
            return "" if forgets else "12"
        if "true, false or unknown" in question.lower():
            return "true" if "Oslo" in question else "unknown"
        return "The capital of Norway is Oslo." if not (forgets and seed % 2) else "I do not know."

    return ScriptedLM(answer, name)


class Expecting(ScriptedLM):
    "Tells what it expects, and how likely a text is."

    def __init__(self, name: str, bent: float):
        super().__init__(model(name).answer, name)
        self.bent = bent

    def next_token_logprobs(self, text):
        weights = np.ones((len(text.split()), 5)) + self.bent * np.eye(5)[0]
        return np.log(weights / weights.sum(1, keepdims=True))

    def continuation_logprobs(self, conversations, texts):
        return [[-0.1 if "Oslo" in text else -3.0] for text in texts]


@dataclass
class Norway:
    "A domain of one question and one truth."

    group_order: tuple = ("known",)

    def questions(self, split):
        return [Prompt(text=f"What is the capital of Norway? ({k})", group="known") for k in range(2)]

    def gold_scorer(self, splitter):
        options = AskOptions(splitter="sentences")
        return LookupScorer(splitter, TERSE, lambda text: "Oslo" in text, "facts", options)

    def claim_topic(self, claim):
        return ""


@pytest.fixture
def norway(monkeypatch):
    models = {"base": model("base"), "fence": model("fence", forgets=True), "bent": Expecting("bent", 1.0)}
    models["even"] = Expecting("even", 0.0)
    monkeypatch.setattr(stages, "open_model", lambda p, spec, chat=True: models[spec])
    monkeypatch.setattr(stages, "open_domain", lambda p: Norway())
    return Norway()


def test_greedy_and_silent_stand_in_a_run(norway, tmp_path):
    p = load_profile("mini", PROFILE | {"controls": "greedy,shorter,silent", "arms": "fence"})
    runs = stages.arm_results(p, {"base": "base", "fence": "fence"}, tmp_path, norway.gold_scorer(None))
    assert sorted(f.name for f in tmp_path.glob("greedy*")) == ["greedy.jsonl"], "asked once"
    answers = [r for r in runs["greedy"][0.7] if isinstance(r, Response)]
    assert {(r.generator, r.temperature) for r in answers} == {("greedy", 0.0)}
    metrics = stages.generator_metrics(p, runs)
    assert set(metrics) == {"base", "fence", "greedy", "shorter", "silent"}
    assert metrics["greedy"]["facts_pct"] == metrics["greedy"]["at_0.7"]["facts_pct"] == 100
    silent = metrics["silent"]
    assert silent["facts_pct"] is None and silent["refusal_pct"] == 100 and silent["claims_per_response"] == 0
    written = {"profile": "demo", "seed": 0, "generator": metrics}
    check_metrics(written)
    tables = {table.title: table for table in results_tables(written)}
    shown = [row[0] for row in tables["Share of facts, beside the paper's"].rows]
    assert shown == ["base", "greedy", "fence", "shorter", "silent"]
    assert "greedy" in summary_text(written) and "generator.silent.refusal_pct,100" in results_csv(written)
    assert main_arm(metrics) == "fence" and set(metrics) - {"fence"} == set(CONTROL_ARMS)


def test_the_miniature_has_the_controls_that_it_had(norway, tmp_path):
    p = load_profile("mini", PROFILE | {"arms": "fence"})
    runs = stages.arm_results(p, {"base": "base", "fence": "fence"}, tmp_path, norway.gold_scorer(None))
    assert list(runs) == ["base", "fence"] and list(stages.generator_metrics(p, runs)) == ["base", "fence", "shorter"]
    assert p.knowledge == "ask" and not p.side_effects and not p.knowledge_claims


def test_an_unknown_control_is_refused():
    with pytest.raises(InputError, match="controls"):
        load_profile("mini", {"controls": "greedy,lazy"})


def test_side_effects_of_a_run(norway, tmp_path):
    assert stages.side_effects(load_profile("mini", PROFILE), {"base": "base"}, tmp_path) == {}
    p = load_profile("mini", PROFILE | {"side_effects": "yes"})
    part = stages.side_effects(p, {"base": "base", "fence": "fence"}, tmp_path)
    fence = part["side_effects"]["fence"]
    assert (fence["better"], fence["worse"], fence["kl"]) == (0, 1, None), "a script tells no probabilities"
    assert part["side_effects"]["base"]["right_pct"] == 1
    written = {"profile": "demo", "seed": 0} | part
    check_metrics(written)
    [table] = [t for t in results_tables(written) if t.title == "Side effects"]
    assert [row[:4] for row in table.rows] == [["base", "1.0 [0.0, 3.0]", "–", "–"], table.rows[1][:4]]
    assert table.rows[1][2:4] == ["0", "1"]
    moved = stages.side_effects(p, {"base": "even", "fence": "bent"}, tmp_path / "again")["side_effects"]
    assert moved["base"]["kl"] is None and moved["fence"]["kl"] > 0


@pytest.fixture
def sampled(norway) -> list:
    "Three samples of each of two prompts: two are right, one is wrong; the evaluator has seen it."
    records: list = []
    for prompt in norway.questions("train"):
        for k, city in enumerate(("Oslo", "Bergen", "Oslo")):
            text = f"The capital of Norway is {city}."
            response = Response(prompt_id=prompt.id, prompt=prompt.text, text=text, sample=k)
            claim = Claim(response_id=response.id, text=text, start=0, end=len(text))
            label = Label.SUPPORTED if city == "Oslo" else Label.CONTRADICTORY
            records += [prompt, response, claim, Judgment(claim_id=claim.id, label=label, judge="full")]
    return records


def test_tests_of_knowledge_beside_the_truth(sampled):
    assert stages.knowledge_metrics(load_profile("mini", PROFILE), "base", sampled) == {}
    p = load_profile("mini", PROFILE | {"knowledge_claims": "50"})
    asked = stages.knowledge_metrics(p, "base", sampled)["knowledge"]
    assert list(asked) == ["ask", "agreement"], "a script tells no probabilities"
    tests = stages.knowledge_metrics(p, "even", sampled)["knowledge"]
    assert list(tests) == ["ask", "agreement", "logprob"]
    assert {figures["auroc"] for figures in tests.values()} == {100}
    assert tests["agreement"]["known_pct"] == 100 == tests["agreement"]["known_right_pct"]
    assert tests["logprob"]["known_pct"] == 0 and tests["ask"]["wrong"] == 2
    check_metrics({"profile": "demo", "seed": 0, "knowledge": tests})
    [table] = [t for t in results_tables({"knowledge": tests}) if t.title == "Tests of knowledge"]
    assert [row[0] for row in table.rows] == ["ask", "agreement", "logprob"]


def test_a_part_of_the_claims_will_do(sampled):
    p = load_profile("mini", PROFILE | {"knowledge_claims": "2"})
    assert stages.knowledge_metrics(p, "base", sampled)["knowledge"]["ask"]["claims"] == 2
