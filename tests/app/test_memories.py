"What is remembered belongs to what was asked: two things of one name are two."

import json

import pytest

import fence_nb as f
from fence_nb.core.records import Claim, Document, InputError, Label, Response
from fence_nb.core.store import run_resumable
from fence_nb.core.work import ChunkWork, identity_of
from fence_nb.domains.examples import PAGE, example_claims, example_lm
from fence_nb.evidence.tools import FunctionTool, Toolbox
from fence_nb.fence.knowledge import ask_knowledge
from fence_nb.judging.assess import fetch_evidence
from fence_nb.judging.claims import split_responses
from fence_nb.judging.judge import LMJudge
from fence_nb.judging.prompts import FULL, TERSE
from fence_nb.models.interface import ScriptedLM
from fence_nb.models.train import TrainArgs, _drop_others, _last_checkpoint, recorded_args
from fence_nb.models.trainers import TRAINERS

CLAIM = Claim(response_id="r", text="Nia Oke kept bees.", topic="Nia Oke", start=0, end=18)


def says(text: str, name: str = "twin") -> ScriptedLM:
    return ScriptedLM(lambda conversation, sample, seed: text, name)


def pages(text: str) -> Toolbox:
    return Toolbox([FunctionTool("kb", 'kb("title")', lambda call: [Document(title=call.query, text=text)])])


def test_an_object_is_itself():
    one = says("yes")
    assert identity_of(one) == identity_of(one) != identity_of(says("yes"))
    seen = [identity_of(says(str(k))) for k in range(200)]  # each takes the place of the one before it in memory
    assert len(set(seen)) == 200
    assert identity_of((1, 2)) != identity_of((1, 2)), "what cannot be watched is never taken for the same"


def test_splits():
    memo, answer = {}, Response(prompt_id="p", prompt="Who?", topic="Nia Oke", text=CLAIM.text)
    texts = [
        [c.text for c in split_responses(lm, [answer], TERSE, memo=memo)[0]]
        for lm in (says("- Nia Oke kept bees."), says("- Nia Oke sold honey."))
    ]
    assert texts == [["Nia Oke kept bees."], ["Nia Oke sold honey."]]


def test_views():
    memo = {}
    assert [ask_knowledge(says(word), [CLAIM], TERSE, memo=memo)[0] for word in ("true", "false")] == [
        {CLAIM.id: "true"},
        {CLAIM.id: "false"},
    ]


def test_evidence_of_two_toolboxes_and_two_planners():
    memo = {}
    for text in ("She kept bees.", "She kept goats."):
        found, _ = fetch_evidence(None, pages(text), [CLAIM], TERSE, memo)
        assert [d.text for d in found[CLAIM.id]] == [text]
    box = pages("She kept bees.")
    for query in ("Nia Oke", "Bees"):
        found, _ = fetch_evidence(says(f'kb("{query}")'), box, [CLAIM], TERSE, memo)
        assert [d.title for d in found[CLAIM.id]] == [query]


def stops(monkeypatch, after: int = 1) -> list:
    "Let the work stop after some pieces, as Ctrl-C does; the pieces that were begun."
    pieces, whole = [], ChunkWork.__call__

    def call(work, piece):
        pieces.append(piece)
        if len(pieces) == after + 1:
            raise KeyboardInterrupt
        return whole(work, piece)

    monkeypatch.setattr(ChunkWork, "__call__", call)
    return pieces


def supports(label: Label, wording=FULL, limit: int = 99) -> LMJudge:
    return LMJudge(says(f"It is written.\nLabel: {label.value}"), wording, limit, with_probs=False)


@pytest.mark.parametrize(
    "other",
    [
        lambda given: given | {"model": supports(Label.CONTRADICTORY)},
        lambda given: given | {"model": supports(Label.SUPPORTED, TERSE)},
        lambda given: given | {"model": supports(Label.SUPPORTED, limit=98)},
        lambda given: given | {"max_new_tokens": 7},
        lambda given: given | {"documents": [replace_text(PAGE, "Nobody knows.")]},
    ],
    ids=["another judge of the name", "another wording", "another limit", "another option", "other documents"],
)
def test_stopped_work_of_another_is_not_taken_for_ones_own(other, tmp_path, monkeypatch):
    given = {
        "claims": example_claims()[:2],
        "documents": [PAGE],
        "model": supports(Label.SUPPORTED),
        "journal": tmp_path / "kept",
    }
    pieces = stops(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        f.judge(**given)
    f.judge(**other(given))
    assert len(pieces) == 4, "both pieces were done"
    f.judge(**given)
    assert len(pieces) == 5, "and the first work goes on after its first piece"


def replace_text(document: Document, text: str) -> Document:
    return Document(**document.model_dump(exclude={"id", "kind", "text"}), text=text)


def test_stopped_work_of_another_version_is_done_anew(tmp_path, monkeypatch):
    given = {"documents": [PAGE], "model": example_lm(), "probs": False, "journal": tmp_path / "kept"}
    pieces = stops(monkeypatch)
    texts = ["Ada Vell was born in Torin.", "Ada Vell won the Zor Prize."]
    with pytest.raises(KeyboardInterrupt):
        f.score(texts, **given)
    monkeypatch.setattr("fence_nb.__version__", "999")
    f.score(texts, **given)
    assert len(pieces) == 4


def test_judges_of_one_name_are_compared():
    yes, no = supports(Label.SUPPORTED), supports(Label.CONTRADICTORY)
    compared = f.compare_judges(example_claims()[:2], [PAGE], models=[yes, no, yes])
    assert {name: [j.label for j in judged.judgments.values()] for name, judged in compared.by_judge.items()} == {
        "twin": [Label.SUPPORTED] * 2,
        "twin #2": [Label.CONTRADICTORY] * 2,
    }


SAME = {"lr": 1e-4, "batch": 2, "seed": 3}


@pytest.mark.parametrize(
    "train, change, words",
    [
        ("sft", {"rows": 3}, "rows was 2, is 3"),
        ("dpo", {"lr": 5e-4}, "lr was 0.0001, is 0.0005"),
        ("kto", {"seed": 4}, "seed was 3, is 4"),
        ("grpo", {"model": "hub/other"}, "from was base, is other"),
        ("dpo", {"method": "sft"}, "method was sft, is dpo"),
    ],
)
def test_a_finished_training_is_that_of_its_rows_and_arguments(train, change, words, tmp_path):
    rows = [{"prompt": k} for k in range(change.pop("rows", 2))]
    record = {"method": change.pop("method", train), "from": "hub/base", "rows": 2, "steps": 1}
    record["args"] = recorded_args(TrainArgs(**SAME))
    (tmp_path / "training.json").write_text(json.dumps(record))
    more = ([],) if train == "grpo" else ()
    again = (
        TRAINERS[train]("moved/base", rows[:2], tmp_path, TrainArgs(**SAME, micro=1), *more)
        if (record["method"] == train)
        else record
    )
    assert again == record, "how it is done makes no difference, nor where its base lies"
    with pytest.raises(InputError, match=words):
        TRAINERS[train](change.pop("model", "hub/base"), rows, tmp_path, TrainArgs(**SAME | change), *more)


def test_checkpoints_of_another_training_are_not_gone_on_with(tmp_path):
    record = {"method": "sft", "from": "hub/base", "rows": 2, "args": recorded_args(TrainArgs(**SAME))}
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
    _drop_others(tmp_path, record)  # nobody knows whose they are, as in a folder of an earlier version
    assert _last_checkpoint(tmp_path).endswith("checkpoint-10")
    _drop_others(tmp_path, record | {"from": "moved/base"})
    assert _last_checkpoint(tmp_path).endswith("checkpoint-10")
    _drop_others(tmp_path, record | {"rows": 3})
    assert _last_checkpoint(tmp_path) is None


def test_pieces_are_told_by_what_they_hold(tmp_path):
    done = []

    def work(piece):
        done.append(piece)
        return [replace_text_of_claim(text) for text in piece]

    def replace_text_of_claim(text):
        return Claim(response_id="r", text=text, start=0, end=1)

    path = tmp_path / "r.jsonl"
    assert [c.text for c in run_resumable(path, [["a"], ["b"], ["c"]], work)] == ["a", "b", "c"]
    assert [c.text for c in run_resumable(path, [["a"], ["x"], ["c"], ["d"]], work)] == ["a", "x", "c", "d"]
    assert done == [["a"], ["b"], ["c"], ["x"], ["d"]]
    assert [c.text for c in run_resumable(path, [["a"], ["x"]], work)] == ["a", "x"] and len(done) == 5
