"""Our formulas beside the peers' own code, where it is installed:

    pip install --no-deps factscore==0.2.0 VeriScore==2.0.3 factool==0.1.3

Their other dependencies (old clients of closed services among them) are not needed for the formulas; what their
modules import is replaced by empty stand-ins.
SAFE (long-form-factuality) and OpenFActScore are not on the registry, so their formulas are checked by hand;
OpenFActScore's is FActScore's.
MiniCheck, the fact checker, is not there either: `minicheck` on the registry is a checker of state machines by
others. It has no score over responses.
"""

import importlib
import importlib.util
import random
import re
import sys
import types

import numpy as np
import pytest

from fence_nb.results.scores import facts_summary, factscore, median_claims, safe_f1

WHY = "the peer is not installed; pip install --no-deps {}"


def answers(seed: int, most: int) -> list[list[bool]]:
    rng = random.Random(seed)
    return [[rng.random() < 0.6 for _ in range(rng.randint(1, most))] for _ in range(25)]


def stand_ins(monkeypatch, package: str, modules: dict[str, list[str]]) -> None:
    "Empty modules in place of those that want what is not installed."
    for name, words in modules.items():
        module = types.ModuleType(f"{package}.{name}")
        for w in words:
            setattr(module, w, None)
        monkeypatch.setitem(sys.modules, f"{package}.{name}", module)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("gamma", [0, 5, 10])
def test_factscore(seed, gamma, monkeypatch):
    if importlib.util.find_spec("factscore") is None:
        pytest.skip(WHY.format("factscore==0.2.0"))
    stand_ins(
        monkeypatch,
        "factscore",
        {
            "abstain_detection": ["is_response_abstained"],
            "atomic_facts": ["AtomicFactGenerator"],
            "clm": ["CLM"],
            "npm": ["NPM"],
            "openai_lm": ["OpenAIModel"],
            "retrieval": ["DocDB", "Retrieval"],
        },
    )
    theirs = importlib.import_module("factscore.factscorer").FactScorer
    scorer = object.__new__(theirs)
    scorer.model_name, scorer.retrieval, scorer.save_cache = "npm", {"enwiki-20230401": None}, lambda: None
    scorer._get_score = lambda topic, generation, facts, source: [{"is_supported": f == "True"} for f in facts]
    ls = answers(seed, 20)
    found = scorer.get_score(
        ["x"] * len(ls), ["y"] * len(ls), gamma=gamma, atomic_facts=[[str(label) for label in x] for x in ls]
    )
    assert factscore(ls, gamma) == pytest.approx(100 * found["score"]), "refusals (facts of None) are left out by both"
    silent = scorer.get_score(["x"] * 2, ["y"] * 2, gamma=gamma, atomic_facts=[["True"], None])
    assert factscore([[True], []], gamma) == pytest.approx(100 * silent["score"])


@pytest.mark.parametrize("seed", range(5))
def test_veriscore(seed, capsys):
    theirs = pytest.importorskip("veriscore.utils", reason=WHY.format("VeriScore==2.0.3"))
    ls = answers(seed, 12)
    triplets = {"bios": {"model": [(sum(x), len(x), 1) for x in ls]}}
    k = theirs.get_stats(triplets)
    theirs.get_avg_numbers(triplets, k)
    said = float(re.search(r"F1@k median: ([\d.]+)", capsys.readouterr().out)[1])
    assert k["bios"]["K_median"] == median_claims(ls), (
        "25 answers: one stands in the middle; of an even number they take the upper of two, we the mean"
    )
    assert safe_f1(ls, k["bios"]["K_median"]) == pytest.approx(100 * said, abs=0.051)


def test_veriscore_divides_by_zero_where_we_count_zero():
    theirs = pytest.importorskip("veriscore.utils", reason=WHY.format("VeriScore==2.0.3"))
    triplets = {"bios": {"model": [(0, 0, 1), (1, 2, 1)]}}
    with pytest.raises(ZeroDivisionError):
        theirs.get_avg_numbers(triplets, theirs.get_stats(triplets))
    assert safe_f1([[], [True, False]], 2) == pytest.approx(25)


@pytest.mark.parametrize("seed", range(5))
def test_factool_pools_claims(seed, monkeypatch):
    "FacTool's share of claims is over all claims at once, so a long answer weighs more; ours is supported over claims."
    if importlib.util.find_spec("factool") is None:
        pytest.skip(WHY.format("factool==0.1.3"))
    stand_ins(
        monkeypatch,
        "factool",
        {f"{x}.pipeline": [f"{x}_pipeline"] for x in ("knowledge_qa", "code", "math", "scientific", "med_doc_qa")},
    )
    ls = answers(seed, 12)

    class Told:
        async def run_with_tool_api_call(self, prompts, responses):
            return [
                {"claim_level_factuality": [{"factuality": label} for label in x], "response_level_factuality": all(x)}
                for x in ls
            ]

    theirs = object.__new__(importlib.import_module("factool.factool").Factool)
    theirs.pipelines = {"kbqa_online": Told()}
    found, ours = (
        theirs.run([{"category": "kbqa", "search_type": "online", "prompt": "x", "response": "y"} for _ in ls]),
        facts_summary(ls, n=5).to_json(),
    )
    assert 100 * ours["supported_per_response"] / ours["claims_per_response"] == pytest.approx(
        100 * found["average_claim_level_factuality"]
    )
    assert abs(ours["facts_pct"] - 100 * found["average_claim_level_factuality"]) > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_safe_in_closed_form(seed):
    "Precision S/n and recall S/K have the harmonic mean 2S/(n + K) while S <= K, and 2S/(n + S) beyond."
    ls, k = answers(seed, 12), 5
    assert safe_f1(ls, k) == pytest.approx(100 * sum(2 * sum(x) / (len(x) + max(k, sum(x))) for x in ls) / len(ls))
    assert safe_f1([[True] * 3 + [False]], 4) == 75 and safe_f1([[False] * 3], 4) == 0, (
        "3 of 4, 4 wanted: .75 and .75; and nothing true is 0, not undefined"
    )


def test_factscore_by_hand():
    "Shares 1/2, 1, 3/4 of 2, 5, 20 claims at gamma 10: 50 e^-4, 100 e^-1, 75, over three; silence is left out."
    ls = [[True, False], [True] * 5, [True] * 15 + [False] * 5, []]
    assert (
        factscore(ls)
        == pytest.approx((50 * np.exp(-4) + 100 * np.exp(-1) + 75) / 3)
        == pytest.approx(37.568, abs=0.001)
    )


def test_by_hand():
    "The same without the peers: FActScore is punished by exp(1 - 10/5) at 5 claims; SAFE's F1@4 of 2 in 4."
    assert factscore([[True] * 5 + [False] * 5]) == 50 and factscore([[True] * 5]) == pytest.approx(100 * np.exp(-1))
    assert safe_f1([[True, True, False, False]], 4) == 50 and safe_f1([[True] * 8], 4) == 100
