"""Benchmarks: upstream formats, the real prompts where they are, damaged rows, and the two means of LLM-AggreFact."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import DATA

from fence_nb.core.records import Document, InputError, JudgedClaim, Prompt
from fence_nb.core.store import read_records, write_records
from fence_nb.corpora.aggrefact import AGGREFACT, AGGREFACT_PAPER, load_aggrefact
from fence_nb.corpora.factscore import POPULARITY
from fence_nb.corpora.prompts import (
    entities,
    labeled_entities,
    longfact,
    open_tsv,
    popqa,
    read_prompts,
    simpleqa,
    truthfulqa,
)
from fence_nb.corpora.registry import SOURCES, load_source
from fence_nb.results.scores import aggrefact_means

ROW = {
    "dataset": "Wice",
    "doc": "It was dry in Torin.",
    "claim": "It rained.",
    "label": 0,
    "contamination_identifier": "mark-1",
}


def have(name: str) -> Path:
    missing = [f for f in SOURCES[name].needed if not (DATA / f).is_file()]
    if missing:
        pytest.skip(f"no {missing[0]} below {DATA}; name the folder of the sets in FENCE_DATA")
    return DATA


def aggrefact(folder: Path, rows: list[dict], kind: str = "jsonl") -> Path:
    for split in ("dev", "test"):
        path = folder / "llm_aggrefact" / "data" / f"{split}-00000-of-00001.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "jsonl":
            path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(rows), path)
    return folder


class TestAggreFact:
    def test_names(self):
        assert (len(AGGREFACT_PAPER), len(AGGREFACT), set(AGGREFACT) - set(AGGREFACT_PAPER)) == (10, 11, {"RAGTruth"})

    @pytest.mark.parametrize("kind", ["jsonl", "parquet"])
    def test_both_forms_give_the_same(self, tmp_path, kind):
        rows = [
            ROW | {"dataset": d, "label": k, "claim": f"Claim {i} {k}."}
            for i, d in enumerate(AGGREFACT)
            for k in (0, 1)
        ]
        found = load_source("llm_aggrefact", aggrefact(tmp_path, rows, kind))
        assert len(found) == 44 and len({r.id for r in found}) == 44
        assert Counter((r.split, r.corpus, r.supported) for r in found) == {
            (s, d, k): 1 for s in ("dev", "test") for d in AGGREFACT for k in (True, False)
        }
        assert [r.claim for r in found[:22]] == [r["claim"] for r in rows] and len({r.group for r in found}) == 1
        assert found == load_aggrefact(tmp_path / "llm_aggrefact")  # the folder itself

    def test_the_mark_is_not_carried_on(self, tmp_path):
        write_records(tmp_path / "out.jsonl", load_aggrefact(aggrefact(tmp_path, [ROW])))
        assert "mark-1" not in (tmp_path / "out.jsonl").read_text()

    @pytest.mark.parametrize(
        "change, words",
        [
            ({"label": 2}, "field 'label': found 2, expected 0 or 1"),
            ({"label": "1"}, "field 'label': found str '1', expected int"),
            ({"label": True}, "field 'label': found bool"),
            ({"label": None}, "field 'label': found NoneType"),
            ({"dataset": "wice"}, "field 'dataset': unknown value 'wice'"),
            ({"claim": ""}, "field 'claim'"),
            ({"doc": ""}, "field 'text'"),
        ],
    )
    def test_damaged_row(self, tmp_path, change, words):
        with pytest.raises(InputError) as e:
            load_aggrefact(aggrefact(tmp_path, [ROW, ROW | change]))
        assert words in str(e.value) and "dev-00000-of-00001.jsonl:2" in str(e.value) and "\n" not in str(e.value)

    def test_missing_column(self, tmp_path):
        with pytest.raises(InputError, match=r"row 1: field 'label': missing; the row has dataset, doc, claim"):
            load_aggrefact(aggrefact(tmp_path, [{k: v for k, v in ROW.items() if k != "label"}], "parquet"))

    def test_cut_parquet(self, tmp_path):
        path = aggrefact(tmp_path, [ROW] * 500, "parquet") / "llm_aggrefact/data/test-00000-of-00001.parquet"
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(InputError, match="cannot be read as Parquet .*is the file whole?"):
            load_aggrefact(tmp_path)

    def test_absent_says_where_to_ask(self, tmp_path):
        with pytest.raises(InputError) as e:
            load_source("llm_aggrefact", tmp_path)
        assert (
            "https://huggingface.co/datasets/lytang/LLM-AggreFact" in str(e.value)
            and "HF_TOKEN" in str(e.value)
            and "\n" not in str(e.value)
        )

    def test_one_half_alone_is_said(self, tmp_path):
        (aggrefact(tmp_path, [ROW]) / "llm_aggrefact/data/test-00000-of-00001.jsonl").unlink()
        with pytest.raises(InputError, match="no test file of LLM-AggreFact"):
            load_aggrefact(tmp_path)


class TestMeans:
    def claims(self, names, per=2, split="test"):
        doc = [Document(text="It was dry.")]
        return [
            JudgedClaim(
                id=f"{c}-{i}",
                claim="It rained.",
                documents=doc,
                supported=i % 2 == 0,
                corpus=c,
                group=f"{c}-{i}",
                split=split,
            )
            for c in names
            for i in range(per)
        ]

    def test_by_hand(self):
        # Set k of 11 has 40 claims: supported at .9 and (if k < 3) .4, otherwise .8; unsupported at .3, .2.
        # At 0.5 the first three sets find half: (50 + 100) / 2 = 75
        rows = self.claims(AGGREFACT, 40)
        probs = [x for k in range(11) for x in (0.9, 0.3, 0.4 if k < 3 else 0.8, 0.2) * 10]
        found = aggrefact_means(rows, probs, dict.fromkeys(AGGREFACT, 0.35), n=200)
        assert found["fixed"]["paper"]["bacc"] == pytest.approx((3 * 75 + 7 * 100) / 10)
        assert found["fixed"]["leaderboard"]["bacc"] == pytest.approx((3 * 75 + 8 * 100) / 11)
        assert found["tuned"]["paper"]["bacc"] == found["tuned"]["leaderboard"]["bacc"] == 100
        assert found["fixed"]["sets"]["AggreFact-CNN"]["bacc"] == 75 and set(found["fixed"]["sets"]) == set(AGGREFACT)
        low, high = found["fixed"]["paper"]["bacc_ci"]
        assert low <= found["fixed"]["paper"]["bacc"] <= high and low < high

    def test_ten_sets_have_no_leaderboard_mean(self):
        found = aggrefact_means(self.claims(AGGREFACT_PAPER), [0.9, 0.1] * 10, n=20)
        assert (
            found["fixed"]["paper"]["bacc"] == 100 and found["fixed"]["leaderboard"] is None and found["tuned"] is None
        )

    def test_unjudged_is_never_right(self):
        found = aggrefact_means(self.claims(AGGREFACT), [None, 0.1] * 11, n=20)
        assert found["fixed"]["paper"]["bacc"] == 50 and found["fixed"]["sets"]["Wice"]["unparsed_pct"] == 50

    def test_refusals(self):
        with pytest.raises(InputError, match="found 'dev', expected 'test'"):
            aggrefact_means(self.claims(AGGREFACT, split="dev"), [0.5] * 22)
        with pytest.raises(InputError, match="no threshold for RAGTruth"):
            aggrefact_means(self.claims(AGGREFACT), [0.5] * 22, dict.fromkeys(AGGREFACT_PAPER, 0.5))
        with pytest.raises(ValueError, match="1 probabilities for 22 claims"):
            aggrefact_means(self.claims(AGGREFACT), [0.5])


class TestRealPrompts:
    "Ours are 70 % of what is published, as the page beside them says."

    @pytest.mark.parametrize(
        "name, rows",
        [
            ("factscore_entities", 350),
            ("factscore_labeled", 128),
            ("truthfulqa", 573),
            ("longfact", 1596),
            ("popqa_2000", 1400),
            ("simpleqa", 3028),
        ],
    )
    def test_counts(self, name, rows, tmp_path):
        found = load_source(name, have(name))
        assert len(found) == rows and all(isinstance(p, Prompt) for p in found) and rows <= SOURCES[name].published
        write_records(tmp_path / "p.jsonl", found)
        assert read_records(tmp_path / "p.jsonl") == found, "no prompt may be lost to an equal id"

    def test_truthfulqa_split(self):
        found = load_source("truthfulqa", have("truthfulqa"))
        of = Counter((p.group, p.split) for p in found)
        assert len({p.group for p in found}) == 38 and {of[c, "train"] for c in {p.group for p in found}} == {3}
        assert Counter(p.split for p in found) == {"train": 114, "test": 573 - 114}  # 817 upstream: 114 and 703
        assert load_source("truthfulqa", DATA) == found

    def test_truthfulqa_answers(self):
        asked = truthfulqa(have("truthfulqa") / SOURCES["truthfulqa"].needed[0])
        with open(DATA / SOURCES["truthfulqa"].needed[0], newline="", encoding="utf-8") as f:
            raw = list(csv.DictReader(f))
        assert [q.right[0] for q in asked] == [r["Best Answer"].strip() for r in raw] and all(q.wrong for q in asked)

    def test_simpleqa_spans_lines(self):
        asked = simpleqa(have("simpleqa") / SOURCES["simpleqa"].needed[0])
        assert all(q.right[0] for q in asked) and "Geography" in {q.prompt.group for q in asked}

    def test_longfact_is_for_testing(self):
        found = load_source("longfact", have("longfact"))
        assert {p.split for p in found} == {"test"} and len({p.group for p in found}) == 76
        assert not any("canary" in p.model_dump_json() for p in found)

    def test_entities_share_nobody(self):
        unlabeled, labeled = (load_source(n, have(n)) for n in ("factscore_entities", "factscore_labeled"))
        assert not {p.topic for p in unlabeled} & {p.topic for p in labeled}
        assert {p.group for p in labeled} == set(POPULARITY) and all(
            p.text == f"Tell me a bio of {p.topic}." for p in unlabeled
        )

    def test_people_keep_their_popularity_on_the_way_into_a_run(self):
        train, test = read_prompts(have("factscore_labeled") / SOURCES["factscore_labeled"].needed[0], 100, 28)
        assert {p.group for p in train} == {p.group for p in test} == set(POPULARITY)
        train, test = read_prompts(have("factscore_entities") / SOURCES["factscore_entities"].needed[0], 300, 50)
        assert {p.group for p in train + test} == {""} and not {p.topic for p in train} & {p.topic for p in test}

    def test_popqa_popularity(self):
        assert all(
            p.popularity is not None and p.popularity >= 0 for p in load_source("popqa_2000", have("popqa_2000"))
        )


HEAD = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
TSV = (
    "id\tsubj\tprop\tobj\tsubj_id\tprop_id\tobj_id\ts_aliases\to_aliases\ts_uri\to_uri\t"
    "s_wiki_title\to_wiki_title\ts_pop\to_pop\tquestion\tpossible_answers\n"
)


class TestDamage:
    def one_line(self, read, path, text, words):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(InputError) as e:
            read(path)
        assert words in str(e.value) and path.name in str(e.value) and "\n" not in str(e.value)

    @pytest.mark.parametrize(
        "text, words",
        [
            ("", "empty file"),
            ("\n \n", "empty file"),
            ("A\nB\nA\n", ":3: 'A' stands in line 1 too"),
            (b"A\n\xff\n", "invalid UTF-8 at byte 2"),
        ],
    )
    def test_entities(self, tmp_path, text, words):
        self.one_line(entities, tmp_path / "e.txt", text, words)

    def test_a_table_beside_a_list_tells_popularity(self, tmp_path):
        (tmp_path / "people.txt").write_text("Ada Vell\nBo Lund\n")
        self.one_line(
            lambda _: entities(tmp_path / "people.txt"),
            tmp_path / "people.popularity.csv",
            "topic,popularity\nAda Vell,famous\n",
            "people.popularity.csv:2: field 'popularity': unknown value 'famous'",
        )
        (tmp_path / "people.popularity.csv").write_text("topic,popularity\nAda Vell,very freq\n")
        assert [(q.prompt.group, q.prompt.popularity) for q in entities(tmp_path / "people.txt")] == [
            ("very frequent", 4),
            ("", None),
        ]

    @pytest.mark.parametrize(
        "change, words",
        [
            ({"popularity": "famous"}, "field 'popularity': unknown value 'famous'"),
            ({"topic": "Bo Lund"}, "does not ask for a bio of 'Bo Lund'"),
            ({"prompt": 1}, "field 'prompt': found int"),
        ],
    )
    def test_labeled(self, tmp_path, change, words):
        row = {
            "topic": "Ada Vell",
            "prompt": "Question: Tell me a bio of Ada Vell.",
            "popularity": "rare",
            "region": "Europe",
        }
        self.one_line(labeled_entities, tmp_path / "l.jsonl", json.dumps(row | change) + "\n", words)

    @pytest.mark.parametrize(
        "text, words",
        [
            (
                HEAD + "A,Mills,Do mills fly?,No,No,Yes,url\n" * 2,
                "category 'Mills' has 2 questions, expected at least 3",
            ),
            (HEAD, "no rows"),
            (HEAD.replace("Category", "Kind") + "A,Mills,Do mills fly?,No,No,Yes,url\n", "field 'Category': missing"),
            (HEAD + 'A,Mills,"Do mills', "is the file whole?"),
            (HEAD + "A,Mills,,No,No,Yes,url\n" * 3, "t.csv:2: field 'text'"),
        ],
    )
    def test_truthfulqa(self, tmp_path, text, words):
        self.one_line(truthfulqa, tmp_path / "t.csv", text, words)

    def test_truthfulqa_of_2025(self, tmp_path):
        (tmp_path / "t.csv").write_text(
            HEAD.replace("Best Answer,", "Best Answer,Best Incorrect Answer,")
            + "A,Mills,Do mills fly?,No,Yes,No; Never,Yes; Often,url\n" * 3
        )
        assert truthfulqa(tmp_path / "t.csv")[0].right == ("No", "Never")

    @pytest.mark.parametrize(
        "change, words", [("output", "answers 'Torin': expected a JSON list"), ("s_pop", "field 's_pop': found 'many'")]
    )
    def test_popqa_sample(self, tmp_path, change, words):
        row = {"input": "Where?", "output": '["Torin"]', "id": 7, "s_pop": 1, "o_pop": 2} | {
            change: {"output": "Torin", "s_pop": "many"}[change]
        }
        self.one_line(popqa, tmp_path / "p.jsonl", json.dumps(row) + "\n", words)

    @pytest.mark.parametrize(
        "text, words",
        [
            (TSV, "no rows"),
            (TSV + "7\tAda Vell\n", "fewer fields than the header names"),
            (TSV + "\t".join("x" * 18) + "\n", "more fields"),
            (TSV + '7\t"Ada\n', "is the file whole?"),
            (b"id\n\xff\n", "invalid UTF-8"),
        ],
    )
    def test_popqa_release(self, tmp_path, text, words):
        self.one_line(popqa, tmp_path / "p.tsv", text, words)

    def test_popqa_twice(self, tmp_path):
        (tmp_path / "prompts").mkdir()
        (tmp_path / "prompts/popqa_2000.jsonl").write_text(
            (json.dumps({"input": "Where?", "output": '["Torin"]', "id": 7, "s_pop": 1, "o_pop": 2}) + "\n") * 2
        )
        with pytest.raises(InputError, match="'popqa-7' occurs twice"):
            load_source("popqa_2000", tmp_path)

    @pytest.mark.parametrize("meta", ["__import__('os').getcwd()", "[1]", "{", "('a',) * 9", "(" * 3000])
    def test_simpleqa_metadata_is_never_run(self, tmp_path, meta):
        self.one_line(
            simpleqa, tmp_path / "s.csv", f'metadata,problem,answer\n"{meta}",Where?,Torin\n', "field 'metadata'"
        )

    def test_simpleqa_without_a_topic(self, tmp_path):
        self.one_line(
            simpleqa,
            tmp_path / "s.csv",
            "metadata,problem,answer\n\"{'a': 1}\",Where?,Torin\n",
            "field 'topic': missing",
        )

    def test_longfact(self, tmp_path):
        self.one_line(
            longfact, tmp_path / "longfact-objects_movies.jsonl", '{"canary": "x"}\n', "field 'prompt': missing"
        )
        with pytest.raises(InputError, match="no such file"):
            load_source("longfact", tmp_path)

    def test_missing_files_say_what_to_do(self, tmp_path):
        for name in SOURCES:
            with pytest.raises(InputError) as e:
                load_source(name, tmp_path)
            assert "\n" not in str(e.value) and str(tmp_path) in str(e.value)
        with pytest.raises(InputError, match="no such file; run: fence data fetch"):
            list(open_tsv(tmp_path / "no.tsv"))


def test_files():
    assert len(SOURCES["longfact"].needed) == len(set(SOURCES["longfact"].needed)) == 76
    for name, source in SOURCES.items():
        assert source.name == name and source.licence and source.cite and source.url.startswith("https://")
        assert source.needed and bool(source.published) == (source.family in ("claims", "prompts"))
