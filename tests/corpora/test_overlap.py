"""Overlap: by hand, against a slow rule, in every process the same, on the real sets, and fast enough."""

import itertools
import json
import os
import random
import re
import subprocess
import sys

import pytest
from conftest import DATA, ROOT

from fence_nb.core.records import Document, JudgedClaim, Prompt
from fence_nb.corpora.registry import SOURCES, load_source
from fence_nb.corpora.splits import (
    OVERLAP_HEAD,
    by_set,
    drop_overlap,
    near_copies,
    overlap_report,
    overlap_rows,
    word_runs,
)
from fence_nb.results.paper import overlap_table

WORDS = "mill torin river stone night fire owner bell road grain wheel flour".split()


def judged(i, claim: str, text: str = "", corpus: str = "a") -> JudgedClaim:
    return JudgedClaim(
        id=str(i), claim=claim, documents=[Document(text=text)] if text else [], supported=True, corpus=corpus
    )


def pairs(train: list[str], test: list[str], n: int = 8, share: float = 0.3) -> set[tuple[int, int]]:
    words: dict[str, int] = {}
    return {
        (i, j)
        for at, of in near_copies(word_runs(train, words, n), word_runs(test, words, n), share)
        for i in at
        for j in of
    }


def slow(train: list[str], test: list[str], n: int, share: float) -> set[tuple[int, int]]:
    def runs(t):
        w = re.findall(r"\w+", t.lower())
        return {tuple(w[i : i + n]) for i in range(max(1, len(w) - n + 1))} - {()}

    a, b = [runs(t) for t in train], [runs(t) for t in test]
    return {
        (i, j)
        for i, j in itertools.product(range(len(a)), range(len(b)))
        if a[i] and b[j] and len(a[i] & b[j]) >= max(share * min(len(a[i]), len(b[j])), 1e-9)
    }


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_slow_rule(seed):
    rng = random.Random(seed)

    def text():
        return " ".join(rng.choice(WORDS[: 3 + seed % 3]) for _ in range(rng.randrange(0, 30)))

    train = [text() for _ in range(25)]
    test = [text() for _ in range(15)] + [t[len(t) // 3 :] for t in train[:5]] + [f"{t}, {text()}" for t in train[5:10]]
    for n, share in ((8, 0.3), (3, 0.5), (1, 1.0)):
        assert pairs(train, test, n, share) == slow(train, test, n, share)


def test_no_texts():
    assert pairs([], ["a mill"]) == pairs(["a mill"], []) == pairs([], []) == pairs([""], ["", "--"]) == set()
    assert overlap_report([], []) == [] and drop_overlap([], []) == ([], [])


def test_wrong_arguments():
    with pytest.raises(ValueError, match="n must be at least 1"):
        pairs(["a"], ["a"], 0)
    for share in (0, 1.1):
        with pytest.raises(ValueError, match="share must be above 0"):
            pairs(["a"], ["a"], 8, share)


def test_a_phrase_is_no_copy_but_an_equal_text_is():
    button = "share this story with your friends on the network of your choice today"
    train = [f"{button} {k} {k}x {k}y" for k in range(150)] + [button]
    assert pairs(train, [f"{button} something else entirely"]) == set()
    assert pairs(train, [button.upper()]) == {(150, 0)}


def test_letters_of_other_languages_count():
    assert pairs(
        ["Mühle in Törin brannte am Montag völlig nieder sagte man"],
        ["Мельница сгорела", "mühle in törin brannte am montag völlig nieder, sagte man!"],
    ) == {(0, 1)}


def test_report_counts_rows_and_documents():
    text = "The old mill in Torin burned down on Monday night, its owner said."
    train = [judged("t1", "It burned.", text), judged("t2", "Rain fell.", "It rained.")]
    test = [
        judged("x1", "One thing.", text + " More.", "b"),
        judged("x2", "Another.", text + " More.", "b"),
        judged("x3", "rain FELL", "Dry.", "c"),
        judged("x4", "Snow.", "Snow.", "c"),
    ]
    first, second = overlap_report(train, test)
    assert first == {
        "train": "a",
        "test": "b",
        "rows": 2,
        "claims_shared": 0,
        "documents": 1,
        "documents_shared": 1,
        "rows_touched": 2,
        "touched_pct": 100.0,
        "example": "t1 ~ x1",
    }
    assert (second["claims_shared"], second["documents_shared"], second["rows_touched"], second["example"]) == (
        1,
        0,
        1,
        "t2 ~ x3",
    )
    assert [r[1] for r in overlap_rows([second, first])] == ["b", "c"] and all(
        len(r) == len(OVERLAP_HEAD) for r in overlap_rows([first])
    )
    assert (
        "t1 ~ x1" in overlap_table([first, second]).markdown() and overlap_rows(overlap_report(train, test[3:])) == []
    )


def test_a_pipe_in_an_id_keeps_the_table_whole():
    same = "The bell rang."
    table = overlap_table(overlap_report([judged("a|1", same)], [judged("b", same, corpus="b")]))
    assert "a\\|1" in table.markdown()


def test_prompts():
    prompts = {"bios": [Prompt(text="Tell me a bio of Ada Vell."), Prompt(text="Who built the mill?")]}
    report = overlap_report([judged(1, "Who built the mill?", "A mill.")], prompts)
    assert [(r["test"], r["rows"], r["claims_shared"], r["documents"]) for r in report] == [("bios", 2, 1, 0)]
    assert [r.id for r in drop_overlap([judged(1, "Who built the mill?", "A mill.")], prompts["bios"])[1]] == ["1"]


def test_the_same_article_by_id():
    one = judged("t1", "It burned.", "The mill burned.").model_copy(update={"group": "bbc-7"})
    other = judged("x1", "Another thing.", "A new version of the page.", "b").model_copy(update={"group": "bbc-7"})
    row = overlap_report([one], [other])[0]
    assert (row["claims_shared"], row["documents_shared"], row["rows_touched"], row["example"]) == (0, 0, 1, "t1 ~ x1")
    assert drop_overlap([one], [other]) == ([], [one])
    assert drop_overlap([one.model_copy(update={"group": ""})], [other.model_copy(update={"group": ""})])[1] == []
    assert drop_overlap([one], [Prompt(text="What burned?", group="bbc-7")])[1] == [], (
        "of a prompt the group is no article"
    )


def test_drop_keeps_order_loses_nothing_and_leaves_no_overlap():
    rng = random.Random(0)

    def text(n):
        return " ".join(rng.choice(WORDS) for _ in range(n))

    docs = [text(40) for _ in range(30)]
    train = [judged(i, text(9), docs[i % 20]) for i in range(80)]
    test = [judged(f"x{i}", text(9), docs[15 + i % 15] + " the end", "b") for i in range(40)]
    kept, dropped = drop_overlap(train, test)
    assert sorted(map(int, (r.id for r in kept + dropped))) == list(range(80)) and [r.id for r in kept] == sorted(
        (r.id for r in kept), key=int
    )
    assert {r.documents[0].text for r in dropped} == set(docs[15:20]) and len(dropped) == 20
    assert [r["rows_touched"] for r in overlap_report(kept, test)] == [0]


def test_the_same_in_every_process():
    code = (
        "from fence_nb.corpora.splits import *; from fence_nb.core.records import *; import json, "
        "random; rng = random.Random(1)\n"
        "rows = lambda c: [JudgedClaim(id=f'{c}{i}', claim=' '.join(rng.choice('ab') for _ in "
        "range(9)), documents=[], supported=True, corpus=c) for i in range(60)]\n"
        "a, b = rows('a'), rows('b'); print(json.dumps(overlap_report(a, b)), [r.id for r in drop_overlap(a, b)[1]])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": str(k), "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for k in range(2)
    }
    assert len(said) == 1


def test_many_claims():
    rng = random.Random(0)

    def text(n):
        return " ".join(f"w{int(rng.paretovariate(0.6)) % 50000}" for _ in range(n))

    docs = [text(100) for _ in range(1000)]

    def rows(c, at):
        return [judged(f"{c}{i}", text(12), docs[at + i % 600], c) for i in range(6000)]

    train, test = rows("a", 0), rows("b", 400)
    report = overlap_report(train, test)
    assert report[0]["documents_shared"] == 200


@pytest.fixture(scope="module")
def real() -> dict:
    names = ("qags", "frank", "xsum_hallucination")
    for name in names:
        for f in SOURCES[name].needed:
            if not (DATA / f).is_file():
                pytest.skip(f"no {f} below {DATA}; name the folder of the sets in FENCE_DATA")
    return {name: load_source(name, DATA) for name in names}


def test_frank_and_xsum_share_articles(real):
    found = {(r["train"], r["test"]): r for r in overlap_report(real, real)}
    assert len(found) == 6
    both = {r.group for r in real["frank"]} & {r.group for r in real["xsum_hallucination"]}  # the same BBC number
    assert (len(both), found["frank", "xsum_hallucination"]["documents_shared"]) == (
        179,
        178,
    )  # one page is there in two versions
    kept, _ = drop_overlap(real["frank"], real["xsum_hallucination"])
    assert not both & {r.group for r in kept} and len(kept) > 600
    assert found["frank", "xsum_hallucination"]["claims_shared"] > 500
    assert (
        found["qags", "frank"]["documents_shared"] >= 5 and found["qags", "xsum_hallucination"]["documents_shared"] >= 3
    )


def test_summacoz_is_found(real):
    path = DATA / "summacoz/summacoz_inconsistent.jsonl"
    if not path.is_file():
        pytest.skip(f"no {path}")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    sets = by_set(
        judged(i, r["claim"] if "claim" in r else r["summary"], r["document"], r["dataset"]) for i, r in enumerate(rows)
    )
    found = {(r["train"], r["test"]): r for r in overlap_report(real, sets)}
    for pair in (("frank", "frank"), ("xsum_hallucination", "xsumfaith")):
        assert found[pair]["touched_pct"] == 100 and found[pair]["documents_shared"] == found[pair]["documents"]
    kept, dropped = drop_overlap(sum(sets.values(), []), real["frank"])
    assert len(kept) + len(dropped) == len(rows) and not [r for r in kept if r.corpus == "frank"]
