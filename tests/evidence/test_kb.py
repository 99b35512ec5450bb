"The knowledge base: every source format, kills, damage, memory, the ways to a page, many readers."

import bz2
import gzip
import itertools
import json
import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, ROOT

from fence_nb.core.records import Document, InputError
from fence_nb.evidence import kb as module
from fence_nb.evidence.documents import evidence_toolbox
from fence_nb.evidence.kb import KnowledgeBase, build_kb, passages
from fence_nb.evidence.tools import ToolCall
from fence_nb.evidence.wikipedia import build_from

ARTICLES = [
    ("Ada Vell", "Ada Vell was born in Torin.\nShe won the Zor prize."),
    ("Torin", "Torin is a city."),
    ("Professor Bea Orlando", "She lived in Torin."),
]
REDIRECTS = [("A. Vell", "Ada Vell"), ("Torino", "Turin"), ("Turin", "Torin#History")]


def xml(articles=ARTICLES, redirects=REDIRECTS) -> bytes:
    def page(n, title, space, body):
        return f"<page><title>{title}</title><ns>{space}</ns><id>{n}</id>{body}</page>"

    rows = [
        page(
            i,
            t,
            0,
            "<revision><id>1</id><text xml:space='preserve'>an older text</text></revision>"
            f"<revision><id>2</id><text>{x}</text></revision>",
        )
        for i, (t, x) in enumerate(articles)
    ]
    rows += [
        page(9, "Talk:Ada Vell", 1, "<revision><text>I doubt it.</text></revision>"),
        page(10, "Empty", 0, "<revision><text/></revision>"),
    ]
    rows += [
        page(11, t, 0, f"<redirect title='{r}'/><revision><text>#REDIRECT [[{r}]]</text></revision>")
        for t, r in redirects
    ]
    return (
        "<mediawiki xmlns='http://www.mediawiki.org/xml/export-0.11/' version='0.11'>"
        "<siteinfo><sitename>Wikipedia</sitename></siteinfo>" + "\n".join(rows) + "</mediawiki>"
    ).encode()


def lines(n: int, words: int = 60) -> bytes:
    "Pages of one passage, and a redirect for every tenth."
    r = random.Random(0)
    rows = [
        {"title": f"Page number {i}", "text": " ".join(f"w{r.randrange(2000)}" for _ in range(words)) + "."}
        for i in range(n)
    ]
    rows += [{"title": f"No. {i}", "redirect": f"Page number {i}"} for i in range(0, n, 10)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def factscore(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("create table documents (title primary key, text)")
        db.executemany(
            "insert into documents values (?, ?)",
            [
                (t, "".join(f"<s>{line[:9]}####SPECIAL####SEPARATOR####{line[9:]}</s>" for line in x.splitlines()))
                for t, x in ARTICLES
            ],
        )
    db.close()


def parquet(path: Path, rows: list[dict]) -> None:
    import pyarrow
    from pyarrow import parquet as pq

    path.parent.mkdir(exist_ok=True)
    pq.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=2)


def content(path: Path) -> list:
    "All that a reader can see, and what the words index finds."
    with sqlite3.connect(path) as db:
        tables = [
            db.execute(f"select * from {t} order by 1").fetchall()
            for t in ("about", "passages", "titles", "common", "grams")
        ]
        tables.append(
            db.execute("select rowid, rank from words where words match 'w1 OR torin' order by rowid").fetchall()
        )
        tables.append(db.execute("select rowid from letters where letters match '\"num\"'").fetchall())
    db.close()
    return tables


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> tuple[Path, Path]:
    "Lines and the base built from them without a pause."
    folder = tmp_path_factory.mktemp("large")
    (folder / "pages.jsonl").write_bytes(lines(12000))
    build_from(folder / "pages.jsonl", folder / "whole.db")
    return folder / "pages.jsonl", folder / "whole.db"


# sources


def save(kind: str, folder: Path) -> Path:
    rows = [{"id": str(i), "url": "https://example.org", "title": t, "text": x} for i, (t, x) in enumerate(ARTICLES)]
    jsonl = "".join(
        json.dumps(r) + "\n"
        for r in [{"title": t, "text": x} for t, x in ARTICLES] + [{"title": t, "redirect": r} for t, r in REDIRECTS]
    ).encode()
    path = folder / f"a source.{kind}"
    if kind == "parquet":
        parquet(path, rows)
    elif kind == "folder":
        parquet(path / "train-0.parquet", rows[:2])
        parquet(path / "train-1.parquet", rows[2:])
    elif kind == "db":
        factscore(path)
    else:
        data = xml() if "xml" in kind else jsonl
        path.write_bytes(
            bz2.compress(data) if kind.endswith("bz2") else gzip.compress(data) if kind.endswith("gz") else data
        )
    return path


@pytest.mark.parametrize("kind", ["xml", "xml.bz2", "jsonl", "jsonl.gz", "jsonl.bz2", "parquet", "folder", "db"])
def test_every_source(kind, tmp_path):
    if "xml" in kind:
        pytest.importorskip("mwparserfromhell", reason="the kb extra reads wikitext")
    counts = build_from(save(kind, tmp_path), tmp_path / "kb.db")
    redirects = len(REDIRECTS) if "xml" in kind or "jsonl" in kind else 0
    assert (counts["pages"], counts["redirects"], counts["empty"], counts["other"]) == (
        3,
        redirects,
        "xml" in kind,
        "xml" in kind,
    )
    kb = KnowledgeBase(tmp_path / "kb.db")
    for title, text in ARTICLES:
        assert [(d.title, d.text, d.found) for d in kb.lookup(title)] == [(title, text, "")]
    assert [(d.title, d.found) for d in kb.lookup("A. Vell")] == ([("Ada Vell", "redirect")] if redirects else [])
    assert kb.search("Who won the Zor prize?")[0].title == "Ada Vell"
    assert kb.search("doubt older REDIRECT") == [], "no talk pages, no older revisions"
    assert sorted(f.name for f in tmp_path.iterdir()) == [f"a source.{kind}", "kb.db"], "nothing left behind"


def test_wikitext():
    pytest.importorskip("mwparserfromhell", reason="the kb extra reads wikitext")
    from fence_nb.evidence.wikipedia import plain_text

    text = """{{Infobox person|name=Ada|born={{birth date|1942|1|2}}}}
'''Ada ''Vell''''' (born 1942) was a [[physicist|theoretical physicist]]<ref name="a">Some book, p. 3</ref> \
from [[Torin]].<ref name="a" /><!-- check -->
[[File:Ada.jpg|thumb|left|Ada in [[Torin]]]]
{| class="wikitable"
! Year !! Prize
|-
| 1970 || Zor
|}
== Life ==
* She liked &quot;tea&quot; &amp; [https://example.org walks].
[[Category:Physicists]]"""
    assert plain_text(text).splitlines() == [
        "Ada Vell (born 1942) was a theoretical physicist from Torin.",
        "Year: 1970; Prize: Zor",
        "Life",
        'She liked "tea" & walks.',
    ]


def test_wikitext_needs_its_extra(tmp_path, monkeypatch):
    (tmp_path / "w.xml").write_bytes(xml())
    monkeypatch.setitem(sys.modules, "mwparserfromhell", None)
    with pytest.raises(InputError, match=r"mwparserfromhell needs the extra 'kb'; run: pip install 'fence_nb\[kb\]'"):
        build_from(tmp_path / "w.xml", tmp_path / "kb.db")


# passages


def test_no_word_is_lost_and_no_passage_is_long():
    r = random.Random(1)
    for _ in range(200):
        text = "\n".join(
            " ".join(
                r.choice(("word", "end.", "a", "so!", "why?")) if r.random() < 0.5 else "x"
                for _ in range(r.choice((1, 5, 60, 99, 100, 101, 350)))
            )
            for _ in range(r.randrange(1, 6))
        )
        cut = list(passages(text))
        assert " ".join(cut).split() == text.split()
        assert all(len(p.split()) <= 100 for p in cut)
        assert all(len((a + " " + b).split()) > 50 for a, b in zip(cut, cut[1:], strict=False)), (
            "short lines are joined"
        )


# ways to a page


def test_three_ways_to_a_page(tmp_path):
    (tmp_path / "p.jsonl").write_bytes(
        save("jsonl", tmp_path).read_bytes()
        + b'{"title": "TORIN", "text": "A ship."}\n'
        + b'{"title": "Loop", "redirect": "Loop"}\n{"title": "Lost", "redirect": "Nowhere"}\n'
    )
    build_from(tmp_path / "p.jsonl", tmp_path / "kb.db")
    kb = KnowledgeBase(tmp_path / "kb.db")

    def way(title):
        return [(d.title, d.found, d.query) for d in kb.lookup(title)]

    assert way("Torin") == [("Torin", "", "Torin")], "as written, before other capitals"
    assert way("tORIN") == [("Torin", "", "tORIN"), ("TORIN", "", "tORIN")]
    assert way(" ada_vell ") == [("Ada Vell", "", " ada_vell ")]
    assert way("Torino") == [("Torin", "redirect", "Torino")], "over two redirects, and without #section"
    assert way("Profesor Bea Orlando") == [("Professor Bea Orlando", "fuzzy", "Profesor Bea Orlando")]
    assert [way(t) for t in ("Loop", "Lost", "Ada Voll", "", "?", "日本", "x" * 5000, '"; drop table titles')] == [
        []
    ] * 8
    assert (
        "found" not in kb.lookup("Torin")[0].model_dump() and kb.lookup("Torino")[0].model_dump()["found"] == "redirect"
    )
    assert [d.title for d in kb(ToolCall(tool="kb", query="a city by that name"))][0] == "Torin", "no page: a search"


def test_accents_and_other_scripts(tmp_path):
    build_kb(
        [Document(title="Zoë Ångström", text="Zoë lived in Malmö."), Document(title="東京", text="東京 is a city.")],
        tmp_path / "kb.db",
    )
    kb = KnowledgeBase(tmp_path / "kb.db")
    assert [d.title for d in kb.lookup("zoe\u0308 a\u030angstro\u0308m")] == ["Zoë Ångström"]
    assert [d.title for d in kb.search("malmo")] == [d.title for d in kb.search("Malmö")] == ["Zoë Ångström"]
    assert kb.lookup("東京")[0].text == "東京 is a city."


# search of a large base


def test_large_base_ranks_as_a_small_one(large, monkeypatch):
    kb, r = KnowledgeBase(large[1]), random.Random(2)
    texts = dict(kb.rows("select id, text from passages"))
    same = 0
    for _ in range(50):
        query = " ".join(r.sample(texts[r.randrange(1, 12001)].rstrip(".").split(), 8))
        monkeypatch.setattr(module, "SMALL", 10**9)
        exact = kb.search(query, 5, 0.0)
        monkeypatch.setattr(module, "SMALL", 0)
        fast = kb.search(query, 5, 0.0)
        assert fast[0] == exact[0] and len(fast) == 5
        same += len({d.id for d in fast} & {d.id for d in exact})
    assert same >= 240, "of 250"


def test_common_words_only(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SMALL", 0)
    monkeypatch.setattr(module, "REACH", 100)
    build_kb(
        (
            Document(
                title=f"T{i}",
                text=f"the of and {'zor' if i % 2 else 'vell'} n{i}" + (" torin" if i % 2 and i < 30 else ""),
            )
            for i in range(3000)
        ),
        tmp_path / "kb.db",
    )
    kb = KnowledgeBase(tmp_path / "kb.db")
    assert {w for (w,) in kb.rows("select term from common")} == {"the", "of", "and", "zor", "vell"}
    assert len(kb.search("the of and", 5)) == 5
    assert all("zor" in d.text for d in kb.search("the zor of", 5))
    assert len(kb.search("zor vell", 5)) == 5, "no passage holds both"
    assert [d.title for d in kb.search("the n7 of", 3, 0.0)][0] == "T7" and len(kb.search("the n7 of", 3, 0.0)) == 3
    assert all("torin" in d.text for d in kb.search("the torin zor of", 10))
    assert kb.search("nothing such", 5) == kb.search("...", 5) == []


# kills and memory

STEPS = """
import sys, time
from fence_nb.evidence import kb
from fence_nb.evidence.wikipedia import build_from
for name in ("commit", "close"): # says where it is, and leaves time for a kill
    def step(self, *args, work=getattr(kb.KbWriter, name)): work(self, *args); print(flush=True); time.sleep(.02)
    setattr(kb.KbWriter, name, step)
build_from(sys.argv[1], sys.argv[2], step=500)
"""


@pytest.mark.parametrize("kills", [(1, 1, 2), (5, 20, 27), (26, 26, 28), (27,), (28,)])
def test_killed_and_resumed(large, tmp_path, kills):
    "26 steps of 500 pages, one for the rest, one for the indexes; each start is killed after so many of its steps."
    out = tmp_path / "kb.db"
    for n in kills:
        p = subprocess.Popen(
            [sys.executable, "-c", STEPS, str(large[0]), str(out)],
            cwd=ROOT,
            env=ENVIRONMENT | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(n):
            p.stdout.readline()
        p.kill()
        p.wait()
        p.stdout.close()
        assert out.exists() or (tmp_path / "kb.db.part").exists()
    build_from(large[0], out, step=500)
    assert content(out) == content(large[1])
    assert [f.name for f in tmp_path.iterdir()] == ["kb.db"]


@pytest.mark.parametrize("kind", ["xml.bz2", "jsonl.gz", "parquet", "folder", "db"])
def test_every_source_resumes(kind, tmp_path, monkeypatch):
    if "xml" in kind:
        pytest.importorskip("mwparserfromhell", reason="the kb extra reads wikitext")
    source = save(kind, tmp_path)
    build_from(source, tmp_path / "whole.db")
    for at in range(1, 3):
        add = module.KbWriter.add
        added = itertools.count(1)

        def stop(self, title, text, added=added, most=at, add=add):
            if next(added) > most:
                raise KeyboardInterrupt
            return add(self, title, text)

        with monkeypatch.context() as m:
            m.setattr(module.KbWriter, "add", stop)
            with pytest.raises(KeyboardInterrupt):
                build_from(source, tmp_path / f"{at}.db", step=1)
        build_from(source, tmp_path / f"{at}.db", step=1)
        a, b = content(tmp_path / f"{at}.db"), content(tmp_path / "whole.db")
        assert a == b


def test_a_part_of_another_source_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(50) + b"broken\n")
    with pytest.raises(InputError, match="a.jsonl:56: not JSON"):
        build_from(tmp_path / "a.jsonl", tmp_path / "kb.db", step=10)
    (tmp_path / "b.jsonl").write_bytes(lines(50))
    with pytest.raises(InputError, match="begun from another source; remove it"):
        build_from(tmp_path / "b.jsonl", tmp_path / "kb.db")
    (tmp_path / "a.jsonl").write_bytes(lines(50))  # mended: goes on
    assert build_from(tmp_path / "a.jsonl", tmp_path / "kb.db", step=10)["pages"] == 50


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_bytes(lines(3000))
    start = module.KbWriter.__init__

    def small(self, *args):
        start(self, *args)
        self.db.execute("pragma max_page_count = 150")

    with monkeypatch.context() as m:
        m.setattr(module.KbWriter, "__init__", small)
        with pytest.raises(InputError, match="kb.db.part: database or disk is full; make room"):
            build_from(tmp_path / "a.jsonl", tmp_path / "kb.db", step=100)
    assert build_from(tmp_path / "a.jsonl", tmp_path / "kb.db", step=100)["pages"] == 3000


def test_two_builds_at_once_are_refused(tmp_path):
    writer = module.KbWriter(tmp_path / "kb.db", tmp_path / "kb.db.part", "x")
    with pytest.raises(InputError, match="another build is writing it"):
        module.KbWriter(tmp_path / "kb.db", tmp_path / "kb.db.part", "x")
    writer.close()


MEMORY = """
import re, sys
from pathlib import Path
from fence_nb.evidence.wikipedia import build_from, read_xml
def now(name): return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
before = now("VmRSS")
if "xml" in sys.argv[1]: print(sum(1 for _ in read_xml(Path(sys.argv[1]), 10**9, lambda n: None)))
else: print(build_from(sys.argv[1], sys.argv[2])["done"])
print(now("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("kind, times, limit", [("xml", 100, 20), ("jsonl", 12, 200)])
def test_memory_is_bounded(kind, times, limit, tmp_path):
    "100 MB of XML and 10 MB of lines, in many bzip2 streams as Wikipedia's own; the limit is mostly SQLite's caches."
    articles = [(f"Page {i}", "word " * 400) for i in range(500)]
    whole = xml(articles, []).split(b"<page>", 1) if kind == "xml" else [b"", lines(500, 400) + b"</mediawiki>"]
    block = whole[1].rpartition(b"</mediawiki>")[0]
    packed = bz2.compress(b"<page>" * (kind == "xml") + block, 1)
    source = tmp_path / f"source.{kind}.bz2"
    source.write_bytes(bz2.compress(whole[0]) + packed * times + bz2.compress(b"</mediawiki>" * (kind == "xml")))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(source), str(tmp_path / "kb.db")],
        cwd=ROOT,
        env=ENVIRONMENT | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    pages, grown = map(int, done.stdout.split())
    assert pages == times * (502 if kind == "xml" else 550)
    assert grown < limit


# readers


def ask(path: str) -> list:
    kb = KnowledgeBase(path)
    return [[d.id for d in kb.lookup(f"No. {i}0")] + [d.id for d in kb.search(f"w{i} w{i + 1}", 3)] for i in range(30)]


def test_threads_and_processes_read_at_once(large):
    path, expected = str(large[1]), ask(str(large[1]))
    kb = KnowledgeBase(path)

    def one(i):
        return [d.id for d in kb.lookup(f"No. {i}0")] + [d.id for d in kb.search(f"w{i} w{i + 1}", 3)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, list(range(30)) * 4)) == expected * 4
    for way in ("spawn", "fork"):
        with multiprocessing.get_context(way).Pool(3) as pool:
            assert pool.map(ask, [path] * 3) == [expected] * 3
    assert one(3) == expected[3]


def test_a_connection_is_not_shared_with_a_fork(large):
    kb = KnowledgeBase(large[1])
    kb.lookup("No. 10")
    mine = kb._local.db
    pid = os.fork()
    if not pid:
        try:
            kb.lookup("No. 10")
            os._exit(0 if kb._local.db is not mine else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_opening_leaves_no_trace(large, tmp_path):
    before = sorted(os.listdir(large[1].parent))
    assert KnowledgeBase(large[1]).lookup("Page number 7")
    assert sorted(os.listdir(large[1].parent)) == before


# damage


def damaged(kind: str, folder: Path) -> tuple[Path, str]:
    path = folder / f"source.{kind.split()[-1]}"
    if kind == "missing xml":
        return path, "no such file"
    if kind == "empty jsonl":
        path.write_bytes(b"")
        return path, "empty file"
    if kind == "unknown txt":
        path.write_bytes(b"Once upon a time")
        return path, ":1: not JSON"
    if kind == "truncated xml.bz2":
        path.write_bytes(bz2.compress(xml() * 1)[:-40])
        return path, "damaged|no valid XML|complete"
    if kind == "scrambled xml.bz2":
        data = bytearray(bz2.compress(xml()))
        data[len(data) // 2] ^= 255
        path.write_bytes(data)
        return path, "damaged"
    if kind == "truncated xml":
        path.write_bytes(xml()[:-100])
        return path, "no valid XML after page"
    if kind == "html xml":
        path.write_bytes(b"<html><body>Not found</body></html>")
        return path, "<html>, expected a Wikipedia dump"
    if kind == "truncated jsonl.gz":
        path.write_bytes(gzip.compress(lines(300))[:-200])
        return path, "damaged|not JSON"
    if kind == "numbers jsonl":
        path.write_bytes(b'{"title": "A", "text": 3}\n')
        return path, ":1: field 'text'"
    if kind == "list jsonl":
        path.write_bytes(b'{"title": "A", "text": "b"}\n[1]\n')
        return path, ":2: found list"
    if kind == "half jsonl":
        path.write_bytes(b'{"title": "A", "text": "\\ud83d"}\n')
        return path, ":1: field 'text': half a character"
    if kind == "latin jsonl":
        path.write_bytes('{"title": "A", "text": "é"}\n'.encode("latin-1"))
        return path, ":1: invalid UTF-8"
    if kind == "textless jsonl":
        path.write_bytes(b'{"title": "A", "text": " "}\n')
        return path, "no passages"
    if kind == "columns parquet":
        parquet(path, [{"title": "A", "body": "b"}])
        return path, "column 'text' is missing, expected text; found are title, body"
    if kind == "truncated parquet":
        parquet(path, [{"title": "A", "text": "b" * 999}])
        path.write_bytes(path.read_bytes()[:-20])
        return path, "damaged"
    if kind == "other db":
        sqlite3.connect(path).execute("create table x (y)")
        return path, r"no table documents\(title, text\)"
    if kind == "own db":
        build_kb([Document(text="a")], path)
        return path, "a knowledge base already"
    if kind == "truncated db":
        factscore(path)
        path.write_bytes(path.read_bytes()[:6000])
        return path, "damaged"
    if kind == "bare folder":
        path.mkdir()
        return path, "no parquet"
    raise AssertionError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "missing xml",
        "empty jsonl",
        "unknown txt",
        "truncated xml.bz2",
        "scrambled xml.bz2",
        "truncated xml",
        "html xml",
        "truncated jsonl.gz",
        "numbers jsonl",
        "list jsonl",
        "half jsonl",
        "latin jsonl",
        "textless jsonl",
        "columns parquet",
        "truncated parquet",
        "other db",
        "own db",
        "truncated db",
        "bare folder",
    ],
)
def test_damage_is_one_line(kind, tmp_path):
    if "xml" in kind:
        pytest.importorskip("mwparserfromhell", reason="the kb extra reads wikitext")
    path, words = damaged(kind, tmp_path)
    with pytest.raises(InputError, match=words) as e:
        build_from(path, tmp_path / "kb.db")
    assert "\n" not in str(e.value) and ("source." in str(e.value) or "kb.db" in str(e.value))
    assert not list(tmp_path.glob("kb.db*"))


def test_a_damaged_base_is_one_line(large, tmp_path):
    data = large[1].read_bytes()
    for n, (bad, words) in enumerate(
        [
            (data[:5000], "malformed|disk image"),
            (b"SQLite format 3\0" + b"x" * 5000, "not a database|malformed|unsupported"),
            (b"", "no such table"),
        ]
    ):
        path = tmp_path / f"{n}.db"
        path.write_bytes(bad)
        with pytest.raises(InputError, match=f"({words}).*build the file again"):
            KnowledgeBase(path).lookup("Page number 7")


PAGES = {  # title -> text, a word or two that somebody looks for
    "李明": ("李明出生于北京。他在上海学习物理。", "上海"),
    "山田花子": ("山田花子は京都で生まれた。大学で物理を学んだ。", "京都で"),
    "กรุงเทพ": ("กรุงเทพเป็นเมืองหลวงของประเทศไทย", "เมืองหลวง"),
    "दिल्ली": ("दिल्ली भारत की राजधानी है।", "राजधानी भारत"),
    "ঢাকা": ("ঢাকা বাংলাদেশের রাজধানী।", "রাজধানী"),
    "서울": ("서울은 대한민국의 수도이다.", "대한민국의"),
    "القاهرة": ("القَاهِرة عاصمة مصر.", "القاهرة مصر"),
    "תל אביב": ("תל אביב היא עיר לחוף הים.", "עיר לחוף"),
    "Ёлкин": ("Ёлкин мой герой.", "елкин мои"),
    "Ελλάδα": ("Η Ελλάδα είναι χώρα.", "ελλαδα χωρα"),
    "Hà Nội": ("Hà Nội là thủ đô của Việt Nam.", "thu đo viet nam"),
    "Երևան": ("Երևանը Հայաստանի մայրաքաղաքն է։", "հայաստանի"),
    "ရန်ကုန်": ("ရန်ကုန်သည် မြို့ကြီးဖြစ်သည်။", "မြို့ကြီး"),
    "ＡＢＢＡ": ("ＡＢＢＡ sang in Velm.", "abba"),
    "Torin": ("Torin has a port.", "port torin"),
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    path = tmp_path_factory.mktemp("scripts") / "kb.db"
    build_kb([Document(title=title, text=text) for title, (text, _) in PAGES.items()], path)
    return KnowledgeBase(path)


@pytest.mark.parametrize("title", PAGES)
def test_search_in_every_script(scripts, title):
    text, query = PAGES[title]
    assert scripts.search(query)[0].title == title
    assert scripts.search(text)[0] == scripts.search(text)[0].model_copy(update={"title": title, "text": text})
    assert scripts.lookup(title)[0].text == text


def test_search_in_every_script_of_a_large_base(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SMALL", 5)
    build_kb([Document(title=title, text=text) for title, (text, _) in PAGES.items()], tmp_path / "kb.db")
    kb = KnowledgeBase(tmp_path / "kb.db")
    assert [kb.search(query)[0].title for _, query in PAGES.values()] == list(PAGES)


@pytest.mark.parametrize(
    ("title", "asked"),
    [
        ("Zoë D'Ará", "zoe d’ara"),
        ("Ørsted–Łuk", "Orsted-Luk"),
        ("Ka-Zee", "Ka Zee"),
        ("K. L. Moor", "KL Moor"),
        ("K.L. Moor", "K. L. Moor"),
        ("Ab/Cd", "Ab / Cd"),
        ("İznikli", "iznikli"),
        ("ｚｏｒ", "Zor"),
        ("Straßenau", "STRASSENAU"),
        ("Ngô Bảo", "Ngo Bao"),
        ("Алёна", "алена"),
        ("Zor", "“Zor”"),
        ("---", "---"),
    ],
)
def test_titles_as_people_write_them(tmp_path, title, asked):
    build_kb(
        [Document(title=title, text="The page."), Document(title="Other", text="Another page.")], tmp_path / "kb.db"
    )
    [document] = KnowledgeBase(tmp_path / "kb.db").lookup(asked)
    assert document.title == title and document.found == ""


def test_the_title_as_written_comes_first(tmp_path):
    build_kb([Document(title=title, text=f"{title} it is.") for title in ("Zoë", "Zoe", "zoe")], tmp_path / "kb.db")
    kb = KnowledgeBase(tmp_path / "kb.db")
    assert [[d.title for d in kb.lookup(t)] for t in ("Zoë", "Zoe", "ZOE")] == [["Zoë"], ["Zoe"], ["Zoe", "zoe"]]
    assert [d.title for d in kb.lookup("Zoè")] == ["Zoë", "Zoe", "zoe"]


def test_a_file_of_version_1_still_opens(tmp_path):
    path = tmp_path / "old.db"
    build_kb([Document(title="Zoë Lund", text="She was a poet of Torin."), Document(title="A b", text="c")], path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("delete from about where name = 'version'")
        db.execute("update titles set key = 'zoë lund' where id = 1")
    kb = KnowledgeBase(path)
    assert kb.lookup("zoë lund")[0].title == kb.search("poet in Torin")[0].title == "Zoë Lund"
    with pytest.raises(InputError, match="old.db: built before other scripts.*build the file again"):
        kb.search("她是诗人")


def test_a_long_chinese_page_has_passages(tmp_path):
    text = "".join(f"他在{n}年搬到了北方的一座城市。" for n in range(1000, 1100))
    cut = list(passages(text))
    assert len(cut) > 4 and "".join(cut) == text and max(map(len, cut)) <= 300


def test_two_toolboxes_of_one_folder_keep_apart(tmp_path):
    first = evidence_toolbox(["Velm lies on the coast."], tmp_path)
    second = evidence_toolbox(["Velm lies inland."], tmp_path)
    call = [ToolCall(tool="search", query="Velm lies")]
    assert [first.fetch(call, "Velm")[0][0].text, second.fetch(call, "Velm")[0][0].text] == [
        "Velm lies on the coast.",
        "Velm lies inland.",
    ]


@pytest.mark.parametrize(
    "title, found",
    [
        ("Saint Velm", "St. Velm"),
        ("St. Torin", "Saint Torin"),
        ("St Torin", "Saint Torin"),
        ("Ort and Moor", "Ort & Moor"),
        ("Ort &amp; Moor", "Ort & Moor"),
        ("Caf%C3%A9 Moor", "Café Moor"),
    ],
)
def test_titles_of_two_spellings(title, found, tmp_path):
    pages = ["St. Velm", "Saint Torin", "Ort & Moor", "Café Moor"]
    build_kb([Document(title=page, text=f"{page} is old.") for page in pages], tmp_path / "kb.db")
    assert [(d.title, d.found) for d in KnowledgeBase(tmp_path / "kb.db").lookup(title)] == [(found, "fuzzy")]


@pytest.mark.parametrize(
    "query, page",
    [
        ("김철수", "Korean"),
        ("서울", "Korean"),
        ("CO2", "raised figures"),
        ("m2", "raised figures"),
        ("first floor", "ligatures"),
    ],
)
def test_particles_raised_figures_and_ligatures(query, page, tmp_path):
    pages = {
        "Korean": "김철수는 1950년 서울에서 태어났다.",
        "raised figures": "A field of 5 m² takes up CO₂.",
        "ligatures": "The ﬁrst ﬂoor is old.",
    }
    build_kb([Document(title=title, text=text) for title, text in pages.items()], tmp_path / "kb.db")
    assert [d.title for d in KnowledgeBase(tmp_path / "kb.db", "search").search(query)] == [page]
