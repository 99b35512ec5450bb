"Evidence is remembered under everything that was asked, and an empty toolbox is not asked."

import pytest

from fence_nb.core.records import Claim, Document
from fence_nb.evidence.tools import FunctionTool, Toolbox
from fence_nb.judging.assess import fetch_evidence
from fence_nb.judging.prompts import FULL, TERSE
from fence_nb.models.interface import Reply, ScriptedLM

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


@pytest.mark.parametrize(
    "reply, reason",
    [
        (Reply('kb("Ada', finished=False), "cut"),
        (Reply("", False, "down"), "failed"),
        (Reply("No.", refused=True), "refused"),
        (Reply("Look it up."), "unparsed"),
        (Reply('You can ask kb("title").'), "unparsed"),
    ],
)
def test_a_plan_that_is_none_says_why(reply, reason):
    class Planner(ScriptedLM):
        def generate(self, conversations, **kw):
            return [[reply] for _ in conversations]

    toolbox = Toolbox([FunctionTool("kb", 'kb("title")', lambda call: [PAGES[call.query]])])
    planner, memo = Planner(lambda *a: ""), {}
    documents_by_claim, failures = fetch_evidence(planner, toolbox, same_words_about("Ada Vell"), FULL, memo)
    assert list(documents_by_claim.values()) == [[]]
    assert [(f.stage, f.reason) for f in failures] == [("evidence", reason)]
    assert bool(memo) is (reason != "failed")  # what failed is tried again


def test_a_tool_that_broke_is_asked_again():
    broken = [True]

    def look_up(call):
        if broken.pop() if broken else False:
            raise OSError("no line")
        return [PAGES[call.query]]

    toolbox, memo = Toolbox([FunctionTool("kb", 'kb("title")', look_up)]), {}
    claims = same_words_about("Ada Vell")
    assert fetch_evidence(None, toolbox, claims, FULL, memo)[1][0].reason == "tool"
    documents_by_claim, failures = fetch_evidence(None, toolbox, claims, FULL, memo)
    assert not failures and [[d.title for d in ds] for ds in documents_by_claim.values()] == [["Ada Vell"]]


def test_plans_of_two_planners_and_wordings_are_kept_apart():
    toolbox, memo, asked = Toolbox([FunctionTool("kb", 'kb("title")', lambda call: [])]), {}, []

    def plan(conversation, sample, seed):
        asked.append(conversation)
        return 'kb("Ada Vell")'

    one, two = ScriptedLM(plan), ScriptedLM(plan)
    for planner, prompts in ((one, FULL), (two, FULL), (two, TERSE), (two, TERSE)):
        fetch_evidence(planner, toolbox, same_words_about("Ada Vell"), prompts, memo)
    assert len(asked) == 3
