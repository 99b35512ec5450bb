"`fence bench aggrefact`: made-up rows in the upstream form, the command from end to end."

import json

import pytest

from fence_nb.app.bench import aggrefact_table, bench_aggrefact, supported_probabilities
from fence_nb.app.cli import main
from fence_nb.core.records import InputError, Judgment, Label
from fence_nb.corpora.aggrefact import AGGREFACT, load_aggrefact


class LookUp:
    "Sure of what stands in the document word for word, and silent on one claim."

    name = "look-up"

    def judge(self, items, desc=""):
        judgments = []
        for claim, documents in items:
            if claim.text == "Unjudged 0.":
                continue
            prob = 0.45 if claim.text in documents[0].text else 0.1
            label = Label.SUPPORTED if prob > 0.5 else Label.UNVERIFIED
            judgments.append(Judgment(claim_id=claim.id, label=label, probs={"Supported": prob}))
        return judgments, []


@pytest.fixture
def folder(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for k, dataset in enumerate(AGGREFACT):
        for label, claim in ((1, f"True {k}."), (0, f"False {k}."), (0, f"Unjudged {k}.")):
            rows.append({"dataset": dataset, "doc": f"True {k}. And so on.", "claim": claim, "label": label})
    for split in ("dev", "test"):
        path = tmp_path / "llm_aggrefact" / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path)
    return tmp_path


def test_both_means_and_a_threshold_from_the_dev_half(folder):
    figures = bench_aggrefact(LookUp(), folder, tune=True, n=20)
    assert (figures["claims"], figures["unjudged"]) == (33, 1)
    # At 0.5 nothing is supported: 50 in each set, and 25 where one of two unsupported claims got no judgment.
    assert figures["fixed"]["paper"]["bacc"] == pytest.approx((9 * 50 + 25) / 10)
    assert figures["fixed"]["leaderboard"]["bacc"] == pytest.approx((10 * 50 + 25) / 11)
    sets = figures["tuned"]["sets"]
    assert sets[AGGREFACT[1]]["bacc"] == 100.0 and sets[AGGREFACT[0]]["bacc"] == 75.0, "unjudged is wrong"
    assert figures["tuned"]["paper"]["claims"] == 30 and figures["tuned"]["leaderboard"]["claims"] == 33
    text = aggrefact_table(figures).text()
    assert "mean of 10" in text and "mean of 11" in text and "counted as wrong: 1" in text


def test_labels_alone_are_probabilities_of_one_and_zero(folder):
    class Labels(LookUp):
        def judge(self, items, desc=""):
            judgments, failures = super().judge(items)
            return [j.model_copy(update={"probs": {}}) for j in judgments], failures

    test = [e for e in load_aggrefact(folder) if e.split == "test"]
    assert supported_probabilities(Labels(), test)[:3] == [0.0, 0.0, None]


def test_command(folder, tmp_path, capsys, endpoint):
    done = main(
        ["bench", "aggrefact", "--judge", f"{endpoint}#stand-in", "--data", str(folder), "--out", str(tmp_path)]
    )
    assert done == 0 and "mean of 11" in capsys.readouterr().out
    kept = json.loads((tmp_path / "aggrefact.json").read_text(encoding="utf-8"))
    assert kept["fixed"]["leaderboard"]["bacc"] == 50.0, "the stand-in gives every claim the same probabilities"
    assert kept["tuned"] is None and kept["unjudged"] == 0


def test_a_judge_must_be_named(capsys, folder):
    assert main(["bench", "aggrefact"]) == 2 and "--judge MODEL" in capsys.readouterr().err
    assert main(["bench", "b1", "--tune"]) == 2 and "belong to" in capsys.readouterr().err
    with pytest.raises(InputError, match="no dev file"):
        bench_aggrefact(LookUp(), folder / "nowhere")
