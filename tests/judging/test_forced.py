"A critique without a label gets one from the model itself, and the record says so. Documents that do not fit are cut."

import math

import pytest

from fence_nb.core.records import Claim, Document, Label
from fence_nb.judging.judge import LMJudge, ScoreJudge
from fence_nb.judging.prompts import FULL, TERSE, ReplyLimits
from fence_nb.models.interface import Reply, ScriptedLM

CLAIM = Claim(response_id="r", text="Oda Finn owned a mill.", start=0, end=22)
PAGES = [Document(title=f"Page {k}", text="The mill of Torin stood by the river. " * 5) for k in range(4)]


class Weighing(ScriptedLM):
    "A script that finds Contradictory likeliest, and remembers what was weighed."

    has_logprobs = True

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.weighed = []

    def label_logprobs(self, conversations, options):
        self.weighed += [c[-1]["content"] for c in conversations]
        return [{word: math.log(p) for word, p in zip(options, (0.2, 0.7, 0.1), strict=True)} for _ in conversations]


def says(text, model=Weighing):
    return model(lambda conversation, sample, seed: text)


def test_a_label_is_weighed():
    lm = says("The page names Marn.")
    judgments, failures = LMJudge(lm, FULL).judge([(CLAIM, PAGES[:1])])
    assert not failures and judgments[0].forced and judgments[0].label is Label.CONTRADICTORY
    assert judgments[0].critique == "The page names Marn." and judgments[0].probs["Contradictory"] == 0.7
    assert lm.weighed == ["The page names Marn.\nLabel:"]  # once


def test_no_probabilities_are_kept_that_nobody_wanted():
    judgments, _ = LMJudge(says("The page names Marn."), FULL, with_probs=False).judge([(CLAIM, PAGES[:1])])
    assert judgments[0].forced and judgments[0].probs == {}


def test_a_label_that_was_written_is_not_forced():
    judgments, _ = LMJudge(says("So it says.\nLabel: Supported"), FULL).judge([(CLAIM, [])])
    assert judgments[0].label is Label.SUPPORTED and not judgments[0].forced
    assert "forced" not in judgments[0].model_dump()


@pytest.mark.parametrize(
    "text",
    [
        "It is so.\nLabel: Supported\nLabel: Contradictory",
        "It is so.\nLabel: Not Supported",
        "",
        "---",
        f"Documents:\nnone\n\nClaim: {CLAIM.text}",
    ],
    ids=["rivals", "another word", "empty", "no word", "echo"],
)
def test_what_is_no_critique_stays_a_failure(text):
    judgments, failures = LMJudge(says(text), FULL).judge([(CLAIM, [])])
    assert not judgments and [f.reason for f in failures] == ["unparsed"]


def test_it_can_be_switched_off():
    judgments, failures = LMJudge(says("The page names Marn."), FULL, forced=False).judge([(CLAIM, [])])
    assert not judgments and failures[0].reason == "unparsed"


def test_without_probabilities_the_label_is_asked_for():
    lm = ScriptedLM(lambda c, *a: " Unverified" if c[-1]["content"].endswith("\nLabel:") else "No page names her.")
    judgments, _ = LMJudge(lm, FULL, with_probs=False).judge([(CLAIM, [])])
    assert judgments[0].label is Label.UNVERIFIED and judgments[0].forced
    stubborn = says("No page names her.", ScriptedLM)
    assert not LMJudge(stubborn, FULL, with_probs=False).judge([(CLAIM, [])])[0]


class Given(ScriptedLM):
    "One reply for every question."

    def __init__(self, reply):
        super().__init__(lambda *a: "")
        self.reply = reply
        self.asked = 0

    def generate(self, conversations, **kw):
        self.asked += len(conversations)
        return [[self.reply] for _ in conversations]


@pytest.mark.parametrize(
    "reply, reason, asked",
    [
        (Reply("It is so.\nLabel: Supp", finished=False), "cut", 1),
        (Reply("I cannot judge this.", refused=True), "refused", 1),
        (Reply("", False, "down"), "failed", 2),
        (Reply("", False, "9 tokens do not fit", too_long=True), "too long", 1),
    ],
)
def test_what_is_no_answer_is_no_verdict(reply, reason, asked):
    lm = Given(reply)
    judge = LMJudge(lm, FULL, with_probs=False)
    for _ in range(2):
        judgments, failures = judge.judge([(CLAIM, [])])
        assert not judgments and [(f.stage, f.reason) for f in failures] == [("judge", reason)]
    assert lm.asked == asked  # only what failed is asked again
    assert reason != "cut" or "--max-new-tokens" in failures[0].detail


class Small(Weighing):
    "A model that reads few words."

    words = 60

    def fits(self, conversation, max_new_tokens):
        return sum(len(m["content"].split()) for m in conversation) <= self.words


@pytest.mark.parametrize(
    "open_judge", [lambda lm: LMJudge(lm, TERSE), lambda lm: ScoreJudge(lm, TERSE)], ids=["lm", "score"]
)
def test_documents_that_do_not_fit_are_cut_by_rank(open_judge):
    lm = says("So they say.\nLabel: Supported", Small)
    first, _ = open_judge(lm).judge([(CLAIM, PAGES)])
    assert first[0].truncated and first[0].document_ids == [PAGES[0].id]
    whole, _ = open_judge(lm).judge([(CLAIM, PAGES[:1])])
    assert not whole[0].truncated and whole[0].document_ids == [PAGES[0].id]
    lm.words = 20
    part, _ = open_judge(lm).judge([(CLAIM, PAGES[:1])])
    assert part[0].truncated and part[0].document_ids == [PAGES[0].id]


def test_equal_questions_about_other_documents_name_their_own():
    lm = says("So they say.\nLabel: Supported", Small)
    twins = [d.model_copy(update={"id": f"twin-{k}"}) for k, d in enumerate(PAGES)]
    judgments, _ = LMJudge(lm, TERSE).judge([(CLAIM, PAGES), (CLAIM, twins)])
    assert [j.document_ids for j in judgments] == [[PAGES[0].id], ["twin-0"]]


def test_limits_leave_room():
    assert LMJudge(says("x"), FULL).max_new_tokens == ReplyLimits().critique >= 1024
