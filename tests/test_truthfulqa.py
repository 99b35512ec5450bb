"TruthfulQA: the split as prompts, judges of free answers, multiple choice with a real model, and damage."
import pytest
from conftest import ROOT

from fence_nb.benchmarks import truthfulqa
from fence_nb.generator_stages import file_prompts, truthful_answers, truthfulqa_metrics
from fence_nb.lm import ScriptedLM, TransformersLM, open_lm
from fence_nb.schema import Claim, Failure, InputError, Judgment, Label, Response
from fence_nb.settings import load_profile
from fence_nb.stages import pick
from fence_nb.truthfulqa import JUDGES, by_claims, truth_figures, truthfulqa_table, weigh_answers, yes_or_no

HEAD = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"


@pytest.fixture
def small(tmp_path):
    "A file of two categories in the benchmark's form."
    path = tmp_path / "TruthfulQA.csv"
    path.write_text(HEAD + "".join(f"Adversarial,{c},{c} question {i}?,true,true; true indeed,false; unknown,here\n" for c in ("Law", "Health") for i in range(5)), encoding="utf-8")
    return load_profile("llama3-8b-truthfulqa", {"prompts_file": str(path), "n_prompts": "6", "n_test_prompts": "4", "base_model": str(ROOT / "data" / "mini" / "base"), "truth_judge": "fence", "bootstrap": "20", "max_new_tokens": "8"})


def test_split(small):
    train, test = file_prompts(small)
    assert (len(train), len(test)) == (6, 4) and not {q.id for q in train} & {q.id for q in test}
    assert {q.group for q in train} == {"Law", "Health"} == {q.group for q in test}


def test_real_file(shared):
    path = shared / "prompts" / "TruthfulQA.csv"
    p = load_profile("llama3-8b-truthfulqa", {"prompts_file": str(path)})
    n = sum(q.prompt.split == "test" for q in truthfulqa(path))
    train, test = file_prompts(load_profile("llama3-8b-truthfulqa", {"prompts_file": str(path), "n_test_prompts": str(n), "n_prompts": str(min(p.n_prompts, len(truthfulqa(path)) - n))}))
    assert len({q.group for q in train}) * 3 == len(train) and len(test) == n
    if n < 703:
        with pytest.raises(InputError, match=f"has {len(truthfulqa(path))} topics"): file_prompts(p)


def test_the_stage_with_a_real_model(small, tmp_path):
    "The miniature model answers and weighs; FenCE's rule judges, with a scripted assessor."
    def assess(responses):
        claims = [Claim(response_id=r.id, text=r.text or "x", start=0, end=1) for r in responses[1:]]
        return claims, [Judgment(claim_id=c.id, label=Label.SUPPORTED) for c in claims], []
    models = {"base": small.base_model}
    records = truthful_answers(small, models, tmp_path, assess)
    assert len(pick(records["base"], Response)) == 4 and not pick(records["base"], Failure)
    again = truthful_answers(small, models, tmp_path, lambda rs: 1 / 0)
    assert again == records, "what is on disk is not asked again"
    found = truthfulqa_metrics(small, models, records)["base"]
    assert found["true_pct"] == 100 and 0 < found["info_pct"] < 100 and 0 <= found["mc2_pct"] <= 100 and found["mc1_pct"] in (0, 25, 50, 75, 100)
    assert truthfulqa_table({"base": found}, "fence").rows[0][7:] == ["38.83", "58.89"]


def test_multiple_choice_adds_up(small):
    lm = TransformersLM(small.base_model)
    q = truthfulqa(small.prompts_file)[0]
    logp = lm.label_logprobs([[{"role": "user", "content": q.prompt.text}]], ["true", "false", "unknown"])[0]
    one, two = weigh_answers(lm, [q])[0]
    assert 0 < two < 1 and (one == 1) == (logp["true"] > max(logp["false"], logp["unknown"]))


def test_a_model_without_a_template_completes_text(tmp_path):
    lm = open_lm(str(ROOT / "data" / "mini" / "base"))
    lm.tokenizer.chat_template = None
    assert lm.tokenizer.decode(lm._ids([{"role": "user", "content": "Tell me a bio of"}])) == "Tell me a bio of"


def test_unreadable_is_counted(small):
    rs = [Response(prompt_id="q", prompt="Who?", text=t, sample=i) for i, t in enumerate("abc")]
    odd = ScriptedLM(lambda c, *a: {"a": "yes", "b": "no.", "c": "It depends"}[c[0]["content"].split("A: ")[1][0]])
    judged, failed = yes_or_no(odd, JUDGES["allenai"].true_prompt, rs, "allenai: true")
    assert len(judged) == 2 and len(failed) == 1 and truth_figures(rs, judged, n=5)["unread_pct"] == 100, "nobody said whether they inform"


def test_an_unjudged_claim_is_not_called_true():
    r = Response(prompt_id="q", prompt="Who?", text="x")
    c = Claim(response_id=r.id, text="x", start=0, end=1)
    judged, _ = by_claims(lambda rs: ([c], [], [Failure(stage="judge", item_id=c.id, reason="unparsed")]), [r])
    assert [j.judge for j in judged] == ["fence: informative"] and truth_figures([r], judged, n=5)["unread_pct"] == 100


def test_damage(small, tmp_path):
    with pytest.raises(InputError, match="no such file"): file_prompts(load_profile("llama3-8b-truthfulqa", {"prompts_file": str(tmp_path / "gone.csv")}))
    with pytest.raises(InputError, match="truth_judge = gpt3: no such judge"): truthful_answers(load_profile(small.name, {"prompts_file": small.prompts_file, "n_prompts": 6, "n_test_prompts": 4, "truth_judge": "gpt3"}), {}, tmp_path)
