"`metrics.json` keeps to its written form: a stored run, the toy run, and files that do not."

import json
from pathlib import Path

import pytest
from conftest import ROOT

from fence_nb.core.records import InputError
from fence_nb.results.metrics import check_metrics, metrics_schema
from fence_nb.results.paper import results_csv, results_markdown, results_tables, summary_text

STORED = json.loads((Path(__file__).parent / "metrics_toy.json").read_text(encoding="utf-8"))


def test_a_stored_run():
    metrics = check_metrics(STORED)
    assert metrics.generator["fence"].facts_pct == STORED["generator"]["fence"]["facts_pct"]
    assert metrics.augment.critique_kept_pct == 87.5 and metrics.evaluator["full"].by_style["prose"].bacc > 0


def test_the_fast_judge():
    check_metrics(json.loads((ROOT / "data" / "real-evaluator.json").read_text(encoding="utf-8")))


def test_a_fresh_run(toy_run):
    check_metrics(json.loads((toy_run["run"] / "metrics.json").read_text(encoding="utf-8")))


def changed(path: str, value) -> dict:
    "The stored run with one value replaced."
    metrics = json.loads(json.dumps(STORED))
    *parts, last = path.split("/")
    node = metrics
    for part in parts:
        node = node[part]
    node[last] = value
    return metrics


@pytest.mark.parametrize(
    "path, value",
    [
        ("profile", None),
        ("evaluator/full/bacc", 101),
        ("evaluator/full/bacc_ci", [1.0]),
        ("evaluator/full/by_style/prose/bcac", 50.0),
        ("generator/base/facts_pct", "many"),
        ("generator/base/facts", 50.0),
        ("generator/base/at_0.7/facts", 50.0),
        ("generators", {}),
        ("augment/by_set", [{"corpus": "qags"}]),
    ],
)
def test_damage_is_named(path, value):
    with pytest.raises(InputError, match="metrics.json: field"):
        check_metrics(changed(path, value))


def test_the_schema_is_json():
    import jsonschema

    schema = json.loads(json.dumps(metrics_schema()))
    jsonschema.validate(STORED, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed("evaluator/full/bacc", 101), schema)


def test_every_table_of_a_run_fits_its_form():
    for table in results_tables(STORED):
        assert all(len(row) == len(table.head) for row in table.rows), table.title
    assert "65.41" in results_csv(STORED) and "65.41" in results_markdown(STORED)


def test_the_summary_is_short():
    many = STORED["generator"] | {f"fence@rounds={k}": STORED["generator"]["fence"] for k in range(20)}
    for metrics in (STORED, STORED | {"generator": many}, {"profile": "x"}, {}):
        lines = summary_text(metrics, "data/runs/x").splitlines()
        assert len(lines) <= 15 and "data/runs/x" in lines[-1]
    assert any(line.strip().startswith("fence") and "65.4" in line for line in summary_text(STORED).splitlines())
    assert len(summary_text(json.loads((ROOT / "data" / "real-evaluator.json").read_text())).splitlines()) <= 15
