"Revision: which way each sentence goes, and what is recorded on the way."

from dataclasses import replace

import pytest

from fence_nb.core.records import Claim, Document, Judgment, Label, Response
from fence_nb.domains.examples import ANSWER, PAGE, example_claims, example_lm
from fence_nb.evidence.tools import FunctionTool, Toolbox
from fence_nb.fence.knowledge import SelfJudge, ask_knowledge
from fence_nb.fence.revise import ClaimAction, Rewrite, SentenceJob, decide, revise_responses, rewrite_sentences
from fence_nb.judging.assess import Assessor
from fence_nb.judging.judge import LMJudge
from fence_nb.judging.prompts import TERSE, AskOptions, ReplyLimits
from fence_nb.models.interface import Reply, ScriptedLM

QUESTION = [{"role": "user", "content": "Who was she?"}]


def action(kind: str, critique: str = "") -> ClaimAction:
    claim = Claim(response_id="r", text=f"a claim to {kind}", start=0, end=1)
    return ClaimAction(claim, Judgment(claim_id=claim.id, label=Label.UNVERIFIED, critique=critique), kind)


def writer(conversation, sample, seed) -> str:
    "Says which question it was asked."
    text = conversation[-1]["content"]
    if "Hedge" in text:
        return "hedged"
    return "corrected" if "Critique" in text else "A guess. And more."


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
    asked = []
    lm = ScriptedLM(lambda conversation, *rest: asked.append(conversation) or writer(conversation, *rest))
    [rewrite] = rewrite_sentences(lm, [SentenceJob("old", actions, QUESTION)], TERSE)
    assert rewrite == Rewrite(way)
    if way == "corrected" and len(actions) == 2:
        assert "why Leave out: a claim to remove" in asked[0][0]["content"]


def test_a_sentence_that_goes_can_be_hedged():
    job = SentenceJob("old", [action("remove")])
    assert rewrite_sentences(ScriptedLM(writer), [job], TERSE, removal="hedge") == [Rewrite("hedged")]


def test_equal_questions_are_asked_once():
    asked = []
    lm = ScriptedLM(lambda conversation, *_: asked.append(conversation) or "new")
    job = SentenceJob("old", [action("correct", "why")])
    jobs = [job, replace(job), SentenceJob("other", job.actions)]
    assert rewrite_sentences(lm, jobs, TERSE) == [Rewrite("new")] * 3
    assert len(asked) == 2


def test_only_what_the_model_called_unknown_is_removed():
    assert decide(Label.CONTRADICTORY, "unknown") == "remove"
    assert decide(Label.CONTRADICTORY, "") == "keep"
    assert decide(Label.CONTRADICTORY, "", "edit") == "correct"


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


class Moody(ScriptedLM):
    "The example model, but for the questions that hold a text: these get a reply of their own."

    def __init__(self, replies: dict[str, Reply]):
        super().__init__(example_lm().answer, "example")
        self.replies = replies
        self.asked: list[str] = []

    def generate(self, conversations, n=1, **kwargs):
        self.asked += [c[-1]["content"] for c in conversations]
        usual = super().generate(conversations, n, **kwargs)
        return [
            next(([reply] * n for part, reply in self.replies.items() if part in c[-1]["content"]), samples)
            for c, samples in zip(conversations, usual, strict=True)
        ]


LOST = [
    (Reply("", False, "the server is down"), "failed"),
    (Reply("unkn", False), "cut"),
    (Reply("", refused=True), "refused"),
    (Reply("", False, thought="Well"), "cut"),
    (Reply("It depends."), "unparsed"),
]


@pytest.mark.parametrize("reply, reason", LOST)
def test_a_lost_view_changes_nothing(assess, reply, reason):
    lm = Moody({"unknown: Ada Vell studied law": reply, "unknown: Ada Vell lives": reply})
    revised = revise_responses(lm, [ANSWER], assess)
    assert revised.responses[0].text == ANSWER.text
    assert {(f.stage, f.reason) for f in revised.failures} == {("knowledge", reason)}
    claims = {c.text: c.id for c in assess.claims.values() if c.response_id == ANSWER.id}
    assert [f.item_id for f in revised.failures] == [claims["Ada Vell studied law."], claims["Ada Vell lives in Marn."]]


@pytest.mark.parametrize("reply, reason", LOST[:4])
def test_a_lost_correction_leaves_its_sentence_and_what_follows(assess, reply, reason):
    revised = revise_responses(Moody({"Correct the sentence": reply}), [ANSWER], assess)
    assert revised.responses[0].text == ANSWER.text.replace(" She lives in Marn.", ""), "the second paragraph went on"
    assert [(f.stage, f.reason) for f in revised.failures] == [("rewrite", reason)]
    assert {r.action for r in revised.revisions if r.round == 1} == {"keep"}


@pytest.mark.parametrize("reply, reason", [*LOST[:4], (Reply("Certainly! What else?"), "unparsed")])
def test_a_lost_continuation_leaves_the_old_paragraph(assess, reply, reason):
    class Stuck(Moody):
        def generate(self, conversations, n=1, **kwargs):
            usual = super().generate(conversations, n, **kwargs)
            return [[reply] if c[-1]["role"] == "assistant" else r for c, r in zip(conversations, usual, strict=True)]

    revised = revise_responses(Stuck({}), [ANSWER], assess)
    assert revised.responses[0].text == "Ada Vell was born in Torin. She studied physics.\n\nShe won the Zor Prize."
    assert [(f.stage, f.reason, f.item_id) for f in revised.failures] == [("rewrite", reason, ANSWER.id)]


def test_a_sentence_with_a_lost_claim_keeps_its_other_claims():
    text = "She studied law and lives in Marn."
    answer = ANSWER.model_copy(update={"text": text})

    def assess(responses):
        claims = [
            Claim(response_id=responses[0].id, text=claim, start=0, end=len(text))
            for claim in ("Ada Vell studied law.", "Ada Vell lives in Marn.")
        ]
        return claims, [Judgment(claim_id=c.id, label=Label.UNVERIFIED) for c in claims], []

    assess.prompts, assess.options = TERSE, AskOptions()
    lm = Moody({"unknown: Ada Vell studied law": LOST[0][0]})
    revised = revise_responses(lm, [answer], assess, rounds=1)
    assert revised.responses[0].text == text, "the other claim is unknown, and is not removed with it"
    assert [f.reason for f in revised.failures] == ["failed"]


def test_views_are_remembered_by_all_that_was_asked():
    claims = example_claims()[:1]
    memo = {}
    one, other = Moody({}), Moody({"Torin": Reply("false")})
    other.name = "other"
    assert list(ask_knowledge(one, claims, TERSE, memo=memo)[0].values()) == ["true"]
    assert list(ask_knowledge(one, claims, TERSE, memo=memo)[0].values()) == ["true"] and len(one.asked) == 1
    assert list(ask_knowledge(other, claims, TERSE, memo=memo)[0].values()) == ["false"]
    ask_knowledge(one, claims, replace(TERSE, factual="Is it so? {claim}"), memo=memo)
    ask_knowledge(one, claims, TERSE, AskOptions(ReplyLimits(knowledge=3)), memo)
    assert len(one.asked) == 3


def test_a_failed_view_is_asked_again():
    claims = example_claims()[:1]
    memo = {}
    assert ask_knowledge(Moody({"Torin": LOST[0][0]}), claims, TERSE, memo=memo)[1]
    assert ask_knowledge(Moody({}), claims, TERSE, memo=memo) == ({claims[0].id: "true"}, [])


def test_the_judge_of_itself_fails_where_it_has_no_view():
    claims = example_claims()[:2]
    judgments, failures = SelfJudge(Moody({"Torin": LOST[2][0]}), TERSE).judge([(c, []) for c in claims])
    assert [j.claim_id for j in judgments] == [claims[1].id]
    assert [(f.stage, f.item_id, f.reason) for f in failures] == [("judge", claims[0].id, "refused")]
