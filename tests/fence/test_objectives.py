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


def test_an_outage_neither_rewards_nor_punishes():
    from fence_nb.core.records import Claim, Failure, Judgment, Label
    from fence_nb.fence.rewards import ClaimRewards

    asked = []

    def assess(responses):
        asked.extend(r.topic for r in responses)
        claims = [Claim(response_id=r.id, text=r.text, start=0, end=1) for r in responses]
        judged = [c for c in claims if c.text != "Bad luck."]
        lost = [Failure(stage="judge", item_id=c.id, reason="cut") for c in claims if c.text == "Bad luck."]
        return claims, [Judgment(claim_id=c.id, label=Label.SUPPORTED) for c in judged], lost

    rewards = ClaimRewards(assess, full=1)
    prompts = [[{"role": "user", "content": "Who?"}]] * 3
    texts = ("She won.", "Bad luck.", "<think>Hm.</think>She won.")
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    for reward, values in zip(rewards.functions(), ([1, 1, 1], [1, 1, 1], [0, 0, 0]), strict=True):
        assert reward(prompts, completions, topic=["Ada"] * 3) == values
    assert len(asked) == 2 and rewards.lost == 1, "a thought is no part of an answer, and one batch is judged once"
    rewards.functions()[0](prompts[:1], completions[:1], topic=["Bo"])
    assert asked[-1] == "Bo", "the same words about another topic are judged anew"


def test_an_answer_whose_claims_were_lost_is_not_trained_on():
    from fence_nb.app.generator import training_sets
    from fence_nb.core.records import Claim, Failure, Judgment, Label, Prompt, Response
    from fence_nb.core.settings import load_profile

    prompt = Prompt(text="Who is Ada?", topic="Ada")
    answers = [Response(prompt_id=prompt.id, prompt=prompt.text, text=t, sample=k) for k, t in enumerate(("A.", "B."))]
    claims = [Claim(response_id=r.id, text=r.text, start=0, end=2) for r in answers]
    label = Judgment(claim_id=claims[0].id, label=Label.SUPPORTED)
    lost = Failure(stage="judge", item_id=claims[1].id, reason="failed")
    records = {"fence": [prompt, *answers, *claims, label, lost]}
    for policy, pairs in (("leave_out", 0), ("unsupported", 1)):
        sets = training_sets(load_profile("toy", {"arms": "facttune", "lost_claims": policy}), records)
        assert [len(s.pairs) for s in sets.values()] == [pairs]
