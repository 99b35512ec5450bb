"Nine questions and seven bad replies to each: no text is lost, none is invented, and every loss is told."

import pytest

from fence_nb.fence.faults import FAULTS, FAULTS_ANSWER, QUESTIONS, fault_matrix, try_fault
from fence_nb.judging.prompts import TERSE, prompt_set

STAGES = {
    "split": "claims",
    "tool calls": "evidence",
    "judge": "judge",
    "knowledge": "knowledge",
    "correction": "rewrite",
    "hedge": "rewrite",
    "continuation": "rewrite",
    "candidate": "sample",
    "TruthfulQA": "truthfulqa",
}
REASONS = {
    "failed": {"failed"},
    "cut": {"cut"},
    "refused": {"refused"},
    "thought only": {"cut"},
    "echo": {"unparsed", "empty"},
    "empty": {"unparsed", "empty"},
    "wrong shape": {"unparsed"},
}
WORDINGS = [TERSE, prompt_set("full"), prompt_set("short"), prompt_set("full", "de"), prompt_set("short", "zh")]


@pytest.mark.parametrize("prompts", WORDINGS, ids=lambda prompts: f"{prompts.name} {prompts.language}")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_what_becomes_of_a_bad_reply(question, fault, prompts):
    cell = try_fault(question, fault, prompts)
    if (question, fault) == ("candidate", "wrong shape"):
        assert cell.words == "taken", "any text is an answer"
        return
    assert cell.became in ("stays", "left out", "not judged"), cell.text
    assert {f.stage for f in cell.failures} == {STAGES[question]}
    assert {f.reason for f in cell.failures} <= REASONS[fault]
    assert all(f.detail for f in cell.failures)


@pytest.mark.parametrize("prompts", WORDINGS, ids=lambda prompts: f"{prompts.name} {prompts.language}")
@pytest.mark.parametrize("question", QUESTIONS)
def test_good_replies_get_through(question, prompts):
    cell = try_fault(question, "", prompts)
    assert cell.failures == [] and cell.became in ("changed", "taken", "judged")


@pytest.mark.parametrize("question", ["split", "tool calls", "judge", "knowledge", "correction"])
def test_the_others_go_on(question):
    text = try_fault(question, "failed").text
    assert "She studied law. Nobody has told me where she lives." in text, "the next sentence was hedged all the same"
    assert text.endswith("She built bridges in Velm."), "and the next paragraph was written anew"


def test_a_lost_continuation_keeps_the_paragraph_break():
    assert try_fault("continuation", "failed").text == (
        "Lena Ort was born in Torin. She studied physics. Nobody has told me where she lives.\n\nShe built bridges."
    )
    assert "\n\n" in FAULTS_ANSWER.text


def test_the_table_has_a_cell_for_everything():
    rows = fault_matrix()
    assert [row["question"] for row in rows] == list(QUESTIONS)
    assert all(set(row) == {"question", *FAULTS} and all(row.values()) for row in rows)
