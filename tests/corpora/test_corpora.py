"""The public sets, counted against their published tables; and what a damaged file says."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import DATA

from fence_nb.core.records import InputError, Label
from fence_nb.core.store import read_records, write_records
from fence_nb.corpora.factscore import FACTSCORE_LABELS, POPULARITY, load_factscore
from fence_nb.corpora.reading import clean_text, open_rows
from fence_nb.corpora.registry import SOURCES, load_source
from fence_nb.corpora.splits import join_groups, public_split, split_groups
from fence_nb.corpora.summaries import QAGS_VOTES, XSUM_TYPES
from fence_nb.results.scores import facts_by_group, facts_summary


def have(name: str) -> Path:
    files = SOURCES[name].needed if name in SOURCES else [name]
    missing = [f for f in files if not (DATA / f).is_file()]
    if missing:
        pytest.skip(f"no {missing[0]} below {DATA}; name the folder of the sets in FENCE_DATA")
    return DATA


SUMMARY_SETS = ("qags", "frank", "xsum_hallucination")
SPANS = SOURCES["xsum_hallucination"].files[0].path


class TestRealCounts:
    def test_qags(self):
        rows = load_source("qags", have("qags"))
        assert Counter((r.topic, r.supported) for r in rows) == {
            ("cnndm", True): 376,
            ("cnndm", False): 115,
            ("xsum", True): 82,
            ("xsum", False): 87,
        }
        assert {r.label for r in rows} == {Label.SUPPORTED, None}

    def test_qags_uses_three_votes_and_every_raw_value_is_mapped(self):
        for f in SOURCES["qags"].needed:
            for line in (have("qags") / f).read_text().splitlines():
                for s in json.loads(line)["summary_sentences"]:
                    assert len({v["worker_id"] for v in s["responses"]}) == 3
                    assert {v["response"] for v in s["responses"]} <= set(QAGS_VOTES)

    def test_frank(self):
        rows = load_source("frank", have("frank"))
        assert Counter((r.topic, r.supported) for r in rows) == {
            ("cnndm", True): 509,
            ("cnndm", False): 297 + 59,
            ("bbc", True): 58,
            ("bbc", False): 3 + 655,
        }
        assert Counter(r.split for r in rows) == {"test": 1112, "valid": 469}
        assert len({r.group for r in rows}) == 352
        # by hand from the error fields: frame errors alone, out of article alone, both (218) or neither (126)
        assert Counter(r.label for r in rows) == {
            Label.SUPPORTED: 567,
            Label.CONTRADICTORY: 372,
            Label.UNVERIFIED: 298,
            None: 218 + 126,
        }

    def test_xsum(self):
        rows = load_source("xsum_hallucination", have("xsum_hallucination"))
        assert (len(rows), sum(r.supported for r in rows), len({r.group for r in rows})) == (1760, 166, 352)
        assert Counter(r.label for r in rows) == {
            Label.SUPPORTED: 166,
            Label.CONTRADICTORY: 215,
            Label.UNVERIFIED: 1103,
            None: 276,
        }
        assert Counter(r.id.rsplit("-", 1)[1] for r in rows)["Gold"] == 352

    def test_xsum_raw_values(self):
        with open(have("xsum_hallucination") / SPANS, newline="") as f:
            raw = list(csv.DictReader(f))
        assert Counter(r["hallucination_type"] for r in raw) == {"extrinsic": 5568, "intrinsic": 1824, "NULL": 518}
        assert set(XSUM_TYPES) == {"extrinsic", "intrinsic", "NULL"}

    @pytest.mark.parametrize("name", SUMMARY_SETS)
    def test_text_is_clean(self, name):
        for r in load_source(name, have(name)):
            for text in (r.claim, r.documents[0].text):
                assert (
                    "`" not in text
                    and "\\'" not in text
                    and not text.startswith(("Share this", "(CNN", "(cnn", "Media playback"))
                )
                assert clean_text(text) == text, "clean_text must change nothing the second time"

    def test_records_survive_a_file(self, tmp_path):
        rows = [r for n in SUMMARY_SETS for r in load_source(n, have(n))]
        write_records(tmp_path / "r.jsonl", rows)
        assert read_records(tmp_path / "r.jsonl") == rows

    def test_no_article_on_both_sides(self):
        for n in SUMMARY_SETS:
            have(n)
        for seed in (0, 1):
            train, test = public_split(DATA, SUMMARY_SETS, seed=seed)
            assert not {r.group for r in train} & {r.group for r in test}
            assert not {d.text for r in train for d in r.documents} & {d.text for r in test for d in r.documents}

            def number(rs):
                return {r.id.split("-")[1] for r in rs if not r.id.startswith("qags")}  # sha1 or BBC number

            assert not number(train) & number(test)
            assert {r.corpus for r in test} == set(SUMMARY_SETS) and 0.2 < len(test) / (len(train) + len(test)) < 0.4

    def test_copies_without_an_id_are_found(self):
        for n in SUMMARY_SETS:
            have(n)
        rows = join_groups([r for n in SUMMARY_SETS for r in load_source(n, DATA)])
        of = {}
        for r in rows:
            of.setdefault(r.group, set()).add(r.corpus)
        assert sum({"frank", "xsum_hallucination"} <= s for s in of.values()) == 179
        assert sum("qags" in s and len(s) > 1 for s in of.values()) == 7


@pytest.mark.parametrize(
    "name, score, responses, refused, labels",
    [
        ("ChatGPT", 56.21, 108, 20, (2118, 1250, 370)),
        ("InstructGPT", 40.84, 126, 1, (1405, 1443, 436)),
        ("PerplexityAI", 80.53, 109, 11, (3254, 551, 187)),
    ],
)
def test_factscore(name, score, responses, refused, labels):
    human = load_factscore(have(f"factscore/{name}.jsonl") / f"factscore/{name}.jsonl")
    counts = Counter(human.labels.values())
    assert tuple(counts[k] for k in FACTSCORE_LABELS) == labels and len(human.labels) == len(human.claims)
    assert len(human.responses) == 128 and len(human.refused) == refused
    text = {r.id: r.text for r in human.responses}
    assert all(c.end > c.start and text[c.response_id][c.start : c.end].strip() for c in human.claims)
    assert not any("[1]" in t for t in text.values())
    refusals = [r.id in human.refused for r in human.responses]
    got = facts_summary(human.supported(), refusals=refusals, n=100)
    assert (round(got.facts_pct, 2), got.responses_with_claims) == (score, responses)
    slices = facts_by_group(human.supported(), [p.group for p in human.prompts], POPULARITY, n=100)
    assert tuple(slices) == POPULARITY and slices["very rare"].facts_pct + 20 < slices["very frequent"].facts_pct


# --- damage: fixtures in the upstream form, one file broken at a time

BIO = {
    "input": "q",
    "output": "A. B.",
    "topic": "t",
    "cat": ["rare", "x"],
    "annotations": [{"text": "A.", "human-atomic-facts": [{"text": "a", "label": "S"}]}],
}


@pytest.fixture
def folder(tmp_path):
    for d in ("qags", "frank", "xsum_hallucination"):
        (tmp_path / d).mkdir()
    vote = [{"worker_id": i, "response": r} for i, r in enumerate(("yes", "yes", "no"))]
    for p in ("cnndm", "xsum"):
        (tmp_path / f"qags/mturk_{p}.jsonl").write_text(
            json.dumps({"article": "a b", "summary_sentences": [{"sentence": "a", "responses": vote}]}) + "\n"
        )
    key = {"hash": "1", "model_name": "m"}
    (tmp_path / "frank/benchmark_data.json").write_text(json.dumps([key | {"article": "a b", "summary": "a"}]))
    (tmp_path / "frank/human_annotations.json").write_text(
        json.dumps(
            [key | {"dataset": "bbc", "split": "test", "Factuality": 1.0, "Semantic_Frame_Errors": 1.0, "OutE": 1.0}]
        )
    )
    (tmp_path / "xsum_hallucination/xsum_documents.jsonl").write_text('{"bbcid": "1", "document": "a b"}\n')
    (tmp_path / SPANS).write_text("bbcid,system,summary,hallucination_type,worker_id\n1,Gold,a,NULL,w0\n")
    (tmp_path / "bio.jsonl").write_text(json.dumps(BIO) + "\n")
    return tmp_path


def read(folder, file):
    return load_factscore(folder / file) if file == "bio.jsonl" else load_source(file.split("/")[0], folder)


FILES = [f for name in SUMMARY_SETS for f in SOURCES[name].needed] + ["bio.jsonl"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "utf8", "scalar", "columns"])
def test_every_damage_is_one_line(folder, file, damage):
    assert read(folder, file)
    path, whole = folder / file, (folder / file).read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(whole[:-4] + (b',"' if file.endswith(".csv") else b""))
    elif damage == "utf8":
        path.write_bytes(whole.replace(b"a", b"\xff", 3))
    elif damage == "scalar":
        path.write_bytes(b"7\n" if file.endswith("l") else b"7")
    else:
        path.write_bytes(
            whole.replace(b"hash", b"hsah")
            .replace(b"article", b"text")
            .replace(b"bbcid", b"id")
            .replace(b"topic", b"subject")
        )
    with pytest.raises(InputError) as e:
        read(folder, file)
    assert path.name in str(e.value) and "\n" not in str(e.value)


@pytest.mark.parametrize(
    "file, old, new, words",
    [
        (
            "qags/mturk_xsum.jsonl",
            '"no"',
            '"maybe"',
            "mturk_xsum.jsonl:1: sentence 1: field 'response': unknown value 'maybe'",
        ),
        ("qags/mturk_xsum.jsonl", '"article": "a b"', '"article": ""', "mturk_xsum.jsonl:1: field 'text'"),
        ("qags/mturk_xsum.jsonl", '[{"worker_id": 0, "response": "yes"}, ', '["yes", ', "field 'worker_id'"),
        (
            "frank/human_annotations.json",
            '"bbc"',
            '"cnn"',
            "row 1: field 'dataset': unknown value 'cnn'; known are cnndm, bbc",
        ),
        ("frank/human_annotations.json", '"Factuality": 1.0', '"Factuality": 3', "found 3, expected a share"),
        ("frank/human_annotations.json", '"Factuality": 1.0', '"Factuality": NaN', "found nan, expected a share"),
        (
            "frank/human_annotations.json",
            '"Factuality": 1.0',
            '"Factuality": "1"',
            "found str '1', expected float or int",
        ),
        (
            "frank/human_annotations.json",
            '"test"',
            '"train"',
            "row 1: field 'split': unknown value 'train'; known are test, valid",
        ),
        (
            "xsum_hallucination/hallucination_annotations_xsum_summaries.csv",
            "NULL",
            "",
            "summaries.csv:2: field 'hallucination_type': unknown value ''; known are NULL, intrinsic, extrinsic",
        ),
        (
            "xsum_hallucination/hallucination_annotations_xsum_summaries.csv",
            ",w0",
            "",
            "summaries.csv:2: 4 fields, the header names 5",
        ),
        (
            "xsum_hallucination/hallucination_annotations_xsum_summaries.csv",
            ",w0",
            ",w0,w1",
            "summaries.csv:2: 6 fields, the header names 5",
        ),
        ("xsum_hallucination/hallucination_annotations_xsum_summaries.csv", "1,Gold", "2,Gold", "no document '2'"),
        ("bio.jsonl", '"S"', '"T"', "bio.jsonl:1: sentence 1: field 'label': unknown value 'T'"),
        ("bio.jsonl", '["rare", "x"]', "[]", "field 'cat'"),
        ("bio.jsonl", '["rare", "x"]', "[3]", "field 'cat': found int"),
        ("bio.jsonl", '"annotations": [', '"annotations": [1, ', "bio.jsonl:1: sentence 1"),
    ],
)
def test_wrong_values(folder, file, old, new, words):
    path = folder / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError) as e:
        read(folder, file)
    assert words in str(e.value) and "\n" not in str(e.value)


def test_a_repeated_part_is_noticed(folder):
    path = folder / "frank/human_annotations.json"
    path.write_text(json.dumps(json.loads(path.read_text()) * 2))
    with pytest.raises(InputError, match="occurs twice"):
        load_source("frank", folder)


def test_a_mark_before_the_text_and_blank_lines_are_no_damage(folder):
    path = folder / SPANS
    path.write_text(
        'bbcid,system,summary,hallucination_type,worker_id\n1,Gold,"a\nb",NULL,w0\n\n1,Other,a,NULL,w0\n',
        encoding="utf-8-sig",
    )
    assert [place.rsplit(":", 1)[1] for place, _ in open_rows(path)] == ["2", "5"]
    assert [r.claim for r in load_source("xsum_hallucination", folder)] == ["a b", "a"]


def test_frank_flips_are_no_labels(folder):
    before, path = load_source("frank", folder), folder / "frank/human_annotations.json"
    path.write_text(
        json.dumps([r | {"Flip_OutE": 0.0, "Flip_Semantic_Frame_Errors": 0.0} for r in json.loads(path.read_text())])
    )
    assert load_source("frank", folder) == before


def test_xsum_null_rows_with_a_span_are_faithful_votes(folder):
    path = folder / SPANS
    head = "bbcid,system,summary,hallucination_type,hallucinated_span,worker_id\n"
    path.write_text(
        head + "1,Gold,a,NULL,a span,w0\n1,Gold,a,NULL,NULL,w1\n1,Gold,a,extrinsic,a,w2\n1,Gold,a,intrinsic,a,w2\n"
    )
    assert [r.supported for r in load_source("xsum_hallucination", folder)] == [True]
    path.write_text(
        head + "1,Gold,a,NULL,NULL,w0\n1,Gold,a,NULL,NULL,w1\n1,Gold,a,extrinsic,a,w1\n1,Gold,a,intrinsic,a,w2\n"
    )
    assert [(r.supported, r.label) for r in load_source("xsum_hallucination", folder)] == [(False, None)], (
        "a worker with a span is no faithful vote"
    )


def test_split_is_stable(folder):
    rows = [r for n in SUMMARY_SETS for r in load_source(n, folder)]
    rows = [r.model_copy(update={"group": str(i)}) for i, r in enumerate(rows * 5)]
    assert split_groups(rows, 0.4, 1) == split_groups(rows, 0.4, 1) != split_groups(rows, 0.4, 2)
    with pytest.raises(ValueError):
        split_groups(rows, 1.0)
