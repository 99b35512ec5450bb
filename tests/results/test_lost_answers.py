"An arm may lack an answer, and an answer may be cut: what the figures of a run and of a study make of that."

import random

import pytest

from fence_nb.app.generator import generator_metrics
from fence_nb.core.records import Claim, Judgment, Label, Prompt, Response
from fence_nb.core.settings import load_profile
from fence_nb.domains.domain import DOMAINS, PlainDomain
from fence_nb.results.metrics import ArmPart
from fence_nb.results.scores import shortened_answers, shorter_control
from fence_nb.results.study import Answer, answer_measures, arm_figures, differences, study_k, with_controls

TOWNS = ("Orsk", "Bray", "Hask")


class Towns(PlainDomain):
    group_order = ("all",)

    def questions(self, split):
        return [Prompt(id=town, text=f"Tell me of {town}.", topic=town, group="all", split=split) for town in TOWNS]


@pytest.fixture
def p(monkeypatch):
    monkeypatch.setitem(DOMAINS, "towns", Towns)
    return load_profile("toy", {"domain": "towns", "eval_temperatures": "1.0", "bootstrap": "20", "arms": "fence"})


def answer(arm: str, town: str, marks: str, sample: int = 0, cut: bool = False) -> list:
    "An answer whose claims are right (+) or wrong (-)."
    text = " ".join(f"{town} has {k} bridges." for k in range(len(marks))) or "I do not know it."
    response = Response(prompt_id=town, prompt=f"Tell me of {town}.", text=text, generator=arm, sample=sample, cut=cut)
    records = [response]
    for k, mark in enumerate(marks):
        claim = Claim(response_id=response.id, text=f"{town} has {k} bridges.", start=k, end=k + 1)
        label = Label.SUPPORTED if mark == "+" else Label.CONTRADICTORY
        records += [claim, Judgment(claim_id=claim.id, label=label, judge="the map")]
    return records


def test_cut_answers_are_counted(p):
    base = [*answer("base", "Orsk", "++"), *answer("base", "Bray", "+-", cut=True), *answer("base", "Hask", "-")]
    fence = [*answer("fence", "Orsk", "+"), *answer("fence", "Bray", "+"), *answer("fence", "Hask", "-")]
    metrics = generator_metrics(p, {"base": {1.0: base}, "fence": {1.0: fence}})
    assert metrics["base"]["cut_pct"] == pytest.approx(100 / 3)
    assert "cut_pct" not in metrics["fence"], "where nothing was cut, nothing is said"
    assert metrics["shorter"]["cut_pct"] == metrics["base"]["cut_pct"], "the control has the same answers"
    parts = {arm: ArmPart.model_validate(figures) for arm, figures in metrics.items()}
    assert (parts["base"].cut_pct, parts["fence"].cut_pct) == (pytest.approx(100 / 3), 0.0)


def test_a_run_pairs_answers_by_prompt_and_sample(p):
    base = [
        *answer("base", "Orsk", "++++"),
        *answer("base", "Orsk", "----", sample=1),
        *answer("base", "Bray", "++"),
        *answer("base", "Hask", "++"),
    ]
    fence = [*answer("fence", "Hask", "+"), *answer("fence", "Orsk", "+", sample=1)]  # Bray and a sample were lost
    metrics = generator_metrics(p, {"base": {1.0: base}, "fence": {1.0: fence}})
    assert metrics["base"]["claims_per_response"] == 3
    assert metrics["shorter"]["claims_per_response"] == 1, "one claim each, as fence has"
    assert metrics["shorter"]["facts_pct"] == 50, "Orsk's second answer is all wrong, Hask's all right"


def arms(*lost: tuple[str, int, int]) -> dict:
    "Three arms of two seeds with two answers to each of three prompts; `lost` names arm, seed and place."
    rng = random.Random(3)
    out = {
        arm: {
            seed: [
                Answer(town, [rng.random() < 0.5 for _ in range(rng.randint(0, 4))]) for town in TOWNS for _ in range(2)
            ]
            for seed in (0, 1)
        }
        for arm in ("base", "facttune", "fence")
    }
    for arm, seed, place in sorted(lost, reverse=True):
        del out[arm][seed][place]
    return out


def test_the_control_of_a_whole_study_is_what_it_was():
    whole = arms()
    for seed, base in whole["base"].items():
        counts = [len(a.labels) for a in whole["fence"][seed]]
        expected = shorter_control([a.labels for a in base], counts, seed)
        assert [a.labels for a in with_controls(whole)["shorter"][seed]] == expected


@pytest.mark.parametrize(
    "lost",
    [
        [("fence", 0, 3)],
        [("base", 1, 0)],
        [("fence", 0, 2), ("fence", 0, 3), ("fence", 1, 2), ("fence", 1, 3)],
        [("base", 0, 0), ("base", 0, 1), ("base", 1, 0), ("base", 1, 1)],
    ],
    ids=["one of fence", "one of base", "a prompt of fence", "the first prompt of base"],
)
def test_a_study_goes_on_without_an_answer(lost):
    hurt = with_controls(arms(*lost))
    k = study_k(hurt)
    for arm, by_seed in hurt.items():
        assert set(answer_measures(k)) <= set(arm_figures(by_seed, k, n=20)), arm
    main = {(seed, a.prompt_id): len(a.labels) for seed, by in hurt["fence"].items() for a in by}
    assert all((seed, a.prompt_id) in main for seed, by in hurt["shorter"].items() for a in by)
    names = ["supported_per_response"]
    tests = differences(hurt, [("fence", "base"), ("facttune", "base"), ("fence", "shorter")], k, names, n=50)
    prompts = {(t["a"], t["b"]): t["prompts"] for t in tests}
    lost_prompts = len(lost) // 4  # all four answers to it
    assert prompts["fence", "base"] == 3 - lost_prompts
    assert prompts["facttune", "base"] == 3 - (lost_prompts if lost[0][0] == "base" else 0)


def test_a_seed_that_the_main_arm_lacks_has_no_control():
    hurt = arms()
    del hurt["fence"][1]
    assert list(with_controls(hurt)["shorter"]) == [0] and list(with_controls(hurt)["silent"]) == [0, 1]


def test_shortened_answers_are_those_that_both_have():
    labels = {"a": [True, True, True], "b": [False], "c": [True]}
    cut = shortened_answers(labels, {"a": 1, "c": 9, "d": 2}, seed=1)
    assert cut == {"a": [True], "c": [True]}
