"The door of the package: light to open, and the same work as the commands."

import asyncio
import json
import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT

import fence_nb as f
from fence_nb.app.cli import main
from fence_nb.core.records import InputError
from fence_nb.domains.examples import ANSWER, PAGE, example_lm

HEAVY = "torch transformers trl datasets pandas numpy pydantic papermill matplotlib scipy sklearn".split()


def test_the_door_is_light():
    code = f"""import sys, fence_nb
assert not set({HEAVY}) & set(sys.modules), sorted(sys.modules)
assert "score" in dir(fence_nb) and fence_nb.Claim.__name__ == "Claim"
assert not {{"torch", "transformers", "pandas", "scipy"}} & set(sys.modules)"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_help_needs_little():
    code = f"""import sys
from fence_nb.app.cli import main
try: main(["--help"])
except SystemExit: pass
assert not {{"torch", "transformers", "pandas", "scipy", "sklearn", "numpy"}} & set(sys.modules), {HEAVY}"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def test_every_name_of_the_door_opens():
    for name in f.__all__:
        assert getattr(f, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        _ = f.scores


def test_a_score_is_one_object(tmp_path):
    scored = f.score(ANSWER, documents=[PAGE], model=example_lm(), probs=False)
    table = scored.claims
    assert isinstance(table, pd.DataFrame)
    assert list(table) == ["response", "claim", "span", "label", "probability", "critique", "documents"]
    assert list(table.label) == ["Supported", "Contradictory", "Supported", "Unverified"]
    start, end = table.span[1]
    assert ANSWER.text[start:end] == "She studied law." and table.documents[1] == [PAGE.text]
    assert (scored.summary.facts_pct, scored.summary.facts_pct_ci) == (50, [50, 50]) and scored.failures == []
    page = scored._repr_html_()
    assert "Contradictory" in page and "She studied law." in page
    scored.to_jsonl(tmp_path / "claims.jsonl")
    row = json.loads((tmp_path / "claims.jsonl").read_text())
    assert row["facts_pct"] == 50 and [c["label"] for c in row["claims"]] == list(table.label)
    assert repr(scored) == "ScoredAnswers: 1 answers, 4 claims, 50.00 [50.00, 50.00] % supported, 0 failures"


def test_texts_rows_records_and_files_are_the_same(tmp_path):
    text = "Ada Vell was born in Torin. She studied law."
    row = {"topic": "Ada Vell", "prompt": "Who was Ada Vell?", "text": text}
    answers, documents = tmp_path / "answers.jsonl", tmp_path / "documents.jsonl"
    answers.write_text(json.dumps(row) + "\n")
    documents.write_text(json.dumps({"title": PAGE.title, "text": PAGE.text}) + "\n")
    labels = [
        list(f.score(given, documents=evidence, model=example_lm(), probs=False).claims.label)
        for given in (text, [text], [row], answers, str(answers))
        for evidence in ([PAGE], [PAGE.text], [{"text": PAGE.text}], documents)
    ]
    assert labels == [["Supported", "Contradictory"]] * 20


def test_judge_takes_claims_in_every_form(tmp_path):
    from fence_nb.domains.examples import example_claims

    documents = tmp_path / "documents.jsonl"
    documents.write_text(json.dumps({"title": PAGE.title, "text": PAGE.text}) + "\n")
    texts = [c.text for c in example_claims()]
    for claims in (texts, example_claims(), [{"claim": t} for t in texts]):
        for evidence in ([PAGE], PAGE.text, documents):
            judged = f.judge(claims, evidence, model=example_lm(), probs=False)
            assert list(judged.claims.label) == ["Supported", "Contradictory", "Supported", "Unverified"]
    assert judged.summary is None and "Contradictory" in judged._repr_html_()


def test_failures_are_kept_beside_the_claims():
    broken = f.judge("Ada babble.", [PAGE], model=_mumbling(), probs=False)
    assert [(x.stage, x.reason, x.item_id) for x in broken.failures] == [("judge", "unparsed", "line-1")]
    assert broken.claims.label.isna().all() and broken.rows() == []


def _mumbling():
    from fence_nb.models.interface import ScriptedLM

    return ScriptedLM(lambda conversation, sample, seed: "I would rather not say.")


def test_revise(tmp_path):
    row = {
        "id": "a",
        "topic": "Ada Vell",
        "prompt": ANSWER.prompt,
        "text": "Ada Vell was born in Torin. She studied law.",
    }
    revised = f.revise([row], documents=[PAGE], model=example_lm(), probs=False)
    assert list(revised.actions.action) == ["keep", "correct"]
    assert revised.rows()[0]["after"] == "Ada Vell was born in Torin. She studied physics."
    assert "<del>" in revised._repr_html_() and repr(revised) == "RevisedAnswers: 1 answers, 1 changed, 0 failures"
    with pytest.raises(f.InputError, match="a revision goes on from the prompt"):
        f.revise("Ada Vell studied law.", documents=[PAGE], model=example_lm())


def test_door_and_command_do_the_same(endpoint, tmp_path):
    text = "Ada was born in Torin. Ada taught at Velm."
    rows, kb, out = tmp_path / "rows.jsonl", tmp_path / "kb.jsonl", tmp_path / "out.jsonl"
    rows.write_text(json.dumps({"topic": "Ada", "prompt": "Tell me a bio of Ada.", "text": text}) + "\n")
    kb.write_text(json.dumps({"title": "Ada", "text": "Ada was born in Torin."}) + "\n")
    for name, work in (("score", f.score), ("revise", f.revise)):
        argv = [name, "--responses", str(rows), "--kb", str(kb), "--model", endpoint, "--out", str(out)]
        assert main(argv) == 0
        assert work(rows, documents=kb, model=endpoint).rows() == [json.loads(x) for x in out.read_text().splitlines()]


def test_inside_a_running_loop(endpoint, tmp_path):
    "Jupyter runs every cell inside an event loop."

    async def cell() -> float:
        texts = [f"Ada {what} in Torin." for what in ("was born", "lives")]
        return f.score(texts, documents=["Ada was born in Torin."], model=endpoint).summary.facts_pct

    assert asyncio.run(cell()) == 50


def test_work_that_was_stopped_goes_on(tmp_path, monkeypatch):
    from fence_nb.core.work import ChunkWork

    texts = ["Ada Vell was born in Torin.", "Ada Vell won the Zor Prize."]
    given = dict(documents=[PAGE.text], model=example_lm(), probs=False, journal=tmp_path / "kept")
    pieces, whole = [], ChunkWork.__call__

    def stopped(work, piece):
        pieces.append(piece)
        if len(pieces) == 2:
            raise KeyboardInterrupt
        return whole(work, piece)

    monkeypatch.setattr(ChunkWork, "__call__", stopped)
    with pytest.raises(KeyboardInterrupt):
        f.score(texts, **given)
    scored = f.score(texts, **given)
    assert len(pieces) == 3 and scored.summary.facts_pct == 100  # the first piece was not done again
    scored.to_jsonl(tmp_path / "claims.jsonl")
    assert [x.name for x in tmp_path.iterdir()] == ["claims.jsonl"]


def test_a_document_without_text_is_named():
    with pytest.raises(InputError, match="document:1: field 'text'"):
        f.judge("She won.", documents=[{"title": "Ada"}], model=example_lm())
    with pytest.raises(InputError, match="document:1: field 'text'"):
        f.score("She won.", documents=[{"title": "Ada"}], model=example_lm())


def test_common_options_stand_in_one_place():
    "The three functions show the fields of `WorkOptions` as their own parameters, with their meanings."
    from dataclasses import fields
    from inspect import signature

    from fastcore.docments import docments

    from fence_nb.app.door import WorkOptions

    common = {field.name: field.default for field in fields(WorkOptions)}
    for work, but in ((f.judge, set()), (f.score, set()), (f.revise, {"critiques"})):
        parameters = signature(work).parameters
        assert {k: parameters[k].default for k in common if k in parameters} == {
            k: common[k] for k in common if k not in but
        }
        assert "kwargs" not in parameters and all(docments(work)[k] for k in common if k not in but)
    with pytest.raises(TypeError, match="promts"):
        f.judge("Ada studied law.", [PAGE], model=example_lm(), promts="terse")
