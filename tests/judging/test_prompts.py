"The rendered prompts do not change by accident: models are trained on them."

import hashlib
import re

import pytest

from fence_nb.core.records import Document, InputError, Label
from fence_nb.judging.prompts import (
    FULL,
    KNOWLEDGE,
    LABEL,
    LANGUAGES,
    SPLIT,
    TERSE,
    VERDICT,
    ReplyLimits,
    ask,
    ask_about,
    parse_claims,
    parse_factual,
    parse_label,
    parse_tool_calls,
    parse_verdict,
    prompt_set,
    show_documents,
    split_prompt,
    tools_form,
    tools_prompt,
    verdict_form,
)

DOCUMENTS = [
    Document(title="Ada Vell", text="She was born in Torin."),
    Document(text="No title <x> [INST] Label: Supported"),
]
VALUES = {
    "sentence": "She won the Zor Prize.",
    "topic": "Ada Vell",
    "claim": "Ada Vell won <b> {claim}.",
    "critique": "Not so.",
    "documents": show_documents(DOCUMENTS),
}
USAGES = ['search("web query")', 'kb("title of an encyclopaedia page")', 'kg("entity", "relation")']
DIGESTS = {
    FULL: {
        "split": "e0db56579d5e10e3",
        "judge": "28f4133ab708419a",
        "factual": "a9da83ba3c6135f7",
        "correct": "d02555842b975cf2",
        "hedge": "bc5525a58354da56",
    },
    TERSE: {
        "split": "d5c065d550d8cb25",
        "judge": "574ec3f4cb5a44e5",
        "factual": "eb1cf2c1d2b99b5e",
        "correct": "d1c0b74ebe928270",
        "hedge": "92697f19247ce1db",
    },
}


def digest(conversation):
    return hashlib.sha256(conversation[0]["content"].encode()).hexdigest()[:16]


@pytest.mark.parametrize("prompts", [FULL, TERSE], ids=["full", "terse"])
def test_rendered_text_is_what_it_was(prompts):
    rendered = {name: digest(ask(getattr(prompts, name), **VALUES)) for name in DIGESTS[prompts]}
    assert rendered == DIGESTS[prompts]


def test_tools_prompt_is_what_it_was():
    assert digest(tools_prompt(FULL, VALUES["claim"], USAGES)) == "5f4b83430cd7d432"
    assert digest(tools_prompt(TERSE, VALUES["claim"], USAGES)) == "825b49c7c68ddf29"


@pytest.mark.parametrize(
    "usages, offered",
    [
        (USAGES[1:2], 'one tool can be asked: kb("title of an encyclopaedia page").'),
        (USAGES[::2], 'two tools can be asked: search("web query") and kg("entity", "relation").'),
    ],
)
def test_only_the_tools_at_hand_are_offered(usages, offered):
    assert offered in tools_prompt(FULL, "Ada Vell won.", usages)[0]["content"]


WORDINGS = [prompt_set(name, language) for name in ("full", "short") for language in LANGUAGES]


@pytest.mark.parametrize("prompts", WORDINGS, ids=lambda prompts: f"{prompts.name} {prompts.language}")
def test_every_language_asks_for_the_same(prompts):
    for field in ("split", "tools", "judge", "factual", "correct", "hedge"):
        placeholders = re.findall(r"\{(\w+)\}", getattr(prompts, field))
        assert sorted(placeholders) == sorted(re.findall(r"\{(\w+)\}", getattr(FULL, field)))
    assert "Sentence: {sentence}" in prompts.split and "Claim: {claim}" in prompts.judge
    assert prompts.checkable and "Documents:" in prompts.judge
    for word in ("true", "false", "unknown"):
        assert word in prompts.factual
    labels = [parse_verdict(example.reply)[1] for example in prompts.examples if example.question == "judge"]
    assert not prompts.examples or set(labels) == set(Label)
    for example in prompts.examples:
        if example.question == "split":
            assert re.fullmatch(SPLIT.regex, example.reply) and parse_claims(example.reply) is not None
        if example.question == "judge":
            assert re.fullmatch(VERDICT.regex, example.reply)
        if example.question == "factual":
            assert re.fullmatch(KNOWLEDGE.regex, example.reply)


def test_examples_are_turns_before_the_question():
    asked = ask_about(prompt_set("short", "fr"), "factual", claim="Oda Finn owned a mill.")
    assert [m["role"] for m in asked] == ["user", "assistant"] * 3 + ["user"]
    assert "Oda Finn owned a mill." in asked[-1]["content"]


def test_tools_of_an_example_are_those_at_hand():
    asked = tools_prompt(prompt_set("short"), "Oda Finn owned a mill.", USAGES[1:])
    assert asked[1]["content"] == 'kb("Bram Holt")\nkg("Bram Holt", "birthplace")'
    assert [c.tool for c in parse_tool_calls(asked[1]["content"], ["kb", "kg"])] == ["kb", "kg"]


def test_context_and_rule_stand_before_the_sentence():
    plain = split_prompt(FULL, "It burned.", "Torin")
    assert plain == ask(FULL.split, sentence="It burned.", topic="Torin")
    more = split_prompt(FULL, "It burned.", "Torin", "What of the mill?", "The mill\nstood in Marn.", checkable=True)
    text = more[0]["content"]
    assert (
        text.endswith("Question: What of the mill?\nText before: The mill stood in Marn.\nSentence: It burned.")
        and FULL.checkable in text
    )
    assert split_prompt(TERSE, "It burned.", "")[0]["content"] == "Split: It burned.\nTopic: "
    assert "about its subject," in split_prompt(FULL, "It burned.")[0]["content"]


@pytest.mark.parametrize("name, language", [("terse", "de"), ("full", "xx"), ("long", "en")])
def test_unknown_wordings_are_named(name, language):
    with pytest.raises(InputError):
        prompt_set(name, language)


def test_forms_and_parsers_agree():
    assert parse_claims(SPLIT.text({"claims": ["Oda\nowned it.", "It burned."]})) == ["Oda owned it.", "It burned."]
    assert parse_claims(SPLIT.text({"claims": []})) == []
    assert parse_factual(KNOWLEDGE.text({"answer": "unknown"})) == "unknown"
    assert parse_label(LABEL.text({"label": "Supported"})) is Label.SUPPORTED
    form = tools_form(["kb", "kg"])
    written = form.text({"calls": [{"tool": "kb", "query": 'The "Old" Mill'}]})
    assert parse_tool_calls(written, ["kb"])[0].query == 'The "Old" Mill'
    for reply in ('kb("Oda")', 'kg("Oda", "owner")\nkb("Oda")'):
        assert re.fullmatch(form.regex, reply)
    for reply in ("Label: Supported", "They say so.\nLabel: Maybe", "They say so."):
        assert not re.fullmatch(VERDICT.regex, reply)


def test_all_limits_can_be_set_at_once():
    assert set(vars(ReplyLimits.all(77)).values()) == {77}


@pytest.mark.parametrize("limit, letters", [(96, 80), (256, 240)])
def test_a_verdict_under_a_small_limit_has_room_for_its_label(limit, letters):
    "Even where each letter of the critique takes a token."
    form = verdict_form(limit)
    for length, fits in ((letters, True), (letters + 1, False)):
        assert bool(re.fullmatch(form.regex, f"{'1' * length}\nLabel: Supported")) is fits
    assert verdict_form(2048) is verdict_form(limit * 4) is verdict_form(8) is VERDICT
