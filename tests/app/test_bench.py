"Benchmarks: the figures that its page shows, the notebooks at a small size, the command line."

import json

import papermill
import pytest
from conftest import ROOT, page_text

from fence_nb.app.bench import bench_table, find_benches, judging_load, machine_facts, plain_generate
from fence_nb.app.cli import main
from fence_nb.core.records import InputError
from fence_nb.domains.world import World
from fence_nb.judging.judge import LMJudge
from fence_nb.judging.prompts import TERSE
from fence_nb.models.local import TransformersLM

KEPT = ROOT / "data" / "bench.json"
BENCHES = sorted((ROOT / "nbs" / "bench").glob("[bg]*.ipynb"))


def test_kept_figures_are_whole():
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert set(kept) <= {f.stem for f in BENCHES} and len(kept) >= 3
    for name, found in kept.items():
        assert found["name"] == name and found["machine"]["cores"] and found["machine"]["packages"]["torch"]
        rate = {r["name"]: r["per_second"] for r in found.get("rows", [])}
        for r in found.get("ratios", []):
            assert abs(r["ratio"] - rate[r["fast"]] / rate[r["slow"]]) < 0.01 * r["ratio"] + 0.01
    b1 = kept["b1_judge"]
    assert all(a == b for a, b in (s.split(" of ") for s in b1["same_labels"].values())), "the same labels throughout"
    ratio = {(r["fast"], r["slow"]): r["ratio"] for r in b1["ratios"]}
    assert (
        ratio["engine", "plain loop"] >= 8
        and ratio["engine", "plain batches of 32"] >= 1.5
        and ratio["cascade", "engine"] >= 3
    )
    assert b1["cascade"]["cascade"]["bacc"] >= b1["cascade"]["evaluator"]["bacc"] - 1
    ratio = {(r["fast"], r["slow"]): r["ratio"] for r in kept["b3_fast_judge"]["ratios"]}
    assert min(ratio[f"fast judge, {bits} bits", "claim by claim, whole documents"] for bits in (16, 32)) >= 3
    claims = kept["b2_scaling"]["claims"]
    assert (claims[0]["size"], claims[-1]["size"]) == (500, 16000) and all(
        1.8 <= r["doubled"] <= 2.2 for r in claims[1:]
    )
    words = page_text("02_speed")

    def of(name, rows, form):
        return [form.format(f([r[name] for r in rows])) for f in (min, max)]

    for name, rows, form in (
        ("per_item_us", [{"per_item_us": r["per_item_us"] / 1000} for r in claims], "{:.2f}"),
        ("doubled", claims[1:], "{:.2f}"),
        ("peak_mb", claims, "{}"),
    ):
        assert all(x in words for x in of(name, rows, form)), f"the page tells other figures for {name}"
    assert kept["b4_ray"]["same_records"]
    assert bench_table(kept).markdown() in words


@pytest.mark.parametrize("notebook", BENCHES, ids=lambda f: f.stem)
def test_notebooks_hold_no_logic(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    assert not any(line.startswith(("def ", "class ")) for c in code for line in c.splitlines()) and not any(
        c.get("outputs") for c in cells
    )
    assert "out" in papermill.inspect_notebook(str(notebook))


def test_a_benchmark_is_one_notebook():
    "Question, parameters and wishes are read from it, so a new one is one file."
    benches = find_benches(ROOT)
    assert list(benches) == [notebook.stem for notebook in BENCHES]
    for bench in benches.values():
        assert "?" in bench.question or bench.wants_gpu, f"{bench.name}: which question does it answer?"
        assert bench.question and "out" in bench.parameters
        assert bench.is_called(bench.name[:2]) and bench.is_called(bench.name) and not bench.is_called("b99")


def test_small_run(tmp_path, capsys):
    sizes = ["sizes=[20, 40]", "documents=[1]", "facts=[2]", "prompts=[2]", "claims=20", "rounds=1"]
    assert (
        main(
            [
                "bench",
                "b2",
                "--out",
                str(tmp_path),
                "--set",
                f"evaluator={ROOT / 'data/mini/base'}",
                *[x for s in sizes for x in ("--set", s)],
            ]
        )
        == 0
    )
    assert "per_item_us" in capsys.readouterr().out
    found = json.loads((tmp_path / "bench.json").read_text())["b2_scaling"]
    assert found["machine"] == machine_facts() and [r["size"] for r in found["claims"]] == [20, 40]


@pytest.mark.parametrize(
    "name, sizes, figure",
    [
        (
            "g1_training",
            [
                "shape=mini",
                'backends=["peft"]',
                "length=48",
                "batch=2",
                "micro=1",
                "steps=3",
                "lora_r=4",
                "ceiling_size=128",
            ],
            "rows",
        ),
        (
            "g2_judge",
            [
                "shape=mini",
                "sets=2",
                "claims=3",
                "tokens=60",
                "written=4",
                "plain=2",
                "batches=4",
                "batch=2",
                "ceiling_size=128",
                "rounds=1",
            ],
            "share_of_floor_pct",
        ),
        ("g3_memory", ['shapes=["mini"]', 'methods=["sft"]', "length=48", "steps=2", "lora_r=4"], "memory"),
    ],
)
def test_what_a_gpu_will_run(name, sizes, figure, tmp_path):
    "The notebooks that want a GPU, on a CPU, at a size that means nothing: they run to their end."
    assert main(["bench", name, "--out", str(tmp_path), *[x for s in sizes for x in ("--set", s)]]) == 0
    found = json.loads((tmp_path / "bench.json").read_text())
    assert list(found) == [name] and found[name][figure]


def test_without_a_gpu_only_what_needs_none(tmp_path, monkeypatch):
    import torch

    import fence_nb.app.bench as bench

    ran = []
    monkeypatch.setattr(bench, "execute_notebook", lambda notebook, *rest: ran.append(notebook.stem))
    monkeypatch.setattr(bench, "read_json", lambda f: {})
    for gpu in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        with pytest.raises(KeyError):
            bench.run_benches([], {}, tmp_path)  # nothing was kept
        assert {n[0] for n in ran} == ({"b", "g"} if gpu else {"b"})


def test_rivals_say_the_same():
    lm = TransformersLM("data/mini/base")
    items = judging_load(12, 3, World(n=300))
    said = {j.claim_id: j.label for j in LMJudge(lm, TERSE, 24, forced=False).judge(items)[0]}
    want = [said.get(c.id) for c, _ in items]
    assert plain_generate(lm, items, TERSE, 1, 24) == plain_generate(lm, items, TERSE, 5, 24) == want


def test_wrong_names(capsys):
    assert main(["bench", "b99"]) == 2 and "no benchmark 'b99'" in capsys.readouterr().err
    assert main(["bench", "b1", "--set", "klaims=3"]) == 2 and "nearest: claims" in capsys.readouterr().err


def test_load_is_what_it_says():
    items = judging_load(100, 10, World(n=300))
    assert len(items) == 100 == len({(c.text, d[0].id) for c, d in items}) and len({d[0].id for _, d in items}) == 10
    assert judging_load(100, 10, World(n=300)) == items
    with pytest.raises(InputError, match="give more sets"):
        judging_load(10000, 1, World(n=300))
