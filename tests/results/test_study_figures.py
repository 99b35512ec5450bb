"What is said of the study holds in data/mini/study.json, which fence run --profile mini-study writes."

import json

import pytest
from conftest import ROOT, page_text

STUDY = ROOT / "data" / "mini" / "study.json"


@pytest.fixture(scope="module")
def study() -> dict:
    return json.loads(STUDY.read_text(encoding="utf-8"))


def significant(study: dict, part: str, a: str, b: str, metric: str = "facts_pct") -> tuple[float, bool]:
    r = next(r for r in study[part] if (r["metric"], r["a"], r["b"]) == (metric, a, b))
    return r["difference"], r["p_holm"] < 0.05


def test_the_order_of_the_paper(study):
    facts = {
        a: f["facts_pct"] for a, f in (study["generators"] | study["ablation"]).items() if f["facts_pct"] is not None
    }
    assert max(facts, key=facts.get) == "fence", "edit/remove + coarse is first"
    for a, b in (
        ("fence", "facttune"),
        ("fence", "self_eval"),
        ("fence", "ever"),
        ("fence", "shorter"),
        ("facttune", "sft_self"),
        ("facttune", "base"),
    ):
        d, sure = significant(study, "tests", a, b)
        assert d > 0 and sure, (a, b)
    d, sure = significant(study, "ablation_tests", "fence", "edit_coarse")
    assert d > 0 and sure, "lesser-known facts hurt"


def test_no_gain_by_silence(study):
    base, fence, silent = (study["generators"][a] for a in ("base", "fence", "silent"))
    assert fence["supported_per_response"] >= 0.9 * base["supported_per_response"] and fence["f1"] > base["f1"]
    assert silent["f1"] == 0 == min(f["f1"] for f in study["generators"].values()) and silent["facts_pct"] is None


def test_silence_where_it_is_due(study):
    "The paper's behaviour: fewer claims and more refusals about the rare, not about the popular."
    base, fence = ({g["group"]: g for g in study["by_popularity"][a]} for a in ("base", "fence"))
    fewer = {g: 1 - fence[g]["claims_per_response"] / base[g]["claims_per_response"] for g in base}
    order = ["very frequent", "frequent", "medium", "rare", "very rare"]
    assert [*fewer] == order and sorted(fewer.values()) == [fewer[g] for g in order], "the rarer, the fewer"
    assert fewer["very frequent"] < 0.15 and fewer["very rare"] > 0.6
    assert (
        fence["very frequent"]["refusal_pct"] < 1
        and fence["very rare"]["refusal_pct_ci"][0] > fence["very frequent"]["refusal_pct_ci"][1]
    )
    for g in order:
        assert fence[g]["facts_pct"] > base[g]["facts_pct"], "the share of facts rises in every group"


def test_newer_objectives_are_there(study):
    assert {"kto", "grpo", "fence@dpo_loss=ipo", "fence@mask_true=yes"} <= set(study["objectives"])
    for f in study["objectives"].values():
        assert f["facts_pct_ci"][0] <= f["facts_pct"] <= f["facts_pct_ci"][1] and len(f["facts_pct_seeds"]) == 3


def test_sweeps_as_told():
    "Every figure told of the sweeps, from data/mini/sweeps.json, which fence run --profile mini-sweeps writes."
    found = json.loads((ROOT / "data" / "mini" / "sweeps.json").read_text(encoding="utf-8"))

    def facts(*arms: str) -> str:
        return ", ".join(f"{found['sweeps'][a]['facts_pct']:.1f}" for a in arms)

    def bacc(*names: str) -> str:
        return ", ".join(f"{found['evaluator_sweeps'][n]['bacc']:.1f}" for n in names)

    rows = {line for line in page_text("00_study").splitlines() if line.startswith("| ")}
    rounds = [f"fence@rounds={n}" for n in (1, 2, 3)]
    top = [f"fence@top_k={k}+rounds=3" for k in (1, 5)]
    candidates = [f"fence@n_candidates={n}+rounds=3" for n in (2, 3)]
    prompts = [f"fence@n_prompts={n}+rounds=3" for n in (70, 140)]
    assert f"| rounds of revision | 1, 2, 3 | {facts(*rounds)} |" in rows
    assert len({facts(f"fence@rounds={n}") for n in (3, 4, 5, 6)}) == 1, "more than three rounds change nothing"
    best = facts(top[0], "fence@rounds=3", top[1])
    assert f"| k, how many of the best answers may be preferred | 1, 3, 5 | {best} |" in rows
    assert f"| candidates for each prompt | 2, 3, 5 | {facts(*candidates, 'fence@rounds=3')} |" in rows
    assert f"| training prompts | 70, 140, 280 | {facts(*prompts, 'fence@rounds=3')} |" in rows
    assert (
        f"| human-judged claims | 750, 1,500, 3,000 | {bacc('full@claims=750', 'full@claims=1500', 'full')} |" in rows
    )
    assert f"| share of the tool documents | 0, half, all | {bacc('full@tools=0', 'full@tools=0.5', 'full')} |" in rows
    assert f"| share of the critiques | half, all | {bacc('full@critiques=0.5', 'full')} |" in rows


def test_what_the_readme_says(study):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    base, fence, sft = study["generators"]["base"], study["generators"]["fence"], study["ablation"]["sft"]
    assert f"(`sft`, {sft['facts_pct']:.1f} %)" in text
    assert f"keeps {100 * fence['supported_per_response'] / base['supported_per_response']:.0f} % of the base" in text
    gap = sft["facts_pct"] - base["facts_pct"]
    assert gap > 0.75 * (fence["facts_pct"] - base["facts_pct"]), "most of the gain comes before DPO"


def test_the_weak_judge_is_called_weak():
    fast = json.loads((ROOT / "data" / "real-evaluator.json").read_text(encoding="utf-8"))["fast_judge"]
    gains = [
        fast["cross_encoder"][part]["mean"]["tuned"] - fast["word_overlap"][part]["mean"]["tuned"]
        for part in ("documents", "sets", "left_out")
    ]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{min(gains):.1f} to {max(gains):.1f} points better than counting shared words" in text
    assert fast["cosine"]["sets"]["mean"]["tuned"] > fast["cross_encoder"]["sets"]["mean"]["tuned"], "as README says"
