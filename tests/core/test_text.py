"Sentences: forty hard cases, and which of them our splitter gets right. Words and BM25 by hand."

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence_nb.core.text import bm25, sentence_spans, sentences, words

# A bar marks each place where a reader ends a sentence. The flag says whether `sentence_spans` does the same today:
# where it is False we are wrong, and know it.
CASES = [
    ("Ada was born in Torin. |She won the Zor Prize.", True),
    ("Dr. Vell taught at Velm. |She left in 1984.", True),
    ("Ada J. Vell and B. Lund met. |They married.", True),
    ("J. R. R. Tolkien wrote it. |It sold well.", True),
    ("She won! |Who knew?", True),
    ("Really?! |Yes...", True),
    ('She said "Never." |Then she left.', True),
    ("(She won.) |He lost.", True),
    ("It cost approx. 3 million. |It was sold.", True),
    ("Torin, Velm, etc. were built then.", True),
    ("Some cities, e.g. Torin, are old.", True),
    ("Mr. and Mrs. Lund came. |St. Ada's was full.", True),
    ("It weighs 3.5 tons. |It floats.", True),
    ("Visit www.torin.org today. |It is free.", True),
    ("Version 2.0.1 came out. |Version 3 did not.", True),
    ("Her works\n|A novel\n|A play", True),
    ("- She was born in Torin.\n|- She won Zor.", True),
    ("Smith vs. Lund was decided in 1984.", True),
    ("Zor Inc. bought Velm Ltd. in May. |It failed.", True),
    ("She was here, i.e. in Torin. |He was not.", True),
    ("Sgt. Lund and Col. Marn served. |Gen. Orla led.", True),
    ("No. 5 was hers.", True),
    ("She wrote it (in 1984). |It won.", True),
    ("Émile was born in Velm. |Élodie was not.", True),
    ("She left. |iPhones came later.", True),
    ("It rose by 5%. |Then it fell.", True),
    ("Is it so? |yes, it is.", True),
    ('She said "No." |Then she left.', False),  # "No." may be short for number
    ("He wrote “Never.” |Then he left.", False),  # typographic quotation marks stand between stop and space
    ("She moved to Washington D.C. |He stayed.", False),  # an initial at the end of a sentence
    ("She lives in the U.S. |He does not.", False),
    ("She ate apples, pears, etc. |Then she slept.", False),  # an abbreviation at the end of a sentence
    ("It opened at 9 a.m. on Monday.", False),  # an abbreviation that is not in our list
    ("Gov. Lund signed the law.", False),
    ("The Univ. of Torin is old.", False),
    ("It was Jan. 5 when she came.", False),
    ("1. She was born in Torin.\n|2. She won Zor.", False),  # the number of an item
    ('"Who won?" asked Ada. |Nobody knew.', False),  # a question inside a sentence
    ("The band Wham! sang. |It rained.", False),  # a name with a mark
    ("She wrote a long line\nthat was broken for no reason.", False),  # a line break inside a sentence
]


def test_forty_cases():
    assert len(CASES) == 40 and sum(right for _, right in CASES) == 27


@pytest.mark.parametrize(("marked", "right"), CASES)
def test_hard_sentences(marked, right):
    text = marked.replace("|", "")
    expected = [piece.strip() for piece in marked.split("|")]
    found = [text[start:end] for start, end in sentence_spans(text)]
    assert (found == expected) is right, f"{found} where a reader sees {expected}"


pieces = st.sampled_from(
    ["Dr", "etc", "e.g", "A", "12", "so", "Bar", ".", "!", "?", '"', ")", "(", " ", "\n", "é", "*"]
)
texts = st.lists(pieces, max_size=20).map("".join)


@given(texts)
def test_spans_are_in_order_and_apart(text):
    for rules in ("plain", "cover", "stops"):
        edges = [edge for span in sentence_spans(text, rules) for edge in span]
        assert edges == sorted(edges) and all(0 <= edge <= len(text) for edge in edges)


@given(texts)
def test_spans_that_cover_meet(text):
    spans = sentence_spans(text, "cover")
    if spans:
        assert "".join(text[start:end] for start, end in spans) == text
    else:
        assert not any(character.isalpha() for character in text)


@given(texts)
def test_pieces_lose_nothing(text):
    assert " ".join(sentences(text)).split() == text.split()


def test_words():
    assert words("Zoë's 2 CATS, x_y!") == ["zoë", "s", "2", "cats", "x_y"]
    assert words("Zoë's CATS", accents=False) == ["zoe", "s", "cats"]
    assert words("Zoë x_y", ascii_only=True) == ["zo", "x", "y"]
    assert words("") == []


def test_bm25_by_hand():
    # Two documents of two words each: mean length 2, so the damping is 1.2 for both.
    # "a" is in one of two: its weight is log(1 + 1.5 / 1.5) = log 2. One mention scores log 2 * 2.2 / 2.2.
    assert bm25("a", ["a b", "b c"]) == pytest.approx([math.log(2), 0])
    # "b" is in both: log(1 + 0.5 / 2.5) = log 1.2, and the second mention adds less than the first.
    assert bm25("b", ["b b", "b c"]) == pytest.approx([math.log(1.2) * 2 * 2.2 / 3.2, math.log(1.2)])
    assert bm25("d", ["a b"]) == [0] and bm25("a", []) == [] and bm25("", ["a"]) == [0] and bm25("a", [""]) == [0]
