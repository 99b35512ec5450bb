"Evidence is remembered under everything that was asked, and an empty toolbox is not asked."

from fence_nb.core.records import Claim, Document
from fence_nb.evidence.tools import FunctionTool, Toolbox
from fence_nb.judging.assess import fetch_evidence
from fence_nb.judging.prompts import FULL, TERSE
from fence_nb.models.interface import ScriptedLM

PAGES = {
    "Ada Vell": Document(title="Ada Vell", text="She was born in Torin."),
    "Bo Karn": Document(title="Bo Karn", text="She was born in Velm."),
}


def same_words_about(*topics):
    return [Claim(response_id="r", text="She was born in Torin.", topic=t, start=0, end=22) for t in topics]


def test_two_topics_are_two_questions():
    calls = []

    def look_up(call):
        calls.append(call.query)
        return [PAGES[call.query]]

    toolbox, memo = Toolbox([FunctionTool("kb", 'kb("title")', look_up)]), {}
    claims = same_words_about("Ada Vell", "Bo Karn")
    for _ in range(2):
        documents_by_claim, failures = fetch_evidence(None, toolbox, claims, TERSE, memo)
        assert [[d.title for d in documents_by_claim[c.id]] for c in claims] == [["Ada Vell"], ["Bo Karn"]]
        assert not failures
    assert calls == ["Ada Vell", "Bo Karn"]  # the second time, both were remembered


def test_a_call_of_no_tool_at_hand_is_a_failure():
    planner = ScriptedLM(lambda conversation, sample, seed: 'search("Ada Vell")')
    toolbox = Toolbox([FunctionTool("kb", 'kb("title")', lambda call: [PAGES[call.query]])])
    documents_by_claim, failures = fetch_evidence(planner, toolbox, same_words_about("Ada Vell"), FULL)
    assert list(documents_by_claim.values()) == [[]] and failures[0].reason == "unparsed"


def test_without_tools_nobody_is_asked():
    planner = ScriptedLM.from_table({})  # any question would raise
    documents_by_claim, failures = fetch_evidence(planner, Toolbox([]), same_words_about("Ada Vell"), FULL)
    assert list(documents_by_claim.values()) == [[]] and not failures
