"A sentence that cannot be split is counted; what is no sentence of the answer is not asked about."

import pytest

from fence_nb.core.records import Response
from fence_nb.judging.claims import claim_spans, split_responses, unsplit_sentences
from fence_nb.judging.prompts import FULL, AskOptions, ReplyLimits, prompt_set
from fence_nb.models.interface import Reply, ScriptedLM

TEXT = "Oda Finn owned a mill. It burned in 1911. She died there."


def answer(text=TEXT, **fields):
    return Response(**({"prompt_id": "p", "prompt": "Who was Oda Finn?", "topic": "Oda Finn", "text": text} | fields))


class Replies:
    "A model that gives the replies that it is made with, and remembers what it was asked."

    name, has_logprobs = "replies", False

    def __init__(self, *replies, default=None):
        self.replies = list(replies)
        self.default = default
        self.asked, self.forms, self.limits = [], [], []

    def generate(self, conversations, n=1, temperature=0.0, max_new_tokens=256, seed=0, desc="", form=None):
        self.asked += [c[-1]["content"] for c in conversations]
        self.forms += [form] * len(conversations)
        self.limits += [max_new_tokens] * len(conversations)
        return [[self.replies.pop(0) if self.replies else self.default] for _ in conversations]


@pytest.mark.parametrize(
    "reply, reason",
    [
        (Reply("- Oda Finn owned a mill.\n- Oda", finished=False), "cut"),
        (Reply("", False, "replies: status 500"), "failed"),
        (Reply("I cannot help with that.", refused=True), "refused"),
        (Reply("", False, "9 tokens do not fit", too_long=True), "too long"),
        (Reply("Sure, here you go!"), "unparsed"),
        (Reply(""), "unparsed"),
    ],
)
def test_what_is_no_answer_makes_no_claim(reply, reason):
    good = Reply("- It burned in 1911.")
    claims, failures = split_responses(Replies(reply, good, good), [answer()], FULL)
    assert [c.text for c in claims] == ["It burned in 1911."] * 2
    assert [(f.stage, f.reason) for f in failures] == [("claims", reason)]
    assert unsplit_sentences(failures) == {failures[0].item_id: 1}


def test_what_failed_may_be_asked_again():
    lm, memo = Replies(Reply("", False, "down"), default=Reply("- Yes, it was.")), {}
    _, failures = split_responses(lm, [answer()], FULL, memo=memo)
    assert len(failures) == 1 and len(lm.asked) == 3
    _, failures = split_responses(lm, [answer()], FULL, memo=memo)
    assert not failures and len(lm.asked) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"options": AskOptions(window=1)},
        {"options": AskOptions(checkable=True)},
        {"options": AskOptions(constrained=False)},
        {"options": AskOptions(ReplyLimits.all(99))},
        {"prompts": prompt_set("short")},
        {"responses": [answer(topic="Bo Karn")]},
    ],
    ids=["window", "checkable", "form", "limit", "wording", "topic"],
)
def test_another_question_is_asked_anew(change):
    lm, memo = Replies(default=Reply("none")), {}
    same = {"responses": [answer()], "prompts": FULL, "options": AskOptions()}
    for _ in range(2):
        split_responses(lm, memo=memo, **same)
    assert len(lm.asked) == 3
    split_responses(lm, memo=memo, **(same | change))
    assert len(lm.asked) == 6


def test_the_prompt_counts_where_it_is_shown():
    lm, memo, window = Replies(default=Reply("none")), {}, AskOptions(window=1)
    for options, asked in ((AskOptions(), 3), (window, 9)):
        for prompt in ("Who was Oda Finn?", "Tell me of a mill."):
            split_responses(lm, [answer(prompt=prompt)], FULL, options, memo)
        assert len(lm.asked) == asked
    assert "Question: Who was Oda Finn?" in lm.asked[3] and "Text before" not in lm.asked[3]
    assert lm.asked[5].endswith("Text before: It burned in 1911.\nSentence: She died there.")


def test_limit_and_form_are_asked_for():
    lm = Replies(default=Reply("none"))
    split_responses(lm, [answer()], FULL, AskOptions(ReplyLimits(split=77), constrained=True))
    split_responses(lm, [answer()], FULL, AskOptions(constrained=False))
    assert lm.limits[0] == 77 and [form is None for form in lm.forms] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    "lm, options", [(None, AskOptions()), (ScriptedLM.from_table({}), AskOptions(splitter="sentences"))]
)
def test_each_sentence_may_be_a_claim(lm, options):
    response = answer()
    claims, failures = split_responses(lm, [response], FULL, options)
    assert not failures and [c.text for c in claims] == [TEXT[c.start : c.end] for c in claims] and len(claims) == 3


KEPT = {
    "plain": (TEXT, 3),
    "a thought": ("<think>A mill? It may be.</think>Oda Finn owned a mill.", 1),
    "a thought that is closed only": ("A mill? It may be.</think>Oda Finn owned a mill.", 1),
    "only a thought": ("<think>A mill? It may be.", 0),
    "code": ("Oda Finn owned a mill.\n\n```python\nprint('It burned.')\n```\n\nIt burned.", 2),
    "code without an end": ("Oda Finn owned a mill.\n~~~\nprint('It burned.')", 1),
    "rulers": ("Oda Finn owned a mill.\n\n---\n\n***\n\nIt burned.", 2),
    "headings": ("# The mill\n\nOda Finn owned a mill.\n\n**The fire**\n\nIt burned.", 2),
    "bold sentence": ("**Oda Finn owned a mill in Torin.**", 1),
    "sources": (
        "Oda Finn owned a mill.\n\n**Sources:**\n1. The Mills of Torin, 1950.\n2. https://example.org/mills",
        1,
    ),
    "sources, then text": ("Oda Finn owned a mill.\n\nReferences\n- Holt 1950.\n\nIt burned.", 2),
    "sources in a line": ("Oda Finn owned a mill.\n\nSources: Holt 1950, Marn 1951.", 1),
    "German sources": ("Oda Finn besaß eine Mühle.\n\n## Quellen\n* Holt 1950.", 1),
    "footnotes": ("Oda Finn owned a mill.[1]\n\n[1]: https://example.org/mills\n[^2]: Holt 1950.", 1),
    "an end token": ("Oda Finn owned a mill. <|im_end|>", 1),
    "an address": ("Oda Finn owned a mill.\nhttps://example.org/mills.html", 1),
}


@pytest.mark.parametrize("text, sentences", KEPT.values(), ids=list(KEPT))
def test_only_what_the_answer_says_is_split(text, sentences):
    spans = claim_spans(text)
    assert len(spans) == sentences
    for start, end in spans:
        assert text[start:end].strip("*").startswith(("Oda", "It", "She"))


@pytest.mark.parametrize(
    "text",
    [
        "Sources: Oda Finn was named in the archives of Torin.",
        "**Sources**\nThe mill stream has two springs in the hills.",
        "Sources\n- The stream rises in the hills of Torin.",
    ],
)
def test_a_sentence_below_the_word_sources_is_one(text):
    start, end = claim_spans(text)[-1]
    assert text.endswith(text[start:end]) and end == len(text)
