"Revision: which way each sentence goes, and what is recorded on the way."

from dataclasses import replace

import pytest

from fence_nb.core.records import Claim, Document, Judgment, Label, Response
from fence_nb.domains.examples import ANSWER, PAGE, example_lm
from fence_nb.evidence.tools import FunctionTool, Toolbox
from fence_nb.fence.revise import ClaimAction, SentenceJob, decide, revise_responses, rewrite_sentences
from fence_nb.judging.assess import Assessor
from fence_nb.judging.judge import LMJudge
from fence_nb.judging.prompts import TERSE
from fence_nb.models.interface import ScriptedLM

QUESTION = [{"role": "user", "content": "Who was she?"}]


def action(kind: str, critique: str = "") -> ClaimAction:
    claim = Claim(response_id="r", text=f"a claim to {kind}", start=0, end=1)
    return ClaimAction(claim, Judgment(claim_id=claim.id, label=Label.UNVERIFIED, critique=critique), kind)


def writer(conversation, sample, seed) -> str:
    "Says which question it was asked."
    text = conversation[-1]["content"]
    if "Hedge" in text:
        return "hedged"
    return f"corrected: {text}" if "Critique" in text else "A guess. And more."


@pytest.mark.parametrize(
    "actions, way",
    [
        ([action("keep")], "old"),
        ([action("remove")], ""),
        ([action("correct", "why")], "corrected"),
        ([action("correct")], "A guess."),
        ([action("keep"), action("remove")], "A guess."),  # a part is right: the sentence does not go
        ([action("correct", "why"), action("remove")], "corrected"),
    ],
)
def test_which_way_a_sentence_goes(actions, way):
    [sentence] = rewrite_sentences(ScriptedLM(writer), [SentenceJob("old", actions, QUESTION)], TERSE)
    assert sentence.startswith(way) and bool(sentence) == bool(way)
    if way == "corrected" and len(actions) == 2:
        assert "why Leave out: a claim to remove" in sentence


def test_a_sentence_that_goes_can_be_hedged():
    job = SentenceJob("old", [action("remove")])
    assert rewrite_sentences(ScriptedLM(writer), [job], TERSE, removal="hedge") == ["hedged"]


def test_equal_questions_are_asked_once():
    asked = []
    lm = ScriptedLM(lambda conversation, *_: asked.append(conversation) or "new")
    job = SentenceJob("old", [action("correct", "why")])
    assert rewrite_sentences(lm, [job, replace(job), SentenceJob("other", job.actions)], TERSE) == ["new"] * 3
    assert len(asked) == 2


def test_unreadable_knowledge_is_removed():
    assert decide(Label.CONTRADICTORY, "unparsed") == "remove"
    assert decide(Label.CONTRADICTORY, "unparsed", "edit") == "correct"


@pytest.fixture
def assess() -> Assessor:
    lm = example_lm()
    toolbox = Toolbox([FunctionTool("kb", 'kb("title")', lambda call: [PAGE])])
    return Assessor(lm, lm, toolbox, LMJudge(lm, TERSE, with_probs=False), TERSE)


def test_rounds_and_records(assess):
    revised = revise_responses(example_lm(), [ANSWER], assess, rounds=3)
    [final] = revised.responses
    assert final.parent == ANSWER.id and final.round == 3 and final.policy == "edit_remove"
    assert [d.round for d in revised.drafts] == [1], "the second paragraph was judged in the draft after one round"
    assert [(r.round, r.action, r.knows) for r in revised.revisions if r.action != "keep"] == [
        (1, "correct", "false"),
        (2, "remove", "unknown"),
    ]
    assert {r.response_id for r in revised.revisions} == {ANSWER.id}


def test_one_round_leaves_the_rest_unseen(assess):
    [final] = revise_responses(example_lm(), [ANSWER], assess, rounds=1).responses
    assert "physics" in final.text and "Marn" in final.text


def test_no_rounds_change_nothing(assess):
    assert revise_responses(example_lm(), [ANSWER], assess, rounds=0).responses == [ANSWER]


def test_several_responses_stay_in_order(assess):
    clean = Response(prompt_id="p", prompt=ANSWER.prompt, topic="Ada Vell", text="Ada Vell was born in Torin.")
    revised = revise_responses(example_lm(), [clean, ANSWER, clean.model_copy(update={"id": "other"})], assess)
    assert [r.parent for r in revised.responses] == [clean.id, ANSWER.id, "other"]
    assert [r.text == clean.text for r in revised.responses] == [True, False, True]


def test_documents_are_not_read_twice(assess):
    before = Document(**PAGE.model_dump())
    revise_responses(example_lm(), [ANSWER], assess)
    assert list(assess.documents) == [before.id]
