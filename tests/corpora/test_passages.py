"Passages: the pitfalls of WiCE, RAGTruth and SummaCoz, on the public files and on small ones of the same form."

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from conftest import DATA, needs_data

from fence_nb.core.records import InputError, Label
from fence_nb.core.text import sentence_spans
from fence_nb.corpora.passages import (
    RAGTRUTH_TYPES,
    WICE_FILES,
    WICE_REPEATS,
    rows_ragtruth,
    table_lines,
)
from fence_nb.corpora.reading import open_rows
from fence_nb.corpora.registry import SOURCES, load_source

SUMMACOZ_FILE = SOURCES["summacoz"].needed[0]


def lines(path: Path, *rows: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


# --- WiCE


@needs_data
def test_wice_counts_each_claim_once():
    rows = list(SOURCES["wice"].rows(DATA))
    assert Counter(r.raw for r in rows if r.claim) == {
        "supported": 115,
        "partially_supported": 191,
        "not_supported": 43,
    }
    assert Counter((r.part, r.raw) for r in rows if not r.claim) == {
        ("oracle_chunks/claim/dev", "supported, repeated"): 342,
        ("oracle_chunks/claim/dev", "partially_supported, repeated"): 576,
        ("oracle_chunks/claim/dev", "not_supported, repeated"): 125,
        ("non_supported_tokens/dev", "partially_supported, repeated"): 124,
        ("non_supported_tokens/train", "partially_supported, repeated"): 374,
    }
    claims = [r.claim for r in rows if r.claim]
    assert (
        len({c.id for c in claims}) == 349
        and all(c.supported == (c.label is Label.SUPPORTED) for c in claims)
        and sum(c.supported for c in claims) == 115
    )
    texts = [t for c in claims for t in (c.claim, c.documents[0].text, c.documents[0].title)]
    assert (
        not any("\u00a0" in t or "(meta data)" in t for t in texts)
        and sum(bool(c.documents[0].title) for c in claims) > 300
    )
    assert max(len(c.documents[0].text.split()) for c in claims) > 3000


def test_wice_label_outside_the_table(tmp_path):
    row = {"label": "supported", "claim": "It is old.", "evidence": ["It is old."], "meta": {"id": "dev1"}}
    lines(tmp_path / WICE_FILES[0].path, row)
    assert len(load_source("wice", tmp_path)) == 1, "the files that repeat claims may be missing"
    lines(tmp_path / WICE_REPEATS[1].path, row, row | {"label": "maybe"})
    with pytest.raises(
        InputError,
        match=(
            r"non_supported_tokens/dev.jsonl:2: field 'label': unknown value 'maybe'; known are supported, "
            r"partially_supported, not_supported"
        ),
    ):
        load_source("wice", tmp_path)


# --- RAGTruth

TEXT = "The mill is old. It burned in 1900. Nobody was hurt, sadly. It was rebuilt."


def span(words: str, kind: str = "Evident Conflict", **more) -> dict:
    return {"start": TEXT.index(words), "end": TEXT.index(words) + len(words), "text": words, "label_type": kind} | more


GOOD = {"id": "1", "source_id": "1", "split": "test", "quality": "good", "response": TEXT, "labels": []}


@pytest.fixture
def ragtruth(tmp_path):
    lines(
        tmp_path / "ragtruth/source_info.jsonl",
        {"source_id": "1", "task_type": "Summary", "source_info": "The mill burned in 1901."},
        {"source_id": "2", "task_type": "Data2txt", "source_info": {"a": {"b": [True, None]}}},
        {
            "source_id": "3",
            "task_type": "QA",
            "source_info": {"question": "is it old", "passages": "passage 1: It is."},
        },
    )

    def read(*rows: dict) -> list:
        lines(tmp_path / "ragtruth/response.jsonl", *rows)
        return list(rows_ragtruth(tmp_path))

    return read


def test_ragtruth_spans_become_labels_of_sentences(ragtruth):
    rows = ragtruth(
        GOOD
        | {
            "labels": [
                span("1900"),
                span("hurt", "Subtle Baseless Info", implicit_true=True),
                span("sadly", "Subtle Conflict", due_to_null=True),
            ]
        }
    )
    assert [(r.claim.label, r.claim.supported) for r in rows] == [
        (Label.SUPPORTED, True),
        (Label.CONTRADICTORY, False),
        (None, False),
        (Label.SUPPORTED, True),
    ]
    assert [r.raw for r in rows] == [
        "no span",
        "Evident Conflict",
        "Subtle Baseless Info implicit_true + Subtle Conflict due_to_null",
        "no span",
    ]
    assert {(r.claim.group, r.claim.split, r.claim.topic) for r in rows} == {("ragtruth-1", "test", "Summary")} and [
        r.claim.claim for r in rows
    ] == ["The mill is old.", "It burned in 1900.", "Nobody was hurt, sadly.", "It was rebuilt."]


@pytest.mark.parametrize("kind", RAGTRUTH_TYPES)
@pytest.mark.parametrize("flag", [{}, {"implicit_true": True}, {"implicit_true": False, "due_to_null": True}])
def test_ragtruth_every_type_with_every_flag(ragtruth, kind, flag):
    rows = ragtruth(GOOD | {"labels": [span("rebuilt", kind, **flag)]})
    assert (
        rows[3].claim.label is (Label.CONTRADICTORY if "Conflict" in kind else Label.UNVERIFIED)
        and not rows[3].claim.supported
    )
    assert rows[3].raw == " ".join([kind, *(k for k in flag if flag[k])])


def test_ragtruth_span_over_two_sentences_marks_both(ragtruth):
    assert [r.claim.supported for r in ragtruth(GOOD | {"labels": [span("1900. Nobody")]})] == [
        True,
        False,
        False,
        True,
    ]


def test_ragtruth_words_count_where_offsets_do_not_fit(ragtruth):
    assert [r.claim.supported for r in ragtruth(GOOD | {"labels": [span("hurt") | {"start": 0, "end": 4}]})] == [
        True,
        True,
        False,
        True,
    ]
    assert [r.claim.supported for r in ragtruth(GOOD | {"labels": [span("rebuilt") | {"end": 999}]})] == [
        True,
        True,
        True,
        False,
    ]


def test_ragtruth_nothing_is_lost(ragtruth):
    rows = ragtruth(
        GOOD | {"quality": "truncated"},
        GOOD | {"id": "2", "quality": "incorrect_refusal"},
        GOOD | {"id": "3", "response": "1. 2. 3."},
        GOOD | {"id": "4", "source_id": "2"},
        GOOD | {"id": "5", "source_id": "3"},
    )
    assert [(r.part, r.raw) for r in rows[:3]] == [
        ("Summary", "quality truncated"),
        ("Summary", "quality incorrect_refusal"),
        ("Summary", "no words"),
    ] and not any(r.claim for r in rows[:3])
    assert [(d.title, d.text) for r in (rows[3], rows[7]) for d in r.claim.documents] == [
        ("", "a b 1: yes\na b 2: not given"),
        ("is it old", "passage 1: It is."),
    ]
    assert Counter(r.part for r in rows) == {"Summary": 3, "Data2txt": 4, "QA": 4}


@pytest.mark.parametrize(
    "change, words",
    [
        ({"source_id": "9"}, "response.jsonl:1: field 'source_id': no '9' in source_info"),
        ({"quality": "bad"}, "field 'quality': unknown value 'bad'; known are good"),
        ({"split": "dev"}, "unknown value 'dev'"),
        ({"labels": [{"start": 0, "end": 999, "label_type": "Evident Conflict"}]}, "a span from 0 to 999"),
        ({"labels": [span("mill", "Odd")]}, "field 'label_type': unknown value 'Odd'"),
        ({"labels": ["mill"]}, "found str, expected an object"),
    ],
)
def test_ragtruth_damage_is_one_line(ragtruth, change, words):
    with pytest.raises(InputError, match=words) as e:
        ragtruth(GOOD | change)
    assert "response.jsonl:1" in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1. 2.",
        "One.",
        'Dr. A. Vell (b. 1900) left. "Why?" Nobody knows!\n\n- a list\n- of two\n3',
        "At 9 a.m. Monday it rained. It was no. 5. The end",
        "...\nx",
    ],
)
def test_sentences_cover_the_text(text):
    found = sentence_spans(text, "cover")
    assert all(a < b for a, b in found) and [b for _, b in found][:-1] == [a for a, _ in found][1:], "no gap"
    if found:
        assert (found[0][0], found[-1][1]) == (0, len(text))
    assert all(any(c.isalpha() for c in text[a:b]) for a, b in found) and bool(found) == any(c.isalpha() for c in text)


@needs_data
def test_ragtruth_sample(tmp_path):
    "The one response that the authors' page shows."
    shutil.copytree(DATA / "ragtruth_readme_sample", tmp_path / "ragtruth", copy_function=shutil.copyfile)
    rows = list(rows_ragtruth(tmp_path))
    assert Counter(r.raw for r in rows) == {"no span": 5, "Evident Baseless Info": 1} and {
        r.claim.group for r in rows
    } == {"ragtruth-11316"}
    assert "Gaza Strip" in next(r.claim.claim for r in rows if not r.claim.supported)
    info = {
        row["source_id"]: row["source_info"] for _, row in open_rows(DATA / "ragtruth_readme_sample/source_info.jsonl")
    }
    text = "\n".join(table_lines(info["13661"]))
    assert (
        "hours Monday: 9:0-22:30" in text
        and "attributes Music: not given" in text
        and "attributes BusinessParking garage: no" in text
        and "{" not in text
    )


# --- SummaCoz


@needs_data
def test_summacoz_is_negative_and_has_human_reasons():
    claims = load_source("summacoz", DATA)
    assert Counter(c.topic for c in claims) == {
        "frank": 325,
        "cogensumm": 314,
        "xsumfaith": 222,
        "summeval": 97,
        "factcc": 52,
        "polytope": 10,
    }
    assert not any(c.supported or c.label for c in claims) and all(len(c.critique) > 10 for c in claims)
    assert SOURCES["summacoz"].train_only and not any(c.train_only for n, c in SOURCES.items() if n != "summacoz")
    model = {row["cot"].strip() for _, row in open_rows(DATA / SUMMACOZ_FILE)}
    assert not model & {c.critique for c in claims}, "a critique is a person's"


def test_summacoz_positive_row_is_news(tmp_path):
    row = {"dataset": "frank", "label": 1, "document": "d", "claim": "c", "human_reason": "r"}
    lines(tmp_path / SUMMACOZ_FILE, row | {"label": 0}, row)
    with pytest.raises(
        InputError,
        match=r"summacoz_inconsistent.jsonl:2: field 'label': found 1; SummaCoz holds inconsistent summaries only",
    ):
        load_source("summacoz", tmp_path)
    lines(tmp_path / SUMMACOZ_FILE, row | {"label": 0, "dataset": "other"})
    with pytest.raises(InputError, match="field 'dataset': unknown value 'other'"):
        load_source("summacoz", tmp_path)
