"Dialogue: the pitfalls of BEGIN, FaithDial, Q2 and DialFact, on the public files and on small ones of the same form."

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import DATA, needs_data

from fence_nb.core.records import InputError, Label
from fence_nb.corpora.dialogue import (
    BEGIN_FILES,
    BEGIN_LABELS,
    DIALFACT_LABELS,
    DIALOGUES,
    FAITHDIAL_FILES,
    FAITHDIAL_LABELS,
    Q2_FILES,
    rows_faithdial_file,
)
from fence_nb.corpora.reading import clean_text, open_rows
from fence_nb.corpora.registry import SOURCES, load_source


def raw_rows(name: str) -> list:
    return list(SOURCES[name].rows(DATA))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


# --- BEGIN


@needs_data
def test_begin_counts_and_windows_line_ends():
    rows = raw_rows("begin")
    assert Counter((r.part, r.raw) for r in rows) == {
        ("dev_cmu", "Fully attributable"): 59,
        ("dev_cmu", "Not fully attributable"): 278,
        ("dev_cmu", "Generic"): 79,
        ("dev_tc", "Fully attributable"): 74,
        ("dev_tc", "Not fully attributable"): 307,
        ("dev_tc", "Generic"): 2,
        ("dev_wow", "Fully attributable"): 180,
        ("dev_wow", "Not fully attributable"): 250,
        ("test_wow", "Fully attributable"): 1392,
        ("test_wow", "Not fully attributable"): 2209,
        ("test_wow", "Generic"): 6,
    }
    claims = [r.claim for r in rows if r.claim]
    assert all((r.claim is None) == (r.raw == "Generic") for r in rows)
    assert {(c.supported, c.label) for c in claims} == {(True, Label.SUPPORTED), (False, None)}
    assert not any("\r" in t for c in claims for t in (c.claim, c.context, c.documents[0].text))
    assert len({c.group for c in claims}) < len(claims) / 2, "the same knowledge many times"

    def words(part):
        return sorted(len(c.documents[0].text.split()) for c in claims if c.topic == part)

    assert words("dev_cmu")[len(words("dev_cmu")) // 2] > 100 > words("dev_wow")[len(words("dev_wow")) // 2]


@needs_data
def test_begin_fields_do_not_depend_on_quotes():
    path = DATA / "begin/topicalchat/begin_dev_tc.tsv"
    with open(path, encoding="utf-8", newline="") as f:
        quoted = list(csv.DictReader(f, delimiter="\t"))
    assert [row for _, row in open_rows(path)] == quoted


def test_begin_reads_its_test_parts_where_they_are(tmp_path):
    text = (
        "model_name\tdata_source\tknowledge\tmessage\tresponse\tbegin_label\r\nm\tx\t"
        'An "old" mill.\tHi\tIt is old.\tFully attributable\r\n'
    )
    for f in SOURCES["begin"].needed:
        write(tmp_path / f, text)
    assert len(load_source("begin", tmp_path)) == 4
    more = [file.path for file in BEGIN_FILES if file.use == "optional"]
    for f in more:
        write(tmp_path / f, text)
    found = load_source("begin", tmp_path)
    assert [c.topic for c in found[4:]] == ["test_cmu", "test_tc"] and found[0].documents[0].text == 'An "old" mill.'
    write(tmp_path / more[0], text + "m\tx\tk\tHi\tr\tSomewhat\r\n")
    with pytest.raises(
        InputError,
        match=(
            r"begin_test_cmu.tsv:3: field 'begin_label': unknown value 'Somewhat'; known are Fully "
            r"attributable, Not fully attributable, Generic"
        ),
    ):
        load_source("begin", tmp_path)
    write(tmp_path / more[0], text + "m\tx\tk\tHi\tr")
    with pytest.raises(InputError, match=r"begin_test_cmu.tsv:3: 5 fields, the header names 6"):
        load_source("begin", tmp_path)


# --- FaithDial, the audit


@needs_data
def test_faithdial_audit_adds_up():
    rows = raw_rows("faithdial")
    assert {p: n for p, n in Counter(r.part for r in rows).items() if n != 200} == {
        "gold-cmu": 201,
        "gold-topical": 997,
        "ctrl-topical": 198,
    }
    assert len({r.part for r in rows}) == len(FAITHDIAL_FILES) == 12
    assert Counter(r.raw for r in rows) == {
        "entailment": 335,
        "entailment,uncooperative": 213,
        "entailmentt,uncooperative": 1,
        "entailment. uncooperative": 3,
        "hallucination": 1271,
        "hallucinated": 1,
        "entailment,hallucination": 239,
        "partial hallucination": 128,
        "generic": 189,
        "uncooperative": 20,
        "blank": 792,
        "hallucination, no knowledge": 3,
        "entailment,uncooperative, no reply": 1,
    }
    assert {r.part for r in rows if r.raw == "blank"} == {"gold-topical"} and {
        r.part for r in rows if "no knowledge" in r.raw
    } == {"ctrl-topical", "doha-topical", "gpt2-topical"}
    for r in rows:
        raw = r.raw.split(", no")[0].replace("blank", "")
        assert (r.claim is None) == (FAITHDIAL_LABELS[raw] is None or ", no" in r.raw)
        if r.claim:
            assert (r.claim.label, r.claim.supported) == FAITHDIAL_LABELS[raw]
    claims = [r.claim for r in rows if r.claim]
    assert Counter(c.label for c in claims) == {
        Label.SUPPORTED: 335 + 213 + 1 + 3,
        Label.UNVERIFIED: 1271 + 1,
        None: 239 + 128,
    }
    assert not any(c.context == "[]" for c in claims) and sum(not c.context for c in claims) < len(claims) / 2


@needs_data
def test_faithdial_spellings_are_where_they_were_found():
    found = Counter((r.part, r.raw) for r in raw_rows("faithdial"))
    assert (
        found["doha-wow", "entailmentt,uncooperative"],
        found["gpt2-cmu", "entailment. uncooperative"],
        found["gpt2-topical", "hallucinated"],
    ) == (1, 3, 1)


# --- FaithDial, the corpus

TURN = {
    "dialog_idx": 1,
    "response": "Its harbour is from 1612.",
    "original_response": "It is 900 years old!",
    "history": ["Is it old?", "Hi"],
    "knowledge": "Torin has a harbour since 1612.",
    "BEGIN": ["Hallucination"],
    "VRM": [],
}


def turns(path: Path, *changes: dict) -> list:
    return list(rows_faithdial_file(write(path, "".join(json.dumps(TURN | c) + "\n" for c in changes))))


@pytest.mark.parametrize(
    "labels, meaning",
    [
        (["Hallucination"], (Label.UNVERIFIED, False)),
        (["Hallucination", "Entailment"], (None, False)),
        (["Entailment", "Hallucination"], (None, False)),
        (["Entailment"], (Label.SUPPORTED, True)),
        (["Entailment", "Uncooperative"], (Label.SUPPORTED, True)),
        (["Generic"], None),
        (["Uncooperative"], None),
        ([], None),
    ],
)
def test_faithdial_corpus_labels_speak_of_the_original(tmp_path, labels, meaning):
    old, new = turns(tmp_path / "test.jsonl", {"BEGIN": labels})
    assert (old.claim and (old.claim.label, old.claim.supported)) == meaning and (
        new.claim.claim,
        new.claim.supported,
    ) == ("Its harbour is from 1612.", True)
    if old.claim:
        assert old.claim.claim == "It is 900 years old!" and old.claim.context == "Hi" and old.claim.id != new.claim.id
    for none in (None, "", " "):
        (only,) = turns(tmp_path / "test.jsonl", {"BEGIN": labels, "original_response": none})
        assert (only.claim and (only.claim.claim, only.claim.label, only.claim.supported)) == (
            meaning and ("Its harbour is from 1612.", *meaning)
        )


def test_faithdial_corpus_dialogues_and_damage(tmp_path):
    path = write(
        tmp_path / "train.json",
        json.dumps(
            [
                {"utterances": [{"speaker": "Apprentice", "response": "Hi"}, TURN | {"speaker": "Wizard"}]},
                {"utterances": [TURN]},
            ]
        ),
    )
    rows = list(rows_faithdial_file(path))
    assert [r.claim.id for r in rows] == [f"faithdial_corpus-train-{i}-1-{w}" for i in (1, 2) for w in ("old", "new")]
    for change, words in (
        ({"BEGIN": ["Lie"]}, "row 1: turn 1: field 'BEGIN': unknown value 'Lie'; known are Hallucination"),
        ({"history": "Hi"}, "field 'history': found str"),
        ({"knowledge": " "}, "field 'text'"),
        ({"BEGIN": None}, "field 'BEGIN': found NoneType"),
    ):
        write(path, json.dumps([{"utterances": [TURN | change]}]))
        with pytest.raises(InputError, match=words):
            list(rows_faithdial_file(path))
    write(path, json.dumps([{"utterances": [7]}]))
    with pytest.raises(InputError, match="row 1: turn 1: found int"):
        list(rows_faithdial_file(path))


# --- Q2


@needs_data
def test_q2_direction_and_containment():
    rows = raw_rows("q2")
    assert Counter((r.part, r.raw) for r in rows if r.claim) == {
        ("dodeca", "0"): 358,
        ("dodeca", "1"): 186,
        ("memnet", "0"): 270,
        ("memnet", "1"): 274,
    }
    assert Counter((r.part, r.raw) for r in rows if not r.claim) == {
        (f"{s}_{k}", f"{k}, repeated"): 150 for s in ("dodeca", "memnet") for k in ("consistent", "inconsistent")
    }
    assert all(r.claim.supported == (r.raw == "0") for r in rows if r.claim)
    with open(DATA / "q2/memnet_inconsistent.csv", newline="") as f:
        first = next(csv.DictReader(f))
    same = [r.claim for r in rows if r.claim and r.part == "memnet" and r.claim.claim == clean_text(first["response"])]
    assert same and not any(c.supported for c in same)
    human = {clean_text(r["gold"]) for r in csv.DictReader(open(DATA / "q2/cross_annotation.csv", newline=""))}
    assert not human & {r.claim.claim for r in rows if r.claim and len(r.claim.claim.split()) > 8}, (
        "gold is a human reply, no claim"
    )


@needs_data
def test_q2_files_of_another_release_are_noticed(tmp_path):
    for f in (file.path for file in Q2_FILES):
        write(tmp_path / f, (DATA / f).read_text(encoding="utf-8"))
    path = tmp_path / "q2/dodeca_consistent.csv"
    path.write_text((DATA / "q2/dodeca_inconsistent.csv").read_text())
    with pytest.raises(
        InputError, match=r"dodeca_consistent.csv:\d+: field 'response': not consistent in q2/cross_annotation.csv"
    ):
        load_source("q2", tmp_path)


# --- DialFact


@needs_data
def test_dialfact_three_labels_and_context():
    rows = raw_rows("dialfact")
    assert Counter(r.raw for r in rows) == {
        "SUPPORTS, factual": 99,
        "REFUTES, factual": 103,
        "NOT ENOUGH INFO, factual": 59,
        "NOT ENOUGH INFO, personal": 39,
    }
    claims = [r.claim for r in rows if r.claim]
    assert Counter(c.label for c in claims) == {Label.SUPPORTED: 99, Label.CONTRADICTORY: 103, Label.UNVERIFIED: 59}
    assert (
        all(c.supported is (c.label is Label.SUPPORTED) for c in claims)
        and sum(bool(c.context) for c in claims) == 252
        and max(len(c.documents) for c in claims) >= 3
    )
    raw = {row["id"]: row for _, row in open_rows(DATA / "dialfact/testsmall.jsonl")}
    for c in claims:
        row = raw[c.id.removeprefix("dialfact-")]
        assert c.context == clean_text(row["context"][-1] if row["context"] else "") and c.claim == clean_text(
            row["response"]
        )
        assert " ### ".join(f"title: {e[0]} content: {e[2]}" for e in row["evidence_list"]) == row["evidence_touse"], (
            "two ways to say the same evidence"
        )


def test_dialfact_odd_rows(tmp_path):
    row = {
        "id": "1--0",
        "context": [],
        "response": "It is old.",
        "response_label": "NOT ENOUGH INFO",
        "type_label": "factual",
        "evidence_list": [["A", "", " "]],
    }
    path = write(tmp_path / "dialfact/testsmall.jsonl", json.dumps(row))
    assert [(r.raw, r.claim) for r in SOURCES["dialfact"].rows(tmp_path)] == [
        ("NOT ENOUGH INFO, factual, no evidence", None)
    ]
    for change, words in (
        (
            {"response_label": "NEI"},
            "testsmall.jsonl:1: field 'response_label': unknown value 'NEI'; known are SUPPORTS, REFUTES, "
            "NOT ENOUGH INFO",
        ),
        ({"type_label": "odd"}, "field 'type_label': unknown value 'odd'"),
        ({"evidence_list": [["A", ""]]}, "field 'evidence_list': found"),
        ({"evidence_list": "A"}, "field 'evidence_list': found str"),
    ):
        write(path, json.dumps(row | change))
        with pytest.raises(InputError, match=words) as e:
            list(SOURCES["dialfact"].rows(tmp_path))
        assert "\n" not in str(e.value)


# --- all of them


@needs_data
@pytest.mark.parametrize("name", [s.name for s in DIALOGUES if s.name != "faithdial_corpus"])
def test_no_word_is_changed(name):
    def letters(text):
        return "".join(c for c in text.lower() if c.isalnum())

    raw = {
        letters(v)
        for f in SOURCES[name].needed
        for _, row in open_rows(DATA / f)
        for v in row.values()
        if isinstance(v, str)
    }
    for c in load_source(name, DATA):
        assert (
            letters(c.claim) in raw
            and c.claim == " ".join(c.claim.split())
            and c.corpus == name
            and c.documents[0].text.strip()
        )


def test_every_map_is_complete():
    assert set(BEGIN_LABELS) == {"Fully attributable", "Not fully attributable", "Generic"} and {
        meaning.label for meaning in DIALFACT_LABELS.values()
    } == set(Label)
    assert Counter(FAITHDIAL_LABELS.values()) == {
        (Label.SUPPORTED, True): 4,
        (Label.UNVERIFIED, False): 2,
        (None, False): 2,
        None: 3,
    }
