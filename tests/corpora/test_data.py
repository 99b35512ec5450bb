"""Public sets on disk.

Counts are those of the published tables, in the command and in the lessons; damage to any one file is one line that
names it.
"""

import json
import os
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DATA, ROOT, fence, needs_data

from fence_nb.app.cli import main
from fence_nb.core.records import InputError
from fence_nb.corpora.reading import SourceFile
from fence_nb.corpora.registry import (
    SOURCES,
    changed_file,
    changed_files,
    data_check,
    data_list,
    known_files,
)
from fence_nb.corpora.splits import public_split, split_digest, write_split

# part -> rows, claims, supported; read off SOURCES.md
PUBLISHED = {
    "qags": {"cnndm": (491, 491, 376), "xsum": (169, 169, 82)},
    "frank": {"cnndm": (865, 865, 509), "bbc": (716, 716, 58)},
    "xsum_hallucination": {"votes": (7910, 0, 0), "bbc": (1760, 1760, 166), "of the world": (3970, 0, 0)},
    "begin": {
        "dev_cmu": (416, 59 + 278, 59),
        "dev_tc": (383, 74 + 307, 74),
        "dev_wow": (430, 430, 180),
        "test_wow": (3607, 1392 + 2209, 1392),
    },
    "q2": {
        "dodeca": (544, 544, 358),
        "memnet": (544, 544, 270),
        **{f"{s}_{k}": (150, 0, 0) for s in ("dodeca", "memnet") for k in ("consistent", "inconsistent")},
    },
    "dialfact": {"testsmall": (300, 300 - 39, 99)},
    "wice": {
        "claim/dev": (349, 349, 115),
        "oracle_chunks/claim/dev": (1043, 0, 0),
        "non_supported_tokens/dev": (124, 0, 0),
        "non_supported_tokens/train": (374, 0, 0),
    },
    "summacoz": {
        "frank": (325, 325, 0),
        "cogensumm": (314, 314, 0),
        "xsumfaith": (222, 222, 0),
        "summeval": (97, 97, 0),
        "factcc": (52, 52, 0),
        "polytope": (10, 10, 0),
    },
    "factscore": {
        "ChatGPT": (2118 + 1250 + 370, 2118 + 1250, 2118),
        "InstructGPT": (1405 + 1443 + 436, 1405 + 1443, 1405),
        "PerplexityAI": (3254 + 551 + 187, 3254 + 551, 3254),
    },
}


def judged_names() -> list[str]:
    "Sets that people judged, with and without documents."
    return [name for name, source in SOURCES.items() if source.family in ("judged", "facts")]


@pytest.fixture(scope="module")
def checked() -> tuple:
    return data_check(DATA)


def published(row: dict) -> Counter:
    "The last column of the table: label -> rows."
    return Counter(
        {
            label.removeprefix("- "): int(n)
            for label, _, n in (part.rpartition(" ") for part in row["labels as published"].split("; "))
        }
    )


@needs_data
def test_counts_are_the_published_ones(checked):
    rows, prompts, failures, notes = checked
    assert not failures and not notes
    found = {
        name: {r["part"]: (r["rows"], r["claims"], r["supported"]) for r in rows if r["set"] == name}
        for name in PUBLISHED
    }
    assert found == PUBLISHED
    assert {p["benchmark"]: p["rows"] for p in prompts} == {
        "factscore_entities": 350,
        "factscore_labeled": 128,
        "truthfulqa": 573,
        "longfact": 1596,
        "popqa_2000": 1400,
        "simpleqa": 3028,
    }
    raw = {(r["set"], r["part"]): published(r) for r in rows}
    assert raw["xsum_hallucination", "votes"] == {"extrinsic": 5568, "intrinsic": 1824, "NULL": 518} and raw[
        "xsum_hallucination", "of the world"
    ] == {"no": 3547, "yes": 399, "NULL": 24}
    assert raw["frank", "cnndm"] == {"no error": 509, "some errors": 297, "an error in each sentence": 59} and raw[
        "frank", "bbc"
    ] == {"no error": 58, "some errors": 3, "an error in each sentence": 655}
    for system, no, empty, ir in (("ChatGPT", 20, 2, 370), ("InstructGPT", 1, 10, 436), ("PerplexityAI", 11, 186, 187)):
        assert (
            raw["factscore", system]["no annotations"],
            raw["factscore", system]["sentences without facts"],
            raw["factscore", system]["IR"],
        ) == (no, empty, ir)
    assert raw["dialfact", "testsmall"] == {
        "SUPPORTS, factual": 99,
        "REFUTES, factual": 103,
        "NOT ENOUGH INFO, factual": 59,
        "NOT ENOUGH INFO, personal": 39,
    }
    assert all(r["supported"] + r["contradictory"] + r["unverified"] + r["open"] == r["claims"] for r in rows)
    assert all(sum(raw[r["set"], r["part"]].values()) == r["rows"] for r in rows if r["set"] != "factscore"), (
        "labels add up to rows"
    )
    assert {r["set"] for r in rows} == set(judged_names()) - {"ragtruth", "faithdial_corpus"}, "every set that is there"


@needs_data
@pytest.mark.parametrize(
    "notebook, heading, name",
    [
        ("01_summaries", "QAGS", "qags"),
        ("01_summaries", "FRANK", "frank"),
        ("01_summaries", "XSum Hallucination", "xsum_hallucination"),
        ("04_factscore", "FActScore, human labels", "factscore"),
        ("02_dialogue", "BEGIN", "begin"),
        ("02_dialogue", "FaithDial, the audit", "faithdial"),
        ("02_dialogue", "Q2", "q2"),
        ("02_dialogue", "DialFact", "dialfact"),
        ("03_passages", "WiCE", "wice"),
        ("01_summaries", "SummaCoz", "summacoz"),
    ],
)
def test_lessons_show_the_counts(checked, notebook, heading, name):
    cells = json.loads((ROOT / "nbs" / "corpora" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    pages = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown").split("\n## ")
    page = next(p for p in pages if p.startswith(f"{heading}\n"))
    assert "Source: " in page or "huggingface.co" in page or "github.com" in page
    shown = {int(n) for n in re.findall(r"(?<![\w.@-])\d+(?![\w.-]*\w)", page)}
    if name == "faithdial":
        wanted = {
            335,
            214,
            1,
            3,
            1274,
            239,
            128,
            189,
            20,
            792,
        }  # of all twelve files together; test_dialogue counts them by label
    else:
        wanted = {
            n
            for r in checked[0]
            if r["set"] == name
            for raw, n in published(r).items()
            if raw not in ("most mark a span", "consistent, repeated", "inconsistent, repeated")
        }
    assert wanted and wanted <= shown


# --- splits


@needs_data
def test_split(tmp_path):
    sets, unseen = ["qags", "q2", "faithdial"], ["dialfact"]
    train, test = public_split(DATA, sets, unseen)
    again, other = public_split(DATA, sets, unseen), public_split(DATA, sets, unseen, seed=1)
    assert (
        write_split(tmp_path / "a.tsv", train, test, "seed 0")
        == write_split(tmp_path / "b.tsv", *again, "seed 0")
        == split_digest(train, test)
        != split_digest(*other)
    )
    assert (tmp_path / "a.tsv").read_bytes() == (tmp_path / "b.tsv").read_bytes()
    head, *lines = (tmp_path / "a.tsv").read_text().splitlines()
    cells = [line.split("\t") for line in lines]
    assert head == f"# split {split_digest(train, test)}, seed 0" and [(c[0], c[1], c[2], c[3]) for c in cells] == [
        (s, r.corpus, r.group, r.id) for s, rs in (("train", train), ("test", test)) for r in rs
    ]
    assert not {c[2] for c in cells if c[0] == "train"} & {c[2] for c in cells if c[0] == "test"}, "by document"
    assert {r.corpus for r in train} == set(sets) and {r.corpus for r in test} == {*sets, *unseen}
    assert not {d.text for r in train for d in r.documents} & {d.text for r in test for d in r.documents}


@needs_data
def test_summaries_that_overlap_share_their_article_and_one_label_measures_nothing():
    train, test = public_split(DATA, ["frank", "xsum_hallucination", "summacoz"], seed=1)
    assert not {r.group for r in train} & {r.group for r in test}

    def groups(name: str) -> set[str]:
        return {r.group for r in train + test if r.corpus == name}

    assert (
        len({r.group for r in train if r.corpus == "summacoz"} & (groups("frank") | groups("xsum_hallucination"))) > 100
    )
    assert "summacoz" not in {r.corpus for r in test}
    with pytest.raises(InputError, match="unseen_corpora = summacoz: has one label only"):
        public_split(DATA, ["qags"], ["summacoz"])


# --- damage

HOW = ("removed", "half", "lines", "utf-16", "latin-1")


def damage(path: Path, how: str) -> bool:  # False: there is nothing to damage in this way
    data = path.read_bytes()
    if how == "removed":
        path.unlink()
        return True
    if how == "half":
        path.write_bytes(data[: len(data) // 2])
        return True
    if how == "lines":
        end = data.rfind(b"\n", 0, len(data) * 2 // 3) + 1
        if end:
            path.write_bytes(data[:end])
        return end > 0
    try:
        new = data.decode().encode(how)
    except UnicodeEncodeError:
        return False
    path.write_bytes(new)
    return new != data


def plan() -> list[tuple[str, tuple[str, ...]]]:
    "Every file of every set; of sets with many files, each file is damaged in some ways, and all ways come up."
    needed = {f: len(SOURCES[name].needed) for name in judged_names() for f in SOURCES[name].needed}
    needed |= {f: 1 for f in SOURCES["factscore"].needed}

    def turn(i: int, n: int) -> tuple[str, ...]:
        return "removed", *(HOW[1 + (i + k) % 4] for k in range(n))

    return [
        (f, HOW if needed.get(f, 99) <= 2 else turn(i, 2 if f in needed else 1)) for i, f in enumerate(known_files())
    ]


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    "Copies of sets: a folder for each."
    home, made = tmp_path_factory.mktemp("copies"), {}

    def copy(top: str) -> Path:
        if top not in made:
            shutil.copytree(DATA / top, home / top.replace("/", " ") / top, copy_function=shutil.copyfile)
            for folder in (home / top.replace("/", " ")).rglob("*"):
                os.chmod(folder, 0o755 if folder.is_dir() else 0o644)
            made[top] = home / top.replace("/", " "), data_check(home / top.replace("/", " "))[2:]
        return made[top]

    return copy


@needs_data
@pytest.mark.parametrize("file, ways", plan(), ids=lambda x: x if isinstance(x, str) else "")
def test_damage_is_one_line_that_names_the_file(copies, file, ways):
    top = "prompts/longfact" if file in SOURCES["longfact"].needed else Path(file).parts[0]
    folder, before = copies(top)
    assert before[0] == [] and (before[1] == [] or top == "prompts/longfact"), (
        "whole, but for the prompts that are not copied"
    )
    for how in ways:
        done = damage(folder / file, how)
        failures, notes = data_check(folder)[2:]
        shutil.copyfile(DATA / file, folder / file)
        lines = [line for line in failures + notes if line not in before[1]]
        assert len(lines) == done and all(
            str(folder / file) in line and "\n" not in line and len(line) < 600 for line in lines
        ), (how, lines)
        if how != "removed":
            assert len(failures) == done, "damage is a failure"


@needs_data
def test_known_files_are_all_files():
    here = {
        str(p.relative_to(DATA))
        for top in {Path(file).parts[0] for file in known_files()}
        for p in (DATA / top).rglob("*")
        if p.is_file() and p.name != "SOURCES.md"
    }
    assert set(known_files()) == here and {f for name in judged_names() for f in SOURCES[name].needed} - here == {
        f for name in ("ragtruth", "faithdial_corpus") for f in SOURCES[name].needed
    }


@needs_data
def test_a_row_short_is_noticed_and_the_others_are_read(tmp_path):
    for top in ("q2", "xsum_hallucination"):
        shutil.copytree(DATA / top, tmp_path / top, copy_function=shutil.copyfile)
        os.chmod(tmp_path / top, 0o755)
    for name, file in (
        ("q2", "cross_annotation.csv"),
        ("xsum_hallucination", "xsum_documents.jsonl"),
    ):  # the other files of the set miss what is gone
        path = tmp_path / name / file
        path.write_bytes(path.read_bytes().rstrip().rpartition(b"\n")[0] + b"\n")
        rows, _, failures, notes = data_check(tmp_path)
        assert (
            not notes
            and len(failures) == 1
            and f"{path}: " in failures[0]
            and "is it cut?" in failures[0]
            and name not in {r["set"] for r in rows} != set()
        )
        shutil.copyfile(DATA / name / file, path)
    for name in ("LICENSE.txt", "README.txt"):
        (tmp_path / "q2" / name).unlink()
    rows, _, failures, notes = data_check(tmp_path)
    assert not failures and len(notes) == 2 and {r["set"] for r in rows} == {"q2", "xsum_hallucination"}


def test_another_release_is_a_note(tmp_path, monkeypatch):
    path = tmp_path / "qags/mturk_cnndm.jsonl"
    path.parent.mkdir()
    row = (
        json.dumps(
            {
                "article": "a b",
                "summary_sentences": [{"sentence": "a", "responses": [{"worker_id": 0, "response": "yes"}]}],
            }
        )
        + "\n"
    )
    for part in ("cnndm", "xsum"):
        (path.parent / f"mturk_{part}.jsonl").write_text(row)
    files = (
        SourceFile("qags/mturk_cnndm.jsonl", size=len(row) - 9, digest="0" * 12),
        SourceFile("qags/LICENSE", size=3, digest="0" * 12, use="beside"),
    )
    monkeypatch.setitem(SOURCES, "qags", replace(SOURCES["qags"], files=files))
    rows, _, failures, notes = data_check(tmp_path)
    assert (
        not failures
        and len(rows) == 2
        and [n.split(": ")[2].split(",")[0].split(";")[0] for n in notes]
        == ["another release than the one that our counts were checked on", "missing"]
    )
    path.write_text(row.replace("yes", "maybe"))
    failures, notes = data_check(tmp_path)[2:]
    assert (
        len(failures) == 1 and "unknown value 'maybe'" in failures[0] and len(notes) == 1 and "LICENSE" in notes[0]
    ), "a file is named once"
    assert changed_files(SOURCES["begin"], tmp_path)[0].how.startswith("missing")


@pytest.mark.parametrize(
    "data, words, bad",
    [
        (b"a\xe9", "invalid UTF-8 at byte 1", True),
        ("ab".encode("utf-16"), "invalid UTF-8", True),
        ("ab".encode("utf-16-le"), "zero bytes between the letters", True),
        (b"", "0 bytes, the file known has 3; is it cut?", True),
        (b"abc", "another release", False),
        ("ab".encode("utf-8-sig"), "another release", False),
    ],
)
def test_how_a_file_differs(tmp_path, data, words, bad):
    (tmp_path / "x").write_bytes(data)
    change = changed_file(tmp_path / "x", 3, "0" * 12)
    assert words in change.how and change.damaged is bad


def test_nothing_here_is_no_fault(tmp_path):
    assert data_check(tmp_path) == ([], [], [], [])
    assert {r["on disk"] for r in data_list(tmp_path)} == {"not here"} and len(data_list(tmp_path)) == len(SOURCES)


@needs_data
def test_command(tmp_path, capsys):
    done = fence("data", "check", DATA, home=tmp_path)
    assert (
        done.returncode == 0 and not done.stderr and "xsum_hallucination" in done.stdout and "truthfulqa" in done.stdout
    )
    shutil.copytree(DATA / "q2", tmp_path / "q2", copy_function=shutil.copyfile)
    os.chmod(tmp_path / "q2", 0o755)
    (tmp_path / "q2/dodeca_consistent.csv").unlink()
    done = fence("data", "check", tmp_path, home=tmp_path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "dodeca_consistent.csv" in done.stderr
    assert main(["data", "list", str(DATA)]) == 0 and "CC BY 4.0" in capsys.readouterr().out
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, words in ((empty, "holds none of the known sets"), (tmp_path / "none", "no such folder")):
        assert main(["data", "check", str(folder)]) == 2 and words in capsys.readouterr().err
