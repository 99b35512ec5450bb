"All recipes at toy size, the study over them, and what depends on what."

import csv
import json
import re
import shutil
from dataclasses import replace

import nbformat
import pytest
from conftest import ROOT, fence

from fence_nb.app.generator import answer_rows, generator_metrics, training_sets
from fence_nb.app.launch import run_profile
from fence_nb.app.runs import changes_since, notebook_fingerprint
from fence_nb.core.records import Claim, Judgment, Label, Prompt, Response
from fence_nb.core.settings import load_profile
from fence_nb.core.store import read_json, read_records
from fence_nb.fence.recipes import RECIPES, arm_of, arms_of
from fence_nb.results.study import arm_figures, differences, read_answers, study_k, with_controls

ARMS = ",".join([*RECIPES, "fence@dpo_loss=ipo", "fence@mask_true=yes", "fence@rounds=1", "fence@top_k=1"])
SET = {
    "arms": ARMS,
    "grpo_steps": "1",
    "grpo_samples": "2",
    "dpo_epochs": "1",
    "eval_temperatures": "1.0,0.7",
    "studies": "s1..s5",
}


@pytest.fixture(scope="module")
def study(toy_run, tmp_path_factory):
    "The toy run again with every recipe; its evaluators are not trained a second time."
    run = tmp_path_factory.mktemp("a study") / "toy"
    shutil.copytree(toy_run["run"], run / "seed0")
    done = fence(
        "run",
        "--profile",
        "toy",
        "--run",
        run,
        "--seeds",
        "0",
        *[x for k, v in SET.items() for x in ("--set", f"{k}={v}")],
        home=toy_run["home"],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {"run": run, "done": done, "home": toy_run["home"]}


def whole(path) -> list:
    return read_records(path, partial=True, unique=False)


def test_every_recipe_is_in_the_table(study):
    assert study["done"].stderr.count("unchanged, skipped") == 4, "evaluators are shared"
    found = json.loads((study["run"] / "seed0" / "metrics.json").read_text())["generator"]
    assert set(ARMS.split(",")) | {"base", "shorter"} == set(found)
    trained = json.loads((study["run"] / "seed0" / "metrics.json").read_text())["generator_training"]
    assert {t["method"] for t in trained.values()} == {"sft", "dpo", "kto", "grpo"}
    assert sum(name.startswith("sft-fence-edit_remove-score") for name in trained) == 3, (
        "one SFT step for all but other rounds and another k"
    )


def test_pages_and_tables(study):
    run = study["run"]
    pages = sorted(f.name for f in run.glob("s*.html"))
    assert pages == [
        "s1_evaluators.html",
        "s2_generators.html",
        "s3_ablation.html",
        "s4_popularity.html",
        "s5_objectives.html",
    ]
    front = (run / "report.html").read_text(encoding="utf-8")
    for name in pages:
        assert f'href="{name}"' in front
        assert not re.search(r"""(src|href)=["']?https?:""", (run / name).read_text(encoding="utf-8")), (
            "a page needs no network"
        )
    with open(run / "tables" / "s2_generators-1.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert [r["arm"] for r in rows] == [
        "base",
        "sft_self",
        "self_eval",
        "ever",
        "facttune",
        "fence",
        "shorter",
        "silent",
    ]
    assert rows[-1]["F1@K"] == "0.0" and all(float(r["F1@K"]) >= 0 for r in rows), "silence is last"
    assert (run / "tables" / "s2_generators-1.tex").read_text().count(r"\\") == len(rows) + 1
    metrics = json.loads((run / "metrics.json").read_text())
    assert {
        "generators",
        "ablation",
        "objectives",
        "by_popularity",
        "by_topic",
        "evaluators",
        "judges",
        "tests",
    } <= set(metrics)
    assert {"kto", "grpo", "fence@dpo_loss=ipo"} <= set(metrics["objectives"])
    for r in metrics["tests"]:
        assert r["p"] <= r["p_holm"] <= 1


def test_sweeps(study, tmp_path):
    "The last study page needs only what the test stages leave; here under the names of its arms."
    source, run = study["run"] / "seed0", tmp_path / "sweeps"
    values, metrics = (json.loads((source / f).read_text()) for f in ("r6_generator_test/values.json", "metrics.json"))
    p = load_profile("mini-sweeps")
    (run / "seed0" / "r6_generator_test").mkdir(parents=True)
    (run / "seed0" / "r6_generator_test" / "values.json").write_text(
        json.dumps({"base": values["base"]} | {a: values["fence"] for a in p.arms})
    )
    (run / "seed0" / "metrics.json").write_text(
        json.dumps(
            {
                "evaluator": {"base": metrics["evaluator"]["base"]}
                | {v: metrics["evaluator"]["full"] for v in p.evaluators}
            }
        )
    )
    found = run_profile("mini-sweeps", run, {"bootstrap": "20"}, study=True)
    assert (
        set(found["sweeps"])
        == {"base", "shorter", "silent", *p.arms} - ({"shorter"} if "fence" not in p.arms else set())
        and "full@tools=0.5" in found["evaluator_sweeps"]
    )
    with open(run / "tables" / "s6_sweeps-2.csv", newline="") as f:
        assert [r["k, best responses that are chosen"] for r in csv.DictReader(f)] == ["1", "3", "5"]
    assert len(list((run / "tables").glob("*.tex"))) == 7


def test_a_study_is_skipped_when_nothing_changed(study):
    overrides = SET | {"seeds": "0"}
    import io

    run_profile("toy", study["run"], overrides, study=True, out=(log := io.StringIO()))
    assert log.getvalue().count("unchanged, skipped") == 5


def test_cards(study):
    seed = study["run"] / "seed0"
    for folder in (
        "r2_evaluator/full",
        "r5_generator/fence",
        "r5_generator/grpo",
        "r1_evaluator_data",
        "r4_preferences",
    ):
        text = (seed / folder / "README.md").read_text(encoding="utf-8")
        assert text.startswith("---\n") and str(ROOT) not in text and str(study["run"]) not in text
    from datasets import load_dataset

    rows = load_dataset(
        str(seed / "r4_preferences"), "fence-edit_remove-score_targets", cache_dir=str(study["run"] / ".hf")
    )["train"]
    assert {"prompt", "text"} <= set(rows.column_names)


def test_run_notebooks_stay_small():
    for f in sorted((ROOT / "nbs" / "runs").glob("*.ipynb")):
        nb = nbformat.read(f, 4)
        code = [c.source for c in nb.cells if c.cell_type == "code"]
        assert len(nb.cells) <= 12 and not re.search(r"^\s*def ", "\n".join(code), re.M), f.name


# Lineage: one changed record changes what depends on it, and nothing else.


@pytest.fixture(scope="module")
def tested(study):
    p = load_profile("toy", SET)
    folder = study["run"] / "seed0" / "r6_generator_test"
    return p, {
        arm: {t: whole(folder / f"{arm}_at_{t:g}.jsonl") for t in p.eval_temperatures}
        for arm in ("base", "facttune", "fence")
    }


def flip(records: list) -> tuple[list, Judgment]:
    "The same records with one judgment turned round."
    at = next(i for i, r in enumerate(records) if isinstance(r, Judgment))
    j = records[at]
    other = Label.CONTRADICTORY if j.label.supported else Label.SUPPORTED
    return [*records[:at], j.model_copy(update={"label": other}), *records[at + 1 :]], j


def paths(node, at=()) -> dict:
    if isinstance(node, dict):
        return {k: v for n, x in node.items() for k, v in paths(x, (*at, n)).items()}
    if isinstance(node, list) and node and isinstance(node[0], dict):
        return {
            k: v
            for x in node
            for k, v in paths({k: v for k, v in x.items() if k != "group"}, (*at, x["group"])).items()
        }
    return {at: node}


def test_a_label_changes_the_figures_of_its_arm_alone(tested):
    p, runs = tested
    before = paths(generator_metrics(p, runs))
    turned, judgment = flip(runs["facttune"][1.0])
    after = paths(generator_metrics(p, runs | {"facttune": runs["facttune"] | {1.0: turned}}))
    changed = {k for k in before if before[k] != after[k]}
    claim = next(r for r in turned if isinstance(r, Claim) and r.id == judgment.claim_id)
    prompt = next(r for r in turned if isinstance(r, Response) and r.id == claim.response_id).prompt_id
    from fence_nb.domains.domain import open_domain

    group = next(q.group for q in open_domain(p).questions("test") if q.id == prompt)
    assert (
        before.keys() == after.keys()
        and {
            ("facttune", "facts_pct"),
            ("facttune", "supported_per_response"),
            ("facttune", "by_popularity", group, "facts_pct"),
        }
        <= changed
    )
    for k in changed:
        assert (
            k[0] == "facttune"
            and k[1] != "at_0.7"
            and k[1].split("_ci")[0] in ("facts_pct", "supported_per_response", "by_popularity")
            and (k[1] != "by_popularity" or k[2] == group)
        ), k


def test_a_label_of_base_also_changes_its_control(tested):
    p, runs = tested
    turned, _ = flip(runs["base"][1.0])
    before, after = (
        paths(generator_metrics(p, runs)),
        paths(generator_metrics(p, runs | {"base": runs["base"] | {1.0: turned}})),
    )
    assert {k[0] for k in before if before[k] != after[k]} <= {"base", "shorter"}


def test_the_study_follows(tested):
    p, runs = tested
    arms = with_controls({a: {0: read_answers(answer_rows(p, by_t[1.0]))} for a, by_t in runs.items()})
    other = arms | {
        "facttune": {
            0: [
                replace(a, labels=[not label for label in a.labels]) if i == 0 else a
                for i, a in enumerate(arms["facttune"][0])
            ]
        }
    }
    k = study_k(arms)
    assert all(
        arm_figures(arms[a], k, n=50) == arm_figures(other[a], k, n=50) for a in arms if a != "facttune"
    ) and arm_figures(arms["facttune"], k, n=50) != arm_figures(other["facttune"], k, n=50)
    pairs = [("fence", "base"), ("facttune", "base"), ("fence", "facttune")]
    for one, two in zip(differences(arms, pairs, k), differences(other, pairs, k), strict=True):
        assert ("facttune" in (one["a"], one["b"])) == (
            (one["difference"], one["difference_ci"]) != (two["difference"], two["difference_ci"])
        ), one


def test_a_judgment_changes_the_pairs_of_its_prompt_alone(study):
    p, stage = load_profile("toy", SET), study["run"] / "seed0" / "r4_preferences"
    records = {"fence": whole(stage / "records.jsonl"), "self": whole(stage / "self_records.jsonl")}
    before = training_sets(p, records)
    prompt_of = {r.id: r.prompt_id for r in records["fence"] if isinstance(r, Response)}
    candidates = {
        c.id: prompt_of[c.response_id] for c in records["fence"] if isinstance(c, Claim) and c.response_id in prompt_of
    }
    judged = [r for r in records["fence"] if isinstance(r, Judgment) and r.claim_id in candidates]
    turned = {
        j.id for j in judged if candidates[j.claim_id] == candidates[judged[0].claim_id]
    }  # every label of one prompt
    after = training_sets(
        p,
        records
        | {
            "fence": [
                r.model_copy(update={"label": Label.SUPPORTED if not r.label.supported else Label.CONTRADICTORY})
                if r.id in turned
                else r
                for r in records["fence"]
            ]
        },
    )
    texts = {q.id: q.text for q in records["fence"] if isinstance(q, Prompt)}
    changed = {name for name in before if before[name] != after[name]}
    assert "fence-edit_remove-score" in changed and not any(name.startswith("self") for name in changed), (
        "the other judge said nothing else"
    )
    for name in changed:
        one, two = (
            {(q.prompt, q.chosen, q.rejected, q.chosen_score, q.rejected_score) for q in sets[name].pairs}
            for sets in (before, after)
        )
        assert {q[0] for q in one ^ two} <= {texts[candidates[judged[0].claim_id]]}


def test_a_changed_file_reaches_the_stages_after_it(study, tmp_path):
    run = tmp_path / "seed0"
    shutil.copytree(study["run"] / "seed0", run)
    p = load_profile("toy", SET | {"seed": "0", "seeds": "0"})
    path = run / "r4_preferences" / "sets" / "fence-original-score_pairs.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("chosen_score", "chosen_score ", 1), encoding="utf-8")
    found = {
        f.parent.name: changes_since(
            read_json(f), p, f.parent, notebook_fingerprint(ROOT / "nbs" / "runs" / f"{f.parent.name}.ipynb")
        )
        for f in run.glob("r*/manifest.json")
    }
    assert {name for name, words in found.items() if words} == {"r4_preferences", "r5_generator"}, (
        "r6 follows when r5 has been run again"
    )


# Recipes.


def test_the_papers_rows():
    named = [r for r in RECIPES.values() if r.paper_name]
    rows = {r.paper_name: (r.judge, r.policy, r.pairing, r.steps, r.paper_facts_pct) for r in named}
    assert rows == {
        "SFT": ("self", "", "score", ("sft",), 52.52),
        "Self-Eval-SKT": ("self", "", "score", ("dpo",), 56.80),
        "EVER-Pref": ("self", "edit", "revision", ("dpo",), 57.18),
        "FactTune-FS": ("fence", "", "score", ("dpo",), 58.45),
        "SFT + FenCE": ("fence", "", "score", ("sft",), 56.26),
        "Edit": ("fence", "edit", "revision", ("sft", "dpo"), 58.91),
        "Coarse": ("fence", "", "score", ("sft", "dpo"), 60.89),
        "Edit + Coarse": ("fence", "edit", "score", ("sft", "dpo"), 64.37),
        "FenCE: Edit/Remove + Coarse": ("fence", "edit_remove", "score", ("sft", "dpo"), 65.41),
    }


def test_arms_of_a_profile_keep_what_the_command_line_said():
    p = load_profile("mini-study", {"dpo_lr": "0.5"})
    ipo = arm_of(p, "fence@dpo_loss=ipo").profile
    assert ipo.dpo_lr == 0.5 and ipo.dpo_loss == "ipo"
    assert len({a.name for a in arms_of(p)}) == len(p.arms)
