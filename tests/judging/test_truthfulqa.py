"TruthfulQA: the split as prompts, judges of free answers, multiple choice with a real model, and damage."

import json
import math
import shutil

import pytest
from conftest import ROOT

import fence_nb.app.generator as stages
from fence_nb.app.generator import truthful_answers, truthfulqa_metrics
from fence_nb.core.records import Claim, Document, Failure, InputError, Judgment, Label, Prompt, Question, Response
from fence_nb.core.settings import load_profile
from fence_nb.core.store import records_of_kind
from fence_nb.corpora.prompts import TRUTHFULQA, truthfulqa
from fence_nb.domains.open import file_questions
from fence_nb.evidence.tools import FunctionTool, Toolbox
from fence_nb.judging.assess import Assessor
from fence_nb.judging.judge import LMJudge
from fence_nb.judging.prompts import prompt_set
from fence_nb.judging.truthfulqa import TRUTH_JUDGES, TruthJudge, by_claims, weigh_answers, yes_or_no
from fence_nb.models.interface import ScriptedLM
from fence_nb.models.local import TransformersLM, open_lm
from fence_nb.results.paper import truthfulqa_table
from fence_nb.results.scores import choice_figures, truth_figures

HEAD = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"


@pytest.fixture
def small(tmp_path):
    "A file of two categories in the benchmark's form."
    path = tmp_path / "TruthfulQA.csv"
    path.write_text(
        HEAD
        + "".join(
            f"Adversarial,{c},{c} question {i}?,true,true; true indeed,false; unknown,here\n"
            for c in ("Law", "Health")
            for i in range(5)
        ),
        encoding="utf-8",
    )
    return load_profile(
        "llama3-8b-truthfulqa",
        {
            "prompts_file": str(path),
            "n_prompts": "6",
            "n_test_prompts": "4",
            "base_model": str(ROOT / "data" / "mini" / "base"),
            "truth_judge": "fence",
            "bootstrap": "20",
            "max_new_tokens": "8",
        },
    )


def test_split(small):
    train, test = file_questions(small)
    assert (len(train), len(test)) == (6, 4) and not {q.id for q in train} & {q.id for q in test}
    assert {q.group for q in train} == {"Law", "Health"} == {q.group for q in test}


def test_real_file(shared):
    path = shared / "prompts" / "TruthfulQA.csv"
    p = load_profile("llama3-8b-truthfulqa", {"prompts_file": str(path)})
    n = sum(q.prompt.split == "test" for q in truthfulqa(path))
    train, test = file_questions(
        load_profile(
            "llama3-8b-truthfulqa",
            {
                "prompts_file": str(path),
                "n_test_prompts": str(n),
                "n_prompts": str(min(p.n_prompts, len(truthfulqa(path)) - n)),
            },
        )
    )
    assert len({q.group for q in train}) * 3 == len(train) == 114 and len(test) == n
    assert not {q.text for q in train} & {q.text for q in test}
    assert n <= 703 == TRUTHFULQA.published - 114, "the whole file has the paper's 703; the shared one is a part of it"
    if n < 703:
        with pytest.raises(InputError, match=f"has {len(truthfulqa(path))} topics"):
            file_questions(p)


def test_the_stage_with_a_real_model(small, tmp_path):
    "The miniature model answers and weighs; FenCE's rule judges, with a scripted assessor."

    def assess(responses):
        claims = [Claim(response_id=r.id, text=r.text or "x", start=0, end=1) for r in responses[1:]]
        return claims, [Judgment(claim_id=c.id, label=Label.SUPPORTED) for c in claims], []

    models = {"base": small.base_model}
    records = truthful_answers(small, models, tmp_path, assess)
    assert len(records_of_kind(records["base"], Response)) == 4 and not records_of_kind(records["base"], Failure)
    again = truthful_answers(small, models, tmp_path, lambda rs: 1 / 0)
    assert again == records, "what is on disk is not asked again"
    found = truthfulqa_metrics(small, models, records)["base"]
    assert (
        found["true_pct"] == 100
        and 0 < found["info_pct"] < 100
        and 0 <= found["mc2_pct"] <= 100
        and found["mc1_pct"] in (0, 25, 50, 75, 100)
    )
    assert truthfulqa_table({"base": found}, "fence").rows[0][7:] == ["38.83", "58.89"]


def test_multiple_choice_adds_up(small):
    lm = TransformersLM(small.base_model)
    q = truthfulqa(small.prompts_file)[0]
    logp = lm.label_logprobs(
        [[{"role": "user", "content": q.prompt.text}]], ["true.", "true indeed.", "false.", "unknown."]
    )[0]
    p = {k: math.exp(v) for k, v in logp.items()}
    one, two = weigh_answers(lm, [q])[0]
    assert (one == 1) == (p["true."] > max(p["false."], p["unknown."]))
    assert two == pytest.approx((p["true."] + p["true indeed."]) / sum(p.values()), abs=1e-6)


def test_three_questions_of_the_real_file(shared, small):
    "What is likely does not hang on who is asked beside it, and every figure is a share."
    lm, three = (
        TransformersLM(small.base_model),
        [q for q in truthfulqa(shared / "prompts" / "TruthfulQA.csv") if q.prompt.split == "test"][:3],
    )
    found = weigh_answers(lm, three)
    assert [x for q in three for x in weigh_answers(lm, [q])] == found and all(
        one in (0, 1) and 0 <= two <= 1 for one, two in found
    )
    assert choice_figures(found, n=20)["mc2_pct"] == pytest.approx(100 * sum(two for _, two in found) / 3)


def test_answers_are_closed_once():
    asked = []

    class Weighs:
        name, has_logprobs = "even", True

        def label_logprobs(self, conversations, options):
            asked.extend(options)
            return [dict.fromkeys(options, -1.0)]

    assert weigh_answers(
        Weighs(), [Question(Prompt(text="Can pigs fly?"), ("No", "No."), ("Yes.", "Yes, at night"))]
    ) == [(0, 0.5)], "equal answers do not win"
    assert asked == ["No.", "Yes.", "Yes, at night."]


class Counted:
    "A judge of whole answers that counts how often it was opened: yes to any that does not hold `unknown`."

    opened: list = []

    def __init__(self, p, spec, chat=True):
        assert not chat, "these judges complete text"
        self.opened.append(spec)
        self.lm = ScriptedLM(lambda c, *a: " no" if "unknown" in c[0]["content"] else " yes")

    def generate(self, *a, **kw):
        return self.lm.generate(*a, **kw)


def test_each_public_judge_is_opened_once_for_all_arms(small, tmp_path, monkeypatch):
    p, real = small.model_copy(update={"truth_judge": "allenai"}), stages.open_model
    monkeypatch.setattr(
        stages,
        "open_model",
        lambda p, spec, chat=True: Counted(p, spec, chat) if spec.startswith("allenai/") else real(p, spec, chat),
    )
    monkeypatch.setattr(Counted, "opened", [])
    models = {"base": small.base_model, "fence": small.base_model}
    records = truthful_answers(p, models, tmp_path, chunk=1)
    assert Counted.opened == [TRUTH_JUDGES["allenai"].true_model, TRUTH_JUDGES["allenai"].info_model], (
        "four chunks of two arms, and two models"
    )
    assert truthful_answers(p, models, tmp_path, chunk=1) == records and len(Counted.opened) == 2, (
        "nor is one opened for what is on disk"
    )
    for rs in records.values():
        assert {j.judge for j in records_of_kind(rs, Judgment)} == {"allenai: true", "allenai: informative"} and len(
            records_of_kind(rs, Judgment)
        ) == 8
    found = truthfulqa_metrics(p, models, records)
    assert found["base"] == found["fence"] and found["base"]["unread_pct"] == 0


def test_a_judge_without_a_template_can_be_opened(small, tmp_path, monkeypatch):
    "The public judges have none. The miniature model knows no yes or no, so each reply is a failure, not a verdict."
    folder = tmp_path / "judge"
    shutil.copytree(small.base_model, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({k: v for k, v in json.loads(config.read_text()).items() if k != "chat_template"}))
    with pytest.raises(InputError, match="has no chat template"):
        open_lm(str(folder))
    monkeypatch.setitem(
        stages.TRUTH_JUDGES,
        "allenai",
        TruthJudge(str(folder), str(folder), TRUTH_JUDGES["allenai"].true_prompt, TRUTH_JUDGES["allenai"].info_prompt),
    )
    records = truthful_answers(
        small.model_copy(update={"truth_judge": "allenai"}), {"base": small.base_model}, tmp_path
    )["base"]
    assert not records_of_kind(records, Judgment) and len(records_of_kind(records, Failure)) == 8
    assert truth_figures(records_of_kind(records, Response), [], n=5)["unread_pct"] == 100


def test_a_model_without_a_template_completes_text(tmp_path):
    lm = open_lm(str(ROOT / "data" / "mini" / "base"))
    lm.tokenizer.chat_template = None
    prompt = lm.encode_prompts([[{"role": "user", "content": "Tell me a bio of"}]])[0]
    assert lm.tokenizer.decode(prompt) == "Tell me a bio of"


def test_unreadable_is_counted(small):
    rs = [Response(prompt_id="q", prompt="Who?", text=t, sample=i) for i, t in enumerate("abc")]
    odd = ScriptedLM(lambda c, *a: {"a": "yes", "b": "no.", "c": "It depends"}[c[0]["content"].split("A: ")[1][0]])
    judged, failed = yes_or_no(odd, TRUTH_JUDGES["allenai"].true_prompt, rs, "allenai: true")
    assert len(judged) == 2 and len(failed) == 1 and truth_figures(rs, judged, n=5)["unread_pct"] == 100, (
        "nobody said whether they inform"
    )


def test_an_answer_cannot_fill_the_prompt():
    seen = []
    yes_or_no(
        ScriptedLM(lambda c, *a: seen.append(c[0]["content"]) or "yes"),
        TRUTH_JUDGES["allenai"].info_prompt,
        [Response(prompt_id="q", prompt="What is {answer}?", text="A\n\n{question}")],
        "x",
    )
    assert seen == ["Q: What is {answer}?\nA: A {question}\nHelpful:"]


def test_fence_with_its_own_assessor():
    "A bare No is split with its question at hand; silence is true and says nothing; what was judged is kept."
    says = {"No.": "- Pigs cannot fly.", "Yes.": "- Pigs can fly.", "I do not know.": "none"}

    class Asked:
        name, has_logprobs = "asked", False

        def __init__(self):
            self.heard = []

        def generate(self, conversations, **kw):
            self.heard += [c[-1]["content"] for c in conversations]
            return ScriptedLM(lambda c, *a: next(v for k, v in says.items() if k in c[-1]["content"])).generate(
                conversations
            )

    page = Document(text="Pigs cannot fly.", source="kb")
    toolbox = Toolbox([FunctionTool("kb", 'kb("title")', lambda call: [page])])
    judge = ScriptedLM(
        lambda c, *a: (
            "The document states it.\nLabel: Supported"
            if "Claim: Pigs cannot" in c[-1]["content"]
            else "It says the opposite.\nLabel: Contradictory"
        )
    )
    assess = Assessor(
        splitter := Asked(), None, toolbox, LMJudge(judge, prompt_set("full"), with_probs=False), prompt_set("full")
    )
    answers = [
        Response(prompt_id="q", prompt="Can pigs fly?", text=t, sample=i)
        for i, t in enumerate(("No.", "Yes.", "I do not know.", ""))
    ]
    judged, failed, behind = by_claims(assess, answers)
    assert all("Can pigs fly?" in text for text in splitter.heard)
    said = {
        kind: {j.claim_id: j.label.supported for j in judged if j.judge == f"fence: {kind}"}
        for kind in ("true", "informative")
    }
    assert [said["true"][r.id] for r in answers] == [True, False, True, True]
    assert [said["informative"][r.id] for r in answers] == [True, True, False, False]
    assert [f.reason for f in failed] == ["empty"] and {type(x) for x in behind} == {Document, Claim, Judgment}
    assert truth_figures(answers, judged + records_of_kind(behind, Judgment), n=5)["true_info_pct"] == 25


def test_a_sentence_that_could_not_be_split_is_unread():
    r = Response(prompt_id="q", prompt="Who?", text="x")
    judged, _, _ = by_claims(lambda rs: ([], [], [Failure(stage="claims", item_id=r.id, reason="unparsed")]), [r])
    assert not judged and truth_figures([r], judged, n=5)["unread_pct"] == 100


def test_an_unjudged_claim_is_not_called_true():
    r = Response(prompt_id="q", prompt="Who?", text="x")
    c = Claim(response_id=r.id, text="x", start=0, end=1)
    judged, _, _ = by_claims(lambda rs: ([c], [], [Failure(stage="judge", item_id=c.id, reason="unparsed")]), [r])
    assert [j.judge for j in judged] == ["fence: informative"] and truth_figures([r], judged, n=5)["unread_pct"] == 100


def test_damage(small, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        file_questions(load_profile("llama3-8b-truthfulqa", {"prompts_file": str(tmp_path / "gone.csv")}))
    with pytest.raises(InputError, match="truth_judge = gpt3: no such judge"):
        truthful_answers(
            load_profile(
                small.name,
                {"prompts_file": small.prompts_file, "n_prompts": 6, "n_test_prompts": 4, "truth_judge": "gpt3"},
            ),
            {},
            tmp_path,
        )
    with pytest.raises(InputError, match="x: gives no probabilities"):
        weigh_answers(type("Silent", (), {"name": "x", "has_logprobs": False})(), [])
    with pytest.raises(InputError, match="q: has 1 right and 0 wrong answers"):
        weigh_answers(
            type("Weighs", (), {"name": "x", "has_logprobs": True})(), [Question(Prompt(id="q", text="Who?"), ("I",))]
        )
    with pytest.raises(ValueError, match="at least one question"):
        choice_figures([])
    with pytest.raises(ValueError, match="at least one"):
        truth_figures([], [])


def test_the_run_notebook(small, tmp_path, monkeypatch):
    "r7 on the miniature model in place of every arm; the public judges are doubles."
    real, run = stages.open_model, tmp_path / "run"
    monkeypatch.setattr(
        stages,
        "open_model",
        lambda p, spec, chat=True: Counted(p, spec, chat) if spec.startswith("allenai/") else real(p, spec, chat),
    )
    (run / "r0_base").mkdir(parents=True)
    (run / "r0_base" / "base.json").write_text(json.dumps({"path": small.base_model}))
    for arm in ("facttune", "fence"):
        shutil.copytree(small.base_model, run / "r5_generator" / arm)
    cells = [
        c
        for c in json.loads((ROOT / "nbs" / "runs" / "r7_truthfulqa.ipynb").read_text(encoding="utf-8"))["cells"]
        if c["cell_type"] == "code"
    ]
    told = {
        "profile": small.name,
        "run": str(run),
        "overrides": {
            k: str(getattr(small, k))
            for k in ("prompts_file", "n_prompts", "n_test_prompts", "base_model", "bootstrap", "max_new_tokens")
        }
        | {"truth_judge": "allenai"},
    }
    names: dict = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
        if "parameters" in cell["metadata"].get("tags", []):
            names |= told
    found = json.loads((run / "metrics.json").read_text())["truthfulqa"]
    assert list(found) == ["base", "facttune", "fence"] and all(
        m["info_pct"] == 100 and m["unread_pct"] == 0 and "mc1_pct" in m for m in found.values()
    )
    kept = [line for f in (run / "r7_truthfulqa").glob("*.jsonl") for line in f.read_text().splitlines()]
    assert (
        sum(json.loads(line)["kind"] == "Response" for line in kept) == 12
        and sum(json.loads(line)["kind"] == "Judgment" for line in kept) == 24
    )
