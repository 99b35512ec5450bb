"Public sets on disk: their counts are those of the published tables, and damage to any one file is one line that names it."
import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from conftest import SHARED, fence

from fence_nb.benchmarks import BENCHMARKS
from fence_nb.corpora import RawRow, count_labels, load_corpus
from fence_nb.data import SETS, changed_files, data_check, data_list, known_files, public_split, split_digest, write_split
from fence_nb.dialogue import BEGIN_LABELS, DIALOGUE, FAITHDIAL_LABELS, Q2_FILES, rows_faithdial_corpus
from fence_nb.passages import rows_ragtruth, table_lines
from fence_nb.schema import InputError, JudgedClaim, Label

DATA = SHARED / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no public data in {DATA}; set FENCE_SHARED to its folder")

# part -> rows, claims, supported; read off SOURCES.md
PUBLISHED = {
    "qags": {"cnndm": (491, 491, 376), "xsum": (169, 169, 82)},
    "frank": {"cnndm": (865, 865, 509), "bbc": (716, 716, 58)},
    "xsum_hallucination": {"votes": (7910, 0, 0), "bbc": (1760, 1760, 166)},
    "begin": {"dev_cmu": (416, 59 + 278, 59), "dev_tc": (383, 74 + 307, 74), "dev_wow": (430, 430, 180), "test_wow": (3607, 1392 + 2209, 1392)},
    "q2": {"dodeca": (544, 544, 358), "memnet": (544, 544, 270)},
    "dialfact": {"testsmall": (300, 300 - 39, 99)},
    "wice": {"claim/dev": (349, 349, 115), "oracle_chunks/claim/dev": (1043, 0, 0), "non_supported_tokens/dev": (124, 0, 0), "non_supported_tokens/train": (374, 0, 0)},
    "summacoz": {"frank": (325, 325, 0), "cogensumm": (314, 314, 0), "xsumfaith": (222, 222, 0), "summeval": (97, 97, 0), "factcc": (52, 52, 0), "polytope": (10, 10, 0)},
    "factscore": {"ChatGPT": (2118 + 1250 + 370, 2118 + 1250, 2118), "InstructGPT": (1405 + 1443 + 436, 1405 + 1443, 1405), "PerplexityAI": (3254 + 551 + 187, 3254 + 551, 3254)},
}


@pytest.fixture(scope="module")
def checked() -> tuple: return data_check(DATA)


@needs_data
def test_counts_are_the_published_ones(checked):
    rows, prompts, failures, notes = checked
    assert not failures and not notes
    found = {name: {r["part"]: (r["rows"], r["claims"], r["supported"]) for r in rows if r["set"] == name} for name in PUBLISHED}
    assert found == PUBLISHED
    assert {p["benchmark"]: p["rows"] for p in prompts} == {"factscore_entities": 350, "factscore_labeled": 128, "truthfulqa": 573, "longfact": 1596, "popqa_2000": 1400, "simpleqa": 3028}
    raw = {(r["set"], r["part"]): r["labels as published"] for r in rows}
    for words in ("extrinsic 5568", "intrinsic 1824", "NULL 518"): assert words in raw["xsum_hallucination", "votes"]
    for words in ("no error 509", "some errors 297", "an error in each sentence 59"): assert words in raw["frank", "cnndm"]
    for words in ("no error 58", "some errors 3", "an error in each sentence 655"): assert words in raw["frank", "bbc"]
    assert "no annotations 20" in raw["factscore", "ChatGPT"] and "sentences without facts 186" in raw["factscore", "PerplexityAI"] and "IR 436" in raw["factscore", "InstructGPT"]
    assert "NOT ENOUGH INFO, personal 39" in raw["dialfact", "testsmall"] and "REFUTES, factual 103" in raw["dialfact", "testsmall"]
    assert all(r["supported"] + r["contradictory"] + r["unverified"] + r["open"] == r["claims"] for r in rows)
    assert {r["set"] for r in rows} == set(SETS) - {"ragtruth", "faithdial_corpus"} | {"factscore"}, "every set that is there"


@needs_data
def test_faithdial_audit_adds_up(checked):
    rows = [r for r in checked[0] if r["set"] == "faithdial"]
    assert len(rows) == 12 and {r["part"]: r["rows"] for r in rows if r["rows"] != 200} == {"gold-cmu": 201, "gold-topical": 997, "ctrl-topical": 198}
    of = {r["part"]: r["labels as published"] for r in rows}
    assert "- blank 792" in of["gold-topical"] and sum(int(n) for n in re.findall(r"no knowledge (\d+)", " ".join(of.values()))) == 3
    assert "entailmentt,uncooperative 1" in of["doha-wow"] and "entailment. uncooperative 3" in of["gpt2-cmu"] and "hallucinated 1" in of["gpt2-topical"]


@needs_data
def test_pitfalls():
    for name in (*DIALOGUE, "wice", "ragtruth_readme_sample", "summacoz"):
        if name == "faithdial_corpus": continue
        for r in load_corpus(name, DATA, SETS):
            for text in (r.claim, *(d.text for d in r.documents)): assert text.strip() and "\r" not in text and "\u00a0" not in text and "(meta data)" not in text
    q2 = load_corpus("q2", DATA, SETS)
    assert len(q2) == 2 * 544, "the four files are contained in cross_annotation and not counted twice"
    wice = load_corpus("wice", DATA, SETS)
    assert len({r.id for r in wice}) == 349 and max(len(r.documents[0].text.split()) for r in wice) > 3000 and any(r.documents[0].title for r in wice)
    fact = load_corpus("dialfact", DATA, SETS)
    assert Counter(r.label for r in fact) == {Label.SUPPORTED: 99, Label.CONTRADICTORY: 103, Label.UNVERIFIED: 59} and sum(bool(r.context) for r in fact) > 250 and max(len(r.documents) for r in fact) >= 3
    assert not any("content:" in d.text[:60] for r in fact for d in r.documents)
    coz = load_corpus("summacoz", DATA, SETS)
    assert not any(r.supported for r in coz) and all(len(r.critique) > 10 for r in coz) and SETS["summacoz"].train_only
    one = load_corpus("ragtruth_readme_sample", DATA, SETS)
    assert [r.label for r in one].count(Label.UNVERIFIED) == 1 and "Gaza Strip" in next(r.claim for r in one if not r.supported) and len(one) == 6


@needs_data
def test_summaries_that_overlap_share_their_article():
    train, test = public_split(DATA, ["frank", "xsum_hallucination", "summacoz"], seed=1)
    assert not {r.group for r in train} & {r.group for r in test}
    groups = lambda name: {r.group for r in train + test if r.corpus == name}
    assert len({r.group for r in train if r.corpus == "summacoz"} & (groups("frank") | groups("xsum_hallucination"))) > 100
    assert "summacoz" not in {r.corpus for r in test}, "one label only: nothing is measured on it"


@needs_data
def test_split(tmp_path):
    sets = ["qags", "frank", "xsum_hallucination", "q2", "faithdial", "begin"]
    train, test = public_split(DATA, sets, ["wice", "dialfact"])
    assert write_split(tmp_path / "a.tsv", train, test) == write_split(tmp_path / "b.tsv", *public_split(DATA, sets, ["wice", "dialfact"])) == split_digest(train, test)
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes() and len((tmp_path / "a.tsv").read_text().splitlines()) == len(train) + len(test)
    assert split_digest(*public_split(DATA, sets, ["wice", "dialfact"], seed=1)) != split_digest(train, test)
    assert {r.corpus for r in train} == set(sets) and {r.corpus for r in test} == {*sets, "wice", "dialfact"}
    assert not {d.text for r in train for d in r.documents} & {d.text for r in test for d in r.documents}


def damage(path: Path, how: str) -> bool: # False: there is nothing to damage in this way
    data = path.read_bytes()
    if how == "removed": path.unlink(); return True
    if how == "half": path.write_bytes(data[:len(data) // 2]); return True
    if how == "lines":
        end = data.rfind(b"\n", 0, len(data) * 2 // 3) + 1
        if end: path.write_bytes(data[:end])
        return end > 0
    if how == "utf-16": path.write_bytes(data.decode().encode("utf-16")); return True
    try: new = data.decode().encode("latin-1")
    except UnicodeEncodeError: return False
    path.write_bytes(new)
    return new != data


@needs_data
@pytest.mark.parametrize("file", known_files())
def test_damage_is_one_line_that_names_the_file(tmp_path, file):
    top = Path(file).parts[0]
    shutil.copytree(DATA / top, tmp_path / top, copy_function=shutil.copyfile)
    os.chmod(tmp_path / top, 0o755)
    for folder in (tmp_path / top).rglob("*"): os.chmod(folder, 0o755 if folder.is_dir() else 0o644)
    for how in ("removed", "half", "lines", "utf-16", "latin-1"):
        done = damage(tmp_path / file, how)
        failures, notes = data_check(tmp_path)[2:]
        shutil.copyfile(DATA / file, tmp_path / file)
        lines = failures + notes
        if done: assert len(lines) == 1 and Path(file).name in lines[0] and "\n" not in lines[0] and len(lines[0]) < 400, (how, lines)
        else: assert not lines
    assert data_check(tmp_path)[2:] == ([], [])


def test_nothing_here_is_no_fault(tmp_path):
    assert data_check(tmp_path) == ([], [], [], [])
    assert {r["on disk"] for r in data_list(tmp_path)} == {"not here"} and len(data_list(tmp_path)) == len(SETS) + 1 + len(BENCHMARKS)


@needs_data
def test_command(tmp_path):
    done = fence("data", "check", DATA, home=tmp_path)
    assert done.returncode == 0 and not done.stderr and "xsum_hallucination" in done.stdout and "truthfulqa" in done.stdout
    shutil.copytree(DATA / "q2", tmp_path / "q2", copy_function=shutil.copyfile)
    os.chmod(tmp_path / "q2", 0o755)
    (tmp_path / "q2/dodeca_consistent.csv").unlink()
    done = fence("data", "check", tmp_path, home=tmp_path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "dodeca_consistent.csv" in done.stderr
    assert "CC BY 4.0" in fence("data", "list", DATA, home=tmp_path).stdout
    empty = tmp_path / "empty"
    empty.mkdir()
    assert fence("data", "check", empty, home=tmp_path).returncode == 2 and fence("data", "check", tmp_path / "none", home=tmp_path).returncode == 2


# --- forms of which no file is here

def lines(path: Path, *rows: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_unknown_labels_stop_the_load(tmp_path):
    for file in ("begin/cmu-dog/begin_dev_cmu.tsv",):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("model_name\tdata_source\tknowledge\tmessage\tresponse\tbegin_label\nm\tcmu\tk k\tm\tr\tSomewhat\n")
    with pytest.raises(InputError, match=r"begin_dev_cmu.tsv: row 1: field 'begin_label': unknown value 'Somewhat'; known are Fully"): list(SETS["begin"].rows(tmp_path))
    assert set(BEGIN_LABELS) == {"Fully attributable", "Not fully attributable", "Generic"} and len(FAITHDIAL_LABELS) == 11


def test_ragtruth(tmp_path):
    text = "The mill is old. It burned in 1900. Nobody was hurt, sadly. It was rebuilt."
    at = lambda words: {"start": text.index(words), "end": text.index(words) + len(words)}
    lines(tmp_path / "ragtruth/source_info.jsonl", {"source_id": "1", "task_type": "Summary", "source_info": "The mill burned in 1901."}, {"source_id": "2", "task_type": "Data2txt", "source_info": {"a": {"b": [True, None]}}})
    good = {"id": "1", "source_id": "1", "split": "test", "quality": "good", "response": text, "labels": [at("1900") | {"label_type": "Evident Conflict"}, at("hurt") | {"label_type": "Subtle Baseless Info", "implicit_true": True}, at("sadly") | {"label_type": "Subtle Conflict"}]}
    path = lines(tmp_path / "ragtruth/response.jsonl", good, good | {"id": "2", "quality": "truncated"}, good | {"id": "3", "source_id": "2", "labels": []})
    rows = list(rows_ragtruth(tmp_path))
    assert [r.claim.label for r in rows[:4]] == [Label.SUPPORTED, Label.CONTRADICTORY, None, Label.SUPPORTED] and [r.claim.supported for r in rows[:4]] == [True, False, False, True]
    assert rows[4] == RawRow("Summary", "quality truncated", None) and len(rows) == 9 and rows[5].claim.documents[0].text == "a b 1: yes\na b 2: not given"
    assert table_lines({"x": 1}) == ["x: 1"] and {r.claim.group for r in rows[:4]} == {"ragtruth-1"}
    for change, words in (({"source_id": "9"}, "no '9' in source_info"), ({"labels": [{"start": 0, "end": 999, "label_type": "Evident Conflict"}]}, "a span from 0 to 999"), ({"labels": [at("mill") | {"label_type": "Odd"}]}, "unknown value 'Odd'"), ({"quality": "bad"}, "unknown value 'bad'")):
        lines(path, good | change)
        with pytest.raises(InputError, match=words): list(rows_ragtruth(tmp_path))


def test_faithdial_corpus_as_the_hub_has_it(tmp_path):
    turn = {"dialog_idx": 1, "response": "Its harbour is from 1612.", "original_response": "It is 900 years old!", "history": ["Hi"], "knowledge": "Torin has a harbour since 1612.", "BEGIN": ["Hallucination", "Entailment"], "VRM": []}
    rows = list(rows_faithdial_corpus(lines(tmp_path / "test.jsonl", turn, turn | {"original_response": None, "BEGIN": ["Entailment"]}, turn | {"original_response": None, "BEGIN": ["Generic"]}, turn | {"BEGIN": ["Entailment"]})))
    assert [(r.claim and r.claim.supported, r.claim and r.claim.label) for r in rows] == [(True, Label.SUPPORTED), (False, None), (True, Label.SUPPORTED), (None, None), (True, Label.SUPPORTED), (None, None)]
    assert rows[0].claim.context == "Hi" and len({r.claim.id for r in rows if r.claim}) == 4
    with pytest.raises(InputError, match="test.jsonl:1: field 'BEGIN': unknown value 'Lie'"): list(rows_faithdial_corpus(lines(tmp_path / "test.jsonl", turn | {"BEGIN": ["Lie"]})))
