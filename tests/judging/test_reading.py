"What models write is read where its meaning is plain, and refused where it is not."

import pytest

from fence_nb.core.records import Label, Response
from fence_nb.evidence.tools import ToolCall
from fence_nb.judging.prompts import (
    MissingLabel,
    VerdictError,
    parse_claims,
    parse_factual,
    parse_tool_calls,
    parse_verdict,
)
from fence_nb.judging.truthfulqa import yes_or_no
from fence_nb.models.interface import Reply, ScriptedLM

MILL = ["Oda Finn owned a mill.", "Oda Finn died in 1911."]
CLAIMS = {
    "as asked": ("- Oda Finn owned a mill.\n- Oda Finn died in 1911.", MILL),
    "bold heading": ("**Claims:**\n\n- Oda Finn owned a mill.\n- Oda Finn died in 1911.", MILL),
    "heading": ("## Claims\n- Oda Finn owned a mill.\n- Oda Finn died in 1911.", MILL),
    "heading in the list": ("- **Claims:**\n- Oda Finn owned a mill.\n- Oda Finn died in 1911.", MILL),
    "preamble": ("Sure! Here are the claims:\n- Oda Finn owned a mill.\n- Oda Finn died in 1911.", MILL),
    "rulers": ("---\n- Oda Finn owned a mill.\n- Oda Finn died in 1911.\n* * *\n***", MILL),
    "note": ("- Oda Finn owned a mill.\n- Oda Finn died in 1911.\n\n*Note: I replaced the pronoun.*", MILL),
    "note as an item": ("- Oda Finn owned a mill.\n- Oda Finn died in 1911.\n- Note: two claims.", MILL),
    "closing words": ("- Oda Finn owned a mill.\n- Oda Finn died in 1911.\n\nLet me know if you need more!", MILL),
    "stars": ("* Oda Finn owned a mill.\n* Oda Finn died in 1911.", MILL),
    "plus": ("+ Oda Finn owned a mill.\n+ Oda Finn died in 1911.", MILL),
    "en dash": ("– Oda Finn owned a mill.\n– Oda Finn died in 1911.", MILL),
    "dots": ("• Oda Finn owned a mill.\n•Oda Finn died in 1911.", MILL),
    "numbers": ("1. Oda Finn owned a mill.\n2. Oda Finn died in 1911.", MILL),
    "numbers with brackets": ("1) Oda Finn owned a mill.\n(2) Oda Finn died in 1911.", MILL),
    "numbers after dashes": ("- 1. Oda Finn owned a mill.\n- 2. Oda Finn died in 1911.", MILL),
    "a club": ("- 1. FC Marn won.\n- 1. FC Torin lost.", ["1. FC Marn won.", "1. FC Torin lost."]),
    "letters": ("a) Oda Finn owned a mill.\nb) Oda Finn died in 1911.", MILL),
    "named": ("Claim 1: Oda Finn owned a mill.\n**Claim 2:** Oda Finn died in 1911.", MILL),
    "fence": ("```text\n- Oda Finn owned a mill.\n- Oda Finn died in 1911.\n```", MILL),
    "fence after words": ("Here you are:\n```\n- Oda Finn owned a mill.\n- Oda Finn died in 1911.\n```", MILL),
    "JSON list": ('["Oda Finn owned a mill.", "Oda Finn died in 1911."]', MILL),
    "JSON object": ('{"Claims": ["Oda Finn owned a mill.", "Oda Finn died in 1911."]}', MILL),
    "JSON objects": ('```json\n[{"claim": "Oda Finn owned a mill."}, {"text": "Oda Finn died in 1911."}]\n```', MILL),
    "quotes": ('- "Oda Finn owned a mill."\n- “Oda Finn died in 1911.”', MILL),
    "check boxes": ("- [ ] Oda Finn owned a mill.\n- [x] Oda Finn died in 1911.", MILL),
    "windows": ("- Oda Finn owned a mill.\r\n- Oda Finn died in 1911.\r\n", MILL),
    "thought": ("<think>\n- perhaps a mill\n</think>\n- Oda Finn owned a mill.\n- Oda Finn died in 1911.", MILL),
    "end token": ("- Oda Finn owned a mill.\n- Oda Finn died in 1911.<|im_end|>", MILL),
    "wrapped": ("- Oda Finn owned\n  a mill.\n- Oda Finn died in 1911.", MILL),
    "nested": ("- Oda Finn:\n  - owned a mill.\n  - died in 1911.", MILL),
    "under a heading": ("- About Oda Finn:\n  - Oda Finn owned a mill.\n  - Oda Finn died in 1911.", MILL),
    "plain lines": ("Oda Finn owned a mill.\nOda Finn died in 1911.", MILL),
    "one plain sentence": ("Oda Finn owned a mill.", MILL[:1]),
    "Chinese": (
        "- 奥达拥有一座磨坊。\n1、奥达于1911年去世。\n-磨坊在河边。",
        ["奥达拥有一座磨坊。", "奥达于1911年去世。", "磨坊在河边。"],
    ),
    "bold beginning": (
        "**Oda** owned a mill.\n**Oda** died in 1911.",
        ["**Oda** owned a mill.", "**Oda** died in 1911."],
    ),
    "minus sign": (
        "- The mill stood idle.\n- -7 degrees were measured.",
        ["The mill stood idle.", "-7 degrees were measured."],
    ),
    "minus sign alone": ("-7 degrees were measured in Torin.", ["-7 degrees were measured in Torin."]),
    "German date": ("- 1. Mai 1911 war der Todestag.", ["1. Mai 1911 war der Todestag."]),
    "none of": ("- None of the mills burned.\n- No one died.", ["None of the mills burned.", "No one died."]),
    "decimal": ("- 3.5 million people live there.", ["3.5 million people live there."]),
    "none": ("none", []),
    "None.": ("**None.**", []),
    "- none": ("- none", []),
    "none twice": ("- none\n- none", []),
    "none, with a reason": ("none (the sentence is a greeting)", []),
    "- none, with a reason": ("- none (a greeting)", []),
    "none, with a dash": ("none – it is a question", []),
    "none, then why": ("None.\n\nThe sentence asks something.", []),
    "no claims": ("- No claims.", []),
    "no factual claims": ("There are no factual claims in this sentence.", []),
    "no checkable facts": ("No checkable facts.", []),
    "N/A": ("- N/A", []),
    "empty JSON": ('{"claims": []}', []),
    "a none among claims": ("- Oda Finn owned a mill.\n- none", MILL[:1]),
}
NO_CLAIMS = [
    "",
    "Sure, here you go.",
    "Sure! Here you go",
    "I have split it.",
    "Here are the claims:",
    "**Claims:**",
    "---",
    "The sentence holds two claims.",
    "It is impossible to split this sentence.",
    "Was Oda Finn a miller?",
    "Oda Finn owned a mill. It stood in Torin.",
    "Sorry, that is beyond me.",
    '{"sentence": 3}',
    "好的，以下是结果。",
    "<think>\n- perhaps a mill",
]


@pytest.mark.parametrize("reply, claims", CLAIMS.values(), ids=list(CLAIMS))
def test_claims_are_read(reply, claims):
    assert parse_claims(reply) == claims


@pytest.mark.parametrize("reply", NO_CLAIMS)
def test_talk_is_no_claim(reply):
    with pytest.raises(VerdictError):
        parse_claims(reply)


WHY = "The page names Marn."
NO = Label.CONTRADICTORY
VERDICTS = {
    "as asked": (f"{WHY}\nLabel: Contradictory", WHY),
    "no critique": ("Label: Contradictory", ""),
    "bold": (f"{WHY}\n**Label:** **Contradictory**", WHY),
    "heading": (f"{WHY}\n### Label: Contradictory", WHY),
    "quotes": (f'{WHY}\nLabel: "contradictory".', WHY),
    "backticks": (f"{WHY}\nLabel: `Contradictory`", WHY),
    "dash": (f"{WHY}\nLabel - Contradictory", WHY),
    "wide colon": (f"{WHY}\nLabel：Contradictory。", WHY),
    "upper case": (f"{WHY}\nLABEL: CONTRADICTORY", WHY),
    "windows": (f"{WHY}\r\nLabel: Contradictory\r\n", WHY),
    "emoji": (f"{WHY}\n❌ Label: Contradictory ❌", WHY),
    "reason in brackets": (f"{WHY}\nLabel: Contradictory (the page says Marn, not Torin)", WHY),
    "reason after a dash": (f"{WHY}\nLabel: Contradictory – the page says Marn.", WHY),
    "because": (f"{WHY}\nLabel: Contradictory because the page says Marn.", WHY),
    "only a reason": ("Label: Contradictory (the page says Marn)", "Label: Contradictory (the page says Marn)"),
    "note after": (f"{WHY}\nLabel: Contradictory\n\nNote: one page was read.", f"{WHY}\nNote: one page was read."),
    "critique after": (f"Label: Contradictory\n{WHY}", WHY),
    "end token": (f"{WHY}\nLabel: Contradictory</s>", WHY),
    "fence": (f"```\n{WHY}\nLabel: Contradictory\n```", WHY),
    "JSON": ('{"critique": "The page names Marn.", "label": "Contradictory"}', WHY),
    "JSON in a fence": ('```json\n{"Reason": "The page names Marn.", "Label": "contradictory"}\n```', WHY),
    "final": (f"{WHY}\nFinal label: Contradictory", WHY),
    "final beats the first": (f"Label: Supported\n{WHY}\nFinal label: Contradictory", WHY),
    "twice the same": (f"{WHY}\nLabel: Contradictory\nLabel: Contradictory", WHY),
    "the label is": (f"{WHY}\nThe label is Contradictory.", WHY),
    "verdict": (f"{WHY}\nVerdict: Contradictory", WHY),
    "bare": (f"{WHY}\nContradictory", WHY),
    "same line": (f"{WHY} Label: Contradictory", WHY),
    "label on its own line": (f"{WHY}\nLabel:\nContradictory", WHY),
    "boxed": (f"{WHY}\nLabel: $\\boxed{{\\text{{Contradictory}}}}$", WHY),
    "thought": (f"<think>Label: Supported?</think>{WHY}\nLabel: Contradictory", WHY),
    "a label line that was none": (
        f"Label: the page says Marn.\n{WHY}\nLabel: Contradictory",
        f"Label: the page says Marn.\n{WHY}",
    ),
    "quoted line before": (f"Label (quoted): Supported stands in the page.\n{WHY}\nLabel: Contradictory", None),
}


@pytest.mark.parametrize("reply, critique", VERDICTS.values(), ids=list(VERDICTS))
def test_verdicts_are_read(reply, critique):
    read = parse_verdict(reply)
    assert read[1] is NO and critique in (None, read[0])


NO_LABEL = ["", WHY, f"{WHY}\nLabel:", "Label (quoted): Supported", f"Label: it may be so.\n{WHY}"]
OTHERS = [f"{WHY}\nLabel: {words}" for words in ("Contradicted", "Not Supported", "Partly supported", "none")]
OTHERS += [f"{WHY}\nLabel: Supported, Contradictory, Unverified", f"{WHY} Label: maybe", f"{WHY}\nLabel:\nmaybe"]
RIVALS = [
    f"{WHY}\nLabel: Supported\nLabel: Contradictory",
    f"{WHY}\nLabel: Supported\n{WHY}\nLabel: Contradictory",
    f"Label: Supported\n{WHY} So it is contradictory.",
    f"{WHY}\nLabel: Supported\nWait, the page says Marn.",
    f"{WHY}\nLabel: Supported\nHowever, one page was not read.",
    f"{WHY}\nSupported\nContradictory",
    f"{WHY}\nLabel: Supported\nFinal label: partly",
]
HALVES = [f"{WHY}\nLabel: Supported / Contradictory", f"{WHY}\nLabel: Supported or Unverified"]
HALVES += [
    f"{WHY}\nLabel: Supported?",
    f"{WHY}\nLabel: Supported (partly)",
    f"{WHY}\nLabel: Supported, not Contradictory",
]


@pytest.mark.parametrize("reply", NO_LABEL)
def test_what_is_no_label_is_missing(reply):
    with pytest.raises(MissingLabel):
        parse_verdict(reply)


@pytest.mark.parametrize("reply", RIVALS + HALVES + OTHERS)
def test_rivals_and_other_words_are_never_guessed(reply):
    with pytest.raises(VerdictError) as e:
        parse_verdict(reply)
    assert not isinstance(e.value, MissingLabel)  # so that no label is forced on it


VIEWS = {
    "true": ["true", "True.", "**True**", '"true"', "(true)", "Answer: true", "**Answer:** True.", "The claim is true."]
    + ["Yes.", "Yes, true.", "I believe this is true", "true<|im_end|>", "<think>x</think>true", "My answer is true."]
    + ["True, because the record says so.", "Correct.", '{"answer": "true"}', "```\ntrue\n```", "That is correct."]
    + ["True\n\nThe mill stood there."],
    "false": [
        "false",
        "False.",
        "Not true.",
        "Not true: it was Marn.",
        "No.",
        "No, it was Marn.",
        "Untrue",
        "It's false.",
    ]
    + ["The statement is false.", "Final answer: False", "False. It is true that she lived there, but not in 1911."]
    + ["This is not correct.", '{"true": false}', "FALSE!", "- false"],
    "unknown": [
        "unknown",
        "Unknown – I am not sure",
        "Unsure",
        "I don't know",
        "I don’t know.",
        "Not sure.",
        "No idea.",
    ]
    + ["I am not sure.", "I cannot say.", "Not enough information.", "unknown."],
}
NO_VIEW = [
    "",
    "Truely",
    "true or false",
    "True/False",
    "true, false or unknown",
    "Yes and no.",
    "The mill stood there.",
]
NO_VIEW += ["True. Wait, no: false.\nFalse.", "Trueish", "Is it true?", "Everything she wrote is true."]


@pytest.mark.parametrize("view, reply", [(view, reply) for view, replies in VIEWS.items() for reply in replies])
def test_views_are_read(view, reply):
    assert parse_factual(reply) == view


@pytest.mark.parametrize("reply", NO_VIEW)
def test_no_view_is_guessed(reply):
    with pytest.raises(VerdictError):
        parse_factual(reply)


ONE = [("kb", "Oda Finn", "")]
TWO = [("kg", "Oda Finn", "owner of")]
CALLS = {
    'kb("Oda Finn")': ONE,
    "kb('Oda Finn')": ONE,
    "kb(“Oda Finn”)": ONE,
    "kb(‘Oda Finn’)": ONE,
    "kb(«Oda Finn»)": ONE,
    "kb(„Oda Finn“)": ONE,
    "kb(`Oda Finn`)": ONE,
    'kb( "Oda Finn" )': ONE,
    'kb(title="Oda Finn")': ONE,
    "kb(title = 'Oda Finn')": ONE,
    'kb(title: "Oda Finn")': ONE,
    'kb（"Oda Finn"）': ONE,
    '- kb("Oda Finn")': ONE,
    '1. `kb("Oda Finn")`': ONE,
    '```python\nkb("Oda Finn")\n```': ONE,
    'I would ask kb("Oda Finn").': ONE,
    'kb("Oda Finn")<|im_end|>': ONE,
    'search("Oda Finn mill")\nkb("Oda Finn")': ONE,
    '{"tool": "kb", "query": "Oda Finn"}': ONE,
    '[{"name": "kb", "arguments": {"title": "Oda Finn"}}]': ONE,
    '{"function": {"name": "kb", "arguments": "Oda Finn"}}': ONE,
    '```json\n[{"tool": "kb", "title": "Oda Finn"}]\n```': ONE,
    'kg("Oda Finn", "owner of")': TWO,
    "kg('Oda Finn', 'owner of')": TWO,
    "kg(“Oda Finn”, “owner of”)": TWO,
    'kg(entity="Oda Finn", relation="owner of")': TWO,
    "kg(entity='Oda Finn', relation='owner of')": TWO,
    'kg("Oda Finn"，"owner of")': TWO,
    '{"tool": "kg", "entity": "Oda Finn", "relation": "owner of"}': TWO,
    '{"name": "kg", "arguments": ["Oda Finn", "owner of"]}': TWO,
    "kb('O'Hara's mill')": [("kb", "O'Hara's mill", "")],
    "kg('O'Hara', 'owner of')": [("kg", "O'Hara", "owner of")],
    'kb("The \\"Old\\" Mill")': [("kb", 'The "Old" Mill', "")],
    'kb("Oda Finn")\nkg("Oda Finn", "owner of")': ONE + TWO,
}
NO_CALLS = [
    "",
    "I would look it up.",
    "kb()",
    'kb("")',
    'search("Oda Finn")',
    "kb(Oda Finn",
    '{"tool": "web", "query": "x"}',
]


@pytest.mark.parametrize("reply, calls", CALLS.items())
def test_tool_calls_are_read(reply, calls):
    assert [(c.tool, c.query, c.relation) for c in parse_tool_calls(reply, ["kb", "kg"])] == calls


@pytest.mark.parametrize("reply", NO_CALLS)
def test_what_is_no_call_is_refused(reply):
    with pytest.raises(VerdictError):
        parse_tool_calls(reply, ["kb", "kg"])


ASKED = {
    Label.SUPPORTED: [
        "yes",
        " Yes",
        "Yes.",
        "YES!",
        "**Yes**",
        '"yes"',
        "(yes)",
        "- yes",
        "\nyes",
        "yes\n\nQ: Who?\nA: No",
    ]
    + ["yes, it is", "Yes, because it is so.", "yes – it is", "`yes`"],
    Label.CONTRADICTORY: ["no", " No", "No.", "NO!", "**No**", "'no'", "[no]", "* no", "\n\nno", "no\nQ: Who?\nA: Yes"]
    + ["no, it is not", "No: it is not so.", "no;", "`no`"],
    None: ["", "maybe", "yes and no", "no, yes", "yesterday", "nothing", "It is so.", "I say yes", "true", "not sure"],
}


@pytest.mark.parametrize("label, text", [(label, text) for label, texts in ASKED.items() for text in texts])
def test_yes_and_no_are_read(label, text):
    answer = Response(prompt_id="q", prompt="Is it?", text="It is.")
    judgments, failures = yes_or_no(ScriptedLM(lambda *a: text), "{question} {answer}", [answer], "a judge")
    assert [j.label for j in judgments] == [label][: len(judgments)] and (label is None) == bool(failures)
    assert [f.reason for f in failures] in ([], ["unparsed"])


@pytest.mark.parametrize(
    "reply, reason",
    [
        (Reply("yes\nQ: Who? A:", finished=False), None),  # such a model completes text: its answer is the first line
        (Reply("yes, because the", finished=False), "cut"),
        (Reply("", False, "down"), "failed"),
        (Reply("No, I cannot say that.", refused=True), "refused"),
    ],
)
def test_a_judge_of_truth_that_did_not_answer_says_why(reply, reason):
    class Given(ScriptedLM):
        def generate(self, conversations, **kw):
            return [[reply] for _ in conversations]

    answer = Response(prompt_id="q", prompt="Is it?", text="It is.")
    judgments, failures = yes_or_no(Given(lambda *a: ""), "{question} {answer}", [answer], "a judge")
    assert [f.reason for f in failures] == ([reason] if reason else []) and bool(judgments) == (not reason)


@pytest.mark.parametrize("reply", ["[" * 100_000, "\n" * 50_000, "- " * 20_000, "Label: " * 5_000, "the " * 20_000])
def test_a_model_that_repeats_itself_is_no_hold_up(reply):
    for parse in (parse_claims, parse_verdict, parse_factual, lambda text: parse_tool_calls(text, ["kb"])):
        with pytest.raises(VerdictError):
            parse(reply)


LOCK, LENGTH = "The lock was built in 1904.", "It is 90 m long."


@pytest.mark.parametrize(
    "reply",
    [
        f"- {LOCK}\n- {LENGTH}\n\n### Explanation\n- The sentence has two verbs.",
        f"Reasoning:\n- Two facts are joined.\n\nClaims:\n- {LOCK}\n- {LENGTH}",
        f"1. {LOCK} 2. {LENGTH}",
        f"(1) {LOCK} (2) {LENGTH}",
        f"['{LOCK}', '{LENGTH}']",
        f'{{"claim_1": "{LOCK}", "claim_2": "{LENGTH}"}}',
        f'{{"claims": [{{"content": "{LOCK}"}}, {{"content": "{LENGTH}"}}]}}',
        f"1️⃣ {LOCK}\n2️⃣ {LENGTH}",
        f"> - {LOCK}\n> - {LENGTH}",
    ],
)
def test_claims_in_other_dress(reply):
    assert parse_claims(reply) == [LOCK, LENGTH]


def test_a_list_of_names_keeps_what_it_is_a_list_of():
    assert parse_claims("- The lock leads to:\n  - Velm\n  - Torin") == [
        "The lock leads to Velm",
        "The lock leads to Torin",
    ]
    assert parse_claims("This sentence contains no factual claims.") == []


@pytest.mark.parametrize(
    "reply",
    [
        "Yes, that is false.",
        "No, it is true.",
        "True, but only in part.",
        "Right now I cannot look it up.",
        "No lock is.",
    ],
)
def test_a_view_that_is_taken_back_is_none(reply):
    with pytest.raises(VerdictError):
        parse_factual(reply)


@pytest.mark.parametrize(
    "view, reply",
    [
        ("unknown", "No information."),
        ("unknown", "No evidence of that."),
        ("false", "No, it was not."),
        ("true", "True, not false."),
    ],
)
def test_short_views(view, reply):
    assert parse_factual(reply) == view


@pytest.mark.parametrize(
    "reply",
    [
        '{"name": "kg", "arguments": "{\\"entity\\": \\"Oda Finn\\", \\"relation\\": \\"birthplace\\"}"}',
        '<tool_call>\n{"name": "kg", "arguments": {"entity": "Oda Finn", "relation": "birthplace"}}\n</tool_call>',
        '{"calls": [{"tool": "kg", "query": "Oda Finn", "relation": "birthplace"}]}',
        'kg(relation="birthplace", entity="Oda Finn")',
    ],
)
def test_calls_as_servers_write_them(reply):
    assert parse_tool_calls(reply, ["kb", "kg"]) == [ToolCall(tool="kg", query="Oda Finn", relation="birthplace")]


def test_a_call_without_a_word_asks_nothing():
    with pytest.raises(VerdictError):
        parse_tool_calls('kb("...")', ["kb"])


@pytest.mark.parametrize(
    "reply",
    [
        "Der Satz enthält keine überprüfbaren Behauptungen.",
        "Aucune affirmation.",
        "Ninguna afirmación verificable.",
        "这句话没有可核实的陈述。",
        "没有可核实的陈述。",
    ],
)
def test_none_in_other_languages(reply):
    assert parse_claims(reply) == []


def test_a_sentence_that_begins_as_none_does_is_a_claim():
    for claim in ("Keine Schleuse steht noch in Velm.", "没有人知道她在哪里出生。"):
        assert parse_claims(f"- {claim}") == [claim]


def test_days_are_no_numbers_of_a_list():
    reply = "- 1. Mai 1904 wurde die Schleuse gebaut.\n- 2. Mai wurde sie geöffnet."
    assert [claim[:6] for claim in parse_claims(reply)] == ["1. Mai", "2. Mai"]
    assert parse_claims(f"- {LOCK}\n\n**Notes**\n- The year is clear.") == [LOCK]


def test_objects_within_objects_and_critiques_in_parts():
    assert parse_verdict('{"verdict": {"label": "Supported", "critique": "So it says."}}') == (
        "So it says.",
        Label.SUPPORTED,
    )
    assert parse_verdict('{"critique": ["It is", "old."], "label": "Supported"}') == ("It is old.", Label.SUPPORTED)
