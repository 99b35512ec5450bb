"Sentences of answers as they are written: the table of hard cases, the miniature's texts, spans and contexts."

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentence_table import LIBRARIES, OPTIONAL, is_right, read_cases, shares, splitters

from fence_nb.core.prose import row_text, sentence_context
from fence_nb.core.text import sentence_spans
from fence_nb.domains.world import STYLES, World, biography, document

KNOWN = (  # what ours gets wrong, and we know it
    "He wrote Oh! Velm and other songs.",  # a title that ends with a mark, before a name
    "Urodził się 3 maja 1920 r. Zmarł",  # an abbreviated word for year, before a word that we do not know
    "Родился в г. Москве в 1920 г. Умер",
)
CASES = [case for case in read_cases() if not case.text.startswith(KNOWN)]
WRONG = [case for case in read_cases() if case.text.startswith(KNOWN)]


def found(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.text[:30])
def test_hard_case(case):
    assert is_right(found(case.text), case), found(case.text)


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case.text[:30])
def test_what_we_know_to_be_wrong(case):
    assert not is_right(found(case.text), case), "it is right now: strike it from the list"


def test_the_table_is_large():
    languages = {case.language for case in CASES}
    assert (
        len(CASES) >= 400
        and len(WRONG) == len(KNOWN)
        and len(languages) >= 30
        and sum(case.group == "markdown" for case in CASES) >= 90
    )


@pytest.mark.parametrize("case", [c for c in CASES if c.group != "markdown"], ids=lambda case: case.text[:30])
def test_prose_is_cut_to_the_letter(case):
    assert found(case.text) == [piece.removeprefix(OPTIONAL) for piece in case.pieces]


@pytest.mark.parametrize("name", LIBRARIES)
def test_no_library_is_better(name):
    splitter = splitters().get(name)
    if splitter is None:
        pytest.skip(f"{name} is not installed; sentence_table.py says how")
    ours = shares(splitters()["ours"])
    assert sum(right for right, _ in shares(splitter).values()) < sum(right for right, _ in ours.values())


def test_the_miniature_is_cut_as_ever():
    world = World()
    rng = random.Random(0)
    texts = [biography(person, rng, hedge=rng.choice((0, 0.5))) for person in world.people]
    for person in world.people[:300]:
        texts += [document(person, dict(enumerate(person.facts)), style, rng).text for style in STYLES]
    texts += [text.replace("She ", "resident ").replace("\n", "  ") for text in texts]  # a small model's slips
    for text in texts:
        assert sentence_spans(text) == sentence_spans(text, "pages")


pieces = st.sampled_from(
    ["Dr", "p.m", "U.S", "12", "so", "Bar", "»", "。", "」", "「", ".", "!", "?", '"', ")", "(", " ", "\n", "\r\n"]
    + [
        "\t",
        "é",
        "*",
        "**",
        "- ",
        "1. ",
        "| ",
        "|---|",
        "```",
        "> ",
        "# ",
        "Sources:",
        "[1]",
        "`",
        "[a](b)",
        "ไทย",
        "।",
        ":",
    ]
)
texts = st.lists(pieces, max_size=25).map("".join)


@given(texts)
def test_spans_fit_the_text(text):
    spans = sentence_spans(text)
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges) and all(0 <= edge <= len(text) for edge in edges)
    for start, end in spans:
        assert text[start:end].strip() == text[start:end] != ""
        assert isinstance(sentence_context(text, (start, end)), str)


@given(texts, st.sampled_from(["\n\n", "  \n", "\n \n\n"]))
def test_blanks_before_a_text_shift_its_spans(text, lead):
    if not text.startswith((" ", "\n", "\r", "\t")):
        moved = [(start - len(lead), end - len(lead)) for start, end in sentence_spans(lead + text)]
        assert moved == sentence_spans(text)


def test_a_long_line_is_no_trap():
    "Each of these took minutes where a pattern went back and forth."
    for part in ("He saw it (and left. ", "1. ", "[a", "「。", "A. ", "x [1]. ", "a, ", "| a ", "```\n", "> ", "**a "):
        text = part * 4000
        assert all(0 <= start < end <= len(text) for start, end in sentence_spans(text))


TOWNS = """# Towns of Oster

The largest ones are:

- Velm
  - lies on the coast
- Tor lies inland.

| Town | **People** |
|------|-----------:|
| Velm | 1,200 |

Both are old.

**Sources:**
- Ort, L. (1940). Towns.
"""


def test_context():
    context = {TOWNS[start:end]: sentence_context(TOWNS, (start, end)) for start, end in sentence_spans(TOWNS)}
    assert context["- lies on the coast"] == "Towns of Oster\nThe largest ones are:\nVelm"
    assert context["- Tor lies inland."] == "Towns of Oster\nThe largest ones are:"
    assert context["| Velm | 1,200 |"] == "Towns of Oster\nTown | People"
    assert context["Both are old."] == "Towns of Oster" and len(context) == 6
    assert sentence_context("Velm is old.", (0, 12)) == "" == sentence_context("", (0, 0))


def test_an_answer_within_fences_is_no_code():
    answer = "```\nVelm lies on the coast.\nIt has a port of its own.\n```"
    assert found(answer) == ["Velm lies on the coast.", "It has a port of its own."]
    assert found("```\nx = 1.5\ny = velm.tor()\n```") == []


def test_what_states_nothing_is_left_out():
    assert found("1.\n\n---\n\n**Sources:**\n- https://torin.example/a\n") == []
    assert found("42") == ["42"] and found("1984.") == ["1984."] and found("") == [] and found(" \n ") == []


def test_bold_lines_with_nothing_below_are_answers():
    assert found("**Velm**") == ["**Velm**"] and found("# Velm") == ["# Velm"]
    assert found("The towns are old:\n\n**Velm**\n\n**Tor**") == ["The towns are old:", "**Velm**", "**Tor**"]
    assert found("**Velm**\nIt is old.\n\n**Tor**\nIt is new.") == ["It is old.", "It is new."]


def test_a_lead_in_that_states_something_stays():
    assert found("Towns:\n- Velm is old.") == ["- Velm is old."] == found("城镇：\n- Velm is old.")
    assert found("他写了三部关于维尔姆的小说：\n- Velm")[0] == "他写了三部关于维尔姆的小说："


@pytest.mark.parametrize(
    "row, alone",
    [
        ("| 1984 | Velm | baker |", "Year: 1984; Town: Velm; Trade: baker"),
        ("| 1984 | | baker |", "Year: 1984; Trade: baker"),
        ("||Velm|baker|", "Town: Velm; Trade: baker"),
        ("| | | baker |", "Trade: baker"),
        ("| 1984 | Velm |", "Year: 1984; Town: Velm"),
        ("| 1984 | Velm | baker | twice |", "Year: 1984; Town: Velm; Trade: baker; twice"),
        (r"| 1984 | Velm \| Old Velm | baker |", "Year: 1984; Town: Velm | Old Velm; Trade: baker"),
    ],
)
def test_a_row_is_read_with_the_names_of_its_columns(row, alone):
    text = f"Her years:\n\n| **Year** | Town | Trade |\n|---|---|---|\n{row}\n\nShe wrote a | b.\n"
    spans = sentence_spans(text)
    assert [row_text(text, span) for span in spans if text[slice(*span)].startswith("|")] == [alone]
    assert not any(row_text(text, span) for span in spans if not text[slice(*span)].startswith("|"))


@pytest.mark.parametrize(
    "text, sentences",
    [
        ("Step 1. Fill the lock. Step 2. Open the gate.", ["Step 1. Fill the lock.", "Step 2. Open the gate."]),
        ("Tag 3. Wir kamen nach Velm.", ["Tag 3. Wir kamen nach Velm."]),
        ("He moved to Section 9. It was cold.", ["He moved to Section 9.", "It was cold."]),
        ("<table><thead></thead><tr><td>1984</td><td>Velm</td></tr></table>", ["<td>1984</td><td>Velm</td>"]),
        ("+------+------+\n| Year | Town |\n+======+======+\n| 1984 | Velm |\n+------+------+", ["| 1984 | Velm |"]),
    ],
)
def test_counted_steps_and_tables_of_other_kinds(text, sentences):
    assert found(text) == sentences
