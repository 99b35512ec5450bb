"A new objective and a run on one corpus need no list elsewhere."

from fence_nb.app.evaluator import _thresholds
from fence_nb.core.records import Document, JudgedClaim
from fence_nb.core.settings import load_profile
from fence_nb.fence.recipes import RECIPES, objective_arms


def test_arms_that_differ_by_objective_alone(monkeypatch):
    monkeypatch.setitem(RECIPES, "orpo", RECIPES["kto"])
    arms = ["base", "shorter", "edit", "fence", "orpo", "fence@dpo_loss=ipo", "facttune"]
    assert objective_arms(arms) == ["fence", "orpo", "fence@dpo_loss=ipo"]


def test_one_corpus_has_nothing_to_leave_out():
    document = [Document(text="She lived in Torin.")]
    held = [
        JudgedClaim(claim=f"She lived in {town}.", documents=document, supported=town == "Torin", corpus="qags")
        for town in ("Torin", "Mereth")
    ]
    p = load_profile("real-evaluator", {"corpora": "qags", "left_out_claims": 0})
    assert list(_thresholds(p, held, [0.9, 0.1])) == [""]
