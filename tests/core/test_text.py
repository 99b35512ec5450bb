"Rules for sentences that figures rest on, words and BM25 by hand. Hard cases are in test_prose.py."

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fence_nb.core.text import bm25, sentence_spans, sentences, words

pieces = st.sampled_from(
    ["Dr", "etc", "e.g", "A", "12", "so", "Bar", ".", "!", "?", '"', ")", "(", " ", "\n", "é", "*"]
)
texts = st.lists(pieces, max_size=20).map("".join)


@given(texts)
def test_spans_are_in_order_and_apart(text):
    for rules in ("plain", "cover", "stops", "pages"):
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


WORDS = [
    ("東京タワー", ["東京", "京タ", "タワ", "ワー", "ー"]),
    ("北京 is big", ["北京", "京", "is", "big"]),
    ("猫", ["猫"]),
    ("नई दिल्ली", ["नई", "दिल्ली"]),
    ("ตึกสูง", ["ตึก", "กสู", "สูง", "ง"]),
    ("서울은 크다.", ["서울", "울은", "은", "크다", "다"]),
    ("القاهرة, مصر", ["القاهرة", "مصر"]),
    ("می‌روم", ["میروم"]),
    ("Երևան։", ["երևան"]),
    ("ঢাকা শহর", ["ঢাকা", "শহর"]),
    ("በ1950 ተወለደ", ["በ1950", "ተወለደ"]),
]


@pytest.mark.parametrize(("text", "expected"), WORDS)
def test_words_of_other_scripts(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("Łódź Müller Hồ", "Łodz muller ho"),
        ("Ёлка мой", "елка мои"),
        ("Ελλάδα", "ελλαδα"),
        ("القَاهِرة أحمد", "القاهرة احمد"),
        ("ＡＢＢＡ ｱﾊﾞ", "abba アバ"),
        ("שָׁלוֹם", "שלום"),
        ("서울", "서울"),
        ("हिन्दी", "हिन्दी"),
    ],
)
def test_words_without_accents(written, typed):
    assert words(written, accents=False) == words(typed, accents=False) == words(typed)


@given(st.text(max_size=40))
def test_latin_words_are_as_ever(text):
    latin = "".join(c for c in text if ord(c) < 0x590)
    assert words(latin) == re.findall(r"\w+", latin.lower())


def test_bm25_in_chinese():
    scores = bm25("他在上海学习", ["李明生于北京。", "他后来去上海读书。", "天气很好。"])
    assert max(scores) == scores[1] > 0


def test_bm25_by_hand():
    # Two documents of two words each: mean length 2, so the damping is 1.2 for both.
    # "a" is in one of two: its weight is log(1 + 1.5 / 1.5) = log 2. One mention scores log 2 * 2.2 / 2.2.
    assert bm25("a", ["a b", "b c"]) == pytest.approx([math.log(2), 0])
    # "b" is in both: log(1 + 0.5 / 2.5) = log 1.2, and the second mention adds less than the first.
    assert bm25("b", ["b b", "b c"]) == pytest.approx([math.log(1.2) * 2 * 2.2 / 3.2, math.log(1.2)])
    assert bm25("d", ["a b"]) == [0] and bm25("a", []) == [] and bm25("", ["a"]) == [0] and bm25("a", [""]) == [0]
