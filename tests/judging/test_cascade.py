"The cascade: order, failures, bands, damaged files, the command line."

import json
import random

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from fence_nb.app.cli import main
from fence_nb.core.records import Claim, Document, InputError, Judgment, Label
from fence_nb.domains.world import STYLES, World, human_judgments
from fence_nb.judging.cascade import (
    Band,
    CascadeJudge,
    WordJudge,
    choose_band,
    fit_word_judge,
    learn_fast_judge,
    word_features,
)
from fence_nb.judging.judge import LMJudge, ScoreJudge
from fence_nb.judging.judges import open_fast_judge
from fence_nb.judging.prompts import TERSE, verdict
from fence_nb.models.interface import ScriptedLM
from fence_nb.models.local import TransformersLM


def judged(split, n, seed=0):
    rows = human_judgments(World(n=300), split, n, STYLES, seed)
    return [(Claim(response_id=r.id, text=r.claim, start=0, end=0), r.documents) for r in rows], [r.label for r in rows]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fast")
    return folder, *learn_fast_judge(*judged("evaluator", 2400), folder, 0.9)


def said(p, label=None, **more):
    probs = {"Supported": p, "Contradictory": round(1 - p, 6), "Unverified": 0.0}
    return Judgment(
        claim_id="c", label=label or (Label.SUPPORTED if p >= 0.5 else Label.CONTRADICTORY), probs=probs, judge="fast"
    )


def test_band_edges():
    band = Band(0.1, 0.9)
    assert [band.sure(said(p)) for p in (0.05, 0.3, 0.7, 0.95)] == [True, False, False, True]
    two = Judgment(claim_id="c", label=Label.UNVERIFIED, probs={"Supported": 0.05}, judge="fast")  # a cross-encoder's
    assert band.sure(two)
    assert not any(Band().sure(said(p)) for p in (0.0, 0.5, 1.0))  # nothing is sure


@pytest.mark.parametrize("low, high", [(0.9, 0.1), (-1, 0.5), (0.5, 2)])
def test_no_band(low, high):
    with pytest.raises(InputError, match="low <= high"):
        Band(low, high)


def test_accuracy_holds_on_the_claims_it_was_chosen_on():
    rng = random.Random(0)
    js = [said(rng.random()) for _ in range(4000)]
    labels = [Label.SUPPORTED if rng.random() < j.probs["Supported"] else Label.CONTRADICTORY for j in js]
    for accuracy in (0.8, 0.9, 0.95):
        band = choose_band(js, labels, accuracy)
        for yes in (True, False):
            pairs = zip(js, labels, strict=True)
            right = [j.label == label for j, label in pairs if band.sure(j) and j.label.supported == yes]
            assert right and sum(right) / len(right) >= accuracy


def test_a_judge_that_is_always_wrong_is_never_sure():
    js = [said(p / 100) for p in range(100)]
    labels = [Label.CONTRADICTORY if j.label.supported else Label.SUPPORTED for j in js]
    band = choose_band(js, labels, 0.9)
    assert not any(band.sure(j) for j in js)


def test_order_failures_and_one_question_each(learned):
    _, fast, _ = learned
    items, _ = judged("evaluator_test", 60)
    asked = []

    def answer(c, sample, seed):
        asked.append(c[-1]["content"])
        return "no verdict" if len(asked) == 3 else verdict("It says so.", Label.SUPPORTED)

    cascade = CascadeJudge(fast, LMJudge(ScriptedLM(answer), TERSE, with_probs=False), Band(0.4, 0.6))
    judgments, failures = cascade.judge(items)
    lost = {f.item_id for f in failures}
    assert [j.claim_id for j in judgments] == [c.id for c, _ in items if c.id not in lost] and lost
    n = len(asked)
    assert cascade.judge(items)[0] == judgments and len(asked) == n  # nothing is asked twice
    assert {j.judge for j in judgments} == {"words", "scripted"}


def test_words_do_not_depend_on_company(learned):
    _, fast, _ = learned
    items, _ = judged("evaluator_test", 40)
    alone = [fast.judge([i])[0][0] for i in items]
    assert fast.judge(items)[0] == alone
    assert fast.judge(items[::-1])[0][::-1] == alone


def test_documents_of_others_count_apart():
    claim = "Ada Vell was born in Torin."
    own, other = (
        Document(title="Ada Vell", text="She was born in Torin."),
        Document(title="Bo Karn", text="She was born in Torin."),
    )
    assert word_features(claim, [own]) != word_features(claim, [other])
    assert word_features(claim, [own, own]) == word_features(claim, [own])
    assert word_features(claim, []) == []


def test_kept_and_loaded(learned, tmp_path):
    folder, fast, band = learned
    again, b = open_fast_judge(folder)
    items, _ = judged("evaluator_test", 60)
    assert b == band and [j.label for j in again.judge(items)[0]] == [j.label for j in fast.judge(items)[0]]
    (tmp_path / "words.safetensors").write_bytes((folder / "words.safetensors").read_bytes()[:100])
    with pytest.raises(InputError, match="missing or damaged"):
        WordJudge.load(tmp_path)
    (tmp_path / "words.safetensors").write_bytes((folder / "words.safetensors").read_bytes())
    with pytest.raises(InputError, match="band.json"):
        open_fast_judge(tmp_path)


def plain_fit(items, labels, names, hold=1e-4):
    "The same model by gradient steps written out here: cross-entropy and a pull towards 0."
    rows = [word_features(c.text, docs) for c, docs in items]
    used = sorted({k for row in rows for k in row})
    column = {k: i for i, k in enumerate(used)}
    x = np.zeros((len(items), len(used) + 1))
    x[:, -1] = 1
    for i, row in enumerate(rows):
        x[i, [column[k] for k in row]] = 1
    gold = np.array([[label.value == name for name in names] for label in labels], float)

    def loss(flat):
        w = flat.reshape(-1, len(names))
        logp = log_softmax(x @ w, axis=1)
        slope = x.T @ (np.exp(logp) - gold) / len(x) + hold * w
        return -(logp * gold).sum(1).mean() + hold / 2 * (w**2).sum(), slope.ravel()

    w = minimize(loss, np.zeros(x.shape[1] * len(names)), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    return used, w.reshape(-1, len(names))


@pytest.mark.parametrize("ways", [2, 3])
def test_fitted_as_by_hand(ways):
    items, labels = judged("evaluator", 400)
    if ways == 2:
        labels = [Label.SUPPORTED if label.supported else Label.CONTRADICTORY for label in labels]
    fast = fit_word_judge(items, labels)
    used, w = plain_fit(items, labels, fast.labels)
    slow = WordJudge(fast.labels, np.zeros_like(fast.weights))
    slow.weights[[*used, -1]] = w
    held = judged("evaluator_test", 200)[0]
    pairs = list(zip(fast.judge(held)[0], slow.judge(held)[0], strict=True))
    assert sum(a.label == b.label for a, b in pairs) >= 198
    assert max(abs(a.probs["Supported"] - b.probs["Supported"]) for a, b in pairs) < 0.05


def test_one_label_teaches_nothing():
    items, _ = judged("evaluator", 9)
    with pytest.raises(InputError, match="all with one label"):
        fit_word_judge(items, [Label.SUPPORTED] * 9)


def test_without_a_critique():
    lm = TransformersLM("data/mini/base")
    items, _ = judged("evaluator_test", 12)
    judgments, failures = ScoreJudge(lm, TERSE).judge(items)
    assert (
        len(judgments) == 12
        and not failures
        and all(not j.critique and abs(sum(j.probs.values()) - 1) < 1e-5 for j in judgments)
    )
    assert ScoreJudge(lm, TERSE).judge(items[:1])[0][0].label == judgments[0].label


def test_command_line(tmp_path, capsys):
    rows = human_judgments(World(n=300), "evaluator", 60, STYLES, 1)
    file, fast = tmp_path / "claims.jsonl", tmp_path / "fast"
    file.write_text(
        "".join(
            json.dumps({"claim": r.claim, "documents": [{"title": d.title, "text": d.text} for d in r.documents]})
            + "\n"
            for r in rows
        )
    )
    model = ["--model", "data/mini/base", "--prompts", "terse"]
    assert main(["judge", str(file), *model, "--no-critique", "--learn", str(fast), "--accuracy", "0.6"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 60 and not any(line["critique"] for line in lines)
    assert main(["judge", str(file), *model, "--no-critique", "--fast", str(fast), "--band", "0.5,0.5"]) == 0
    out, err = capsys.readouterr()
    assert {json.loads(line)["judge"] for line in out.splitlines()} == {"words"} and "60 of 60 claims were sure" in err
    assert main(["judge", str(file), *model, "--fast", str(tmp_path / "nowhere")]) == 2
    assert "learn it again" in capsys.readouterr().err
