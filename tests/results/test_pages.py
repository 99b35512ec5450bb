"Pages, their tables and pictures, the viewer of pairs, and the report that shows them."

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest

from fence_nb.core.records import Claim, Document, InputError, Judgment, Label, Preference, Prompt, Response, Revision
from fence_nb.core.store import write_records
from fence_nb.fence.recipes import CONTROL_ARMS, RECIPES
from fence_nb.results.figures import ARM_STYLES, _apart, arm_styles, plot_arms, plot_curves, plot_popularity, plot_sweep
from fence_nb.results.html import Figure, choose_pairs, pages_html, pairs_html, write_index, write_page
from fence_nb.results.paper import results_tables
from fence_nb.results.report import training_logs, write_report
from fence_nb.results.tables import Table

ARMS = [
    "base",
    *RECIPES,
    "shorter",
    "silent",
    "fence@dpo_loss=ipo",
    "fence@dpo_loss=sigmoid_norm",
    "fence@mask_true=yes",
    "fence@pair_rule=share",
    "fence@n_candidates=2+rounds=3",
]
VOID = {"br", "meta", "img"}


class Checked(HTMLParser):
    "Every tag is closed, every id is used once, every link to a place finds it."

    def __init__(self, text: str):
        super().__init__()
        self.open, self.ids, self.links, self.bad = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [] and self.bad == []
        assert len(self.ids) == len(set(self.ids)), "an id is used twice"
        assert set(self.links) <= set(self.ids), "a link leads nowhere"

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        for k, v in attrs:
            if k == "id":
                self.ids.append(v)
            if k == "href" and v.startswith("#"):
                self.links.append(v[1:])

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.bad.append((tag, self.getpos()))


def read(t: Table) -> list[list[str]]:
    return list(csv.reader(io.StringIO(t.csv())))


def test_csv_splits_intervals():
    t = Table(
        "T",
        ["arm", "facts, %", "over", "over", "claims"],
        [["a, b", "58.8 [55.1, 62.0]", "+1.3 [-0.2, +2.8] *", "–", "4"], ["c", "–", "+0.1 [-1.0, +1.2]", "-2.0", "5"]],
    )
    head, one, two = read(t)
    assert head == [
        "arm",
        "facts, %",
        "facts, %, low",
        "facts, %, high",
        "over",
        "over, low",
        "over, high",
        "over, significant",
        "over (2)",
        "claims",
    ]
    assert one == ["a, b", "58.8", "55.1", "62.0", "+1.3", "-0.2", "+2.8", "yes", "–", "4"]
    assert two == ["c", "–", "", "", "+0.1", "-1.0", "+1.2", "no", "-2.0", "5"]


@pytest.mark.parametrize("text", ["plain [see note]", "[1, 2]", "a\nb", '"q"', "1.0 [0.9, 1.1] [x, y]", ""])
def test_csv_keeps_other_text(text):
    rows = read(Table("T", ["a", "b"], [["x", text], ["y", "1.0 [0.5, 1.5]"]]))
    assert len({len(r) for r in rows}) == 1
    assert rows[1][1] == text


def test_csv_heads_are_unique():
    rows = read(Table("T", ["a", "a", "a (2)", "a"], [["1", "2", "3", "4"]]))
    assert len(set(rows[0])) == 4 and rows[1] == ["1", "2", "3", "4"]


def test_latex_escapes():
    tex = Table(
        "50 % & more_of #1",
        ["a_b", "{x}", "c"],
        [["[first]", "1 < 2 > 0 | ~ ^ \\", "58.8 [55.1, 62.0] *"], ["*", "–", "1.0"]],
        "100 % $ours$.",
    ).latex()
    assert r"\caption{50 \% \& more\_of \#1}" in tex and r"100 \% \$ours\$." in tex
    assert "{}[first]" in tex and "\n{}* &" in tex, "a bracket or star after a line's end would be its argument"
    assert (
        r"58.8{\scriptsize\ [55.1, 62.0]}$^*$" in tex
        and r"1 \textless{} 2 \textgreater{} 0 \textbar{} \textasciitilde{} \textasciicircum{} \textbackslash{}" in tex
    )
    body = re.sub(r"\\[a-zA-Z]+|\\.", "", tex.partition("\n")[2])
    assert body.count("{") == body.count("}") and not set("%#~") & set(body)
    assert tex.count("\\begin") == tex.count("\\end") and tex.index(r"\caption") < tex.index(r"\toprule") < tex.index(
        "100"
    )


def test_latex_of_a_table_without_rows():
    assert "tabular" not in (tex := Table("T", [], [], "Not yet.").latex()) and "Not yet." in tex


def test_tables_of_a_run():
    for t in results_tables(
        {"generator": {"base": {"facts_pct": 47.2, "facts_pct_ci": [44.1, 50.3]}, "fence": {"facts_pct": 74.9}}}
    ):
        rows = read(t)
        assert len({len(r) for r in rows}) == 1 and len(set(rows[0])) == len(rows[0])
        assert t.latex().count(r"\\") == (len(t.rows) + 1 if t.rows else 0)


# Pictures


def test_twenty_arms_look_unlike_each_other():
    assert len(ARMS) >= 20 and len(set(arm_styles(ARMS).values())) == len(ARMS)
    assert all(arm_styles([a, "x"])[a] == ARM_STYLES[a] for a in ARM_STYLES), "a known arm looks the same everywhere"
    assert set(ARM_STYLES) == {*CONTROL_ARMS, *RECIPES}, "each recipe and control has its own look"
    assert len(set(arm_styles(f"new {i}" for i in range(40)).values())) == 40


def test_colours_can_be_read_on_white():
    def light(c: str) -> float:
        return sum(
            w * (x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4)
            for w, x in zip((0.2126, 0.7152, 0.0722), (int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)), strict=True)
        )

    assert min(1.05 / (light(c) + 0.05) for c, *_ in ARM_STYLES.values()) >= 4.5


@pytest.mark.parametrize("n", [1, 2, 5, 20, 100])
def test_names_lie_apart_within_the_picture(n):
    values = [(7 * i) % 5 / 5 for i in range(n)]
    out = _apart(values, 0.1, 0.0, 1.0)
    assert min(out) >= -1e-9 and max(out) <= 1 + 1e-9
    ranked = sorted(range(n), key=values.__getitem__)
    gaps = [out[b] - out[a] for a, b in zip(ranked, ranked[1:], strict=False)]
    assert all(g >= min(0.1, 1 / max(1, n - 1)) - 1e-9 for g in gaps)


def size(path) -> tuple[int, int]:
    return tuple(int.from_bytes(path.read_bytes()[a : a + 4]) for a in (16, 20))


def test_pictures_of_twenty_arms(tmp_path):
    found = {
        a: {"facts_pct": 50.0 + i, "facts_pct_ci": [45.0 + i, 55.0 + i], "supported_per_response": 3.0}
        for i, a in enumerate(ARMS)
    } | {"silent": {"facts_pct": None, "supported_per_response": 0.0}}
    wide, high = size(plot_arms(found, tmp_path / "arms.png"))
    assert high > wide, "each arm has a row of its own"
    rows = {a: [("frequent", 80.0 + i, 75.0, 85.0), ("rare", 50.0 + i, None, None)] for i, a in enumerate(ARMS)}
    assert size(plot_popularity(rows, "Share of facts, %", tmp_path / "p.png"))[1] > 900
    plot_popularity({"base": []}, "Share of facts, %", tmp_path / "none.png")
    plot_arms({}, tmp_path / "no_arms.png")


def test_sweeps(tmp_path):
    with pytest.raises(InputError, match="no value"):
        plot_sweep({"fence": [(1, None, None, None)]}, "rounds", "facts", tmp_path / "x.png")
    plot_sweep({"fence": [(1, 5.0, None, None)]}, "k $x$", "facts", tmp_path / "one.png")
    one, two = (
        plot_sweep(
            {"a": [(2, 3.0, 2.0, 4.0), (1, 2.0, 1.0, 3.0)], "b": [(1, 1.0, None, None)]},
            "k",
            "facts",
            tmp_path / f"{i}.png",
            1.0,
        ).read_bytes()
        for i in range(2)
    )
    assert one == two, "equal pictures are equal files"


def test_curves(tmp_path):
    for logs in ({}, {"a": []}, {"a": [{"train_loss": 1.0, "step": 3}]}, {"a": [{"loss": 1.0}]}):
        with pytest.raises(InputError, match="train the arms first"):
            plot_curves(logs, tmp_path / "x.png")
    log = [{"step": s, "loss": 1 / s, "reward": s} for s in (1, 2, 3)] + [{"step": 3, "train_loss": 1.0}]
    many = plot_curves({f"arm {i}": log for i in range(12)}, tmp_path / "12.png").read_bytes()
    assert many == plot_curves({f"arm {i}": log for i in range(8)}, tmp_path / "8.png").read_bytes(), "eight are drawn"
    assert (
        size(plot_curves({"a": log}, tmp_path / "two.png", ("loss", "reward", "rewards/margins")))[1]
        > size(tmp_path / "8.png")[1]
    )


# Pages

T = Table("Arms", ["arm", "facts, %"], [["base", "1.0 [0.5, 1.5]"]])


def test_pages_are_linked_in_order(tmp_path):
    picture = plot_sweep({"fence": [(1, 5.0, 4.0, 6.0)]}, "rounds", "facts", tmp_path / "p.png")
    write_page(tmp_path, "b", "B", "about b", [T, Figure("A & B.", picture, T), "<h2>More</h2>", T], order=1)
    write_page(tmp_path, "a", "A <x>", "about a", [T], order=2)
    write_page(tmp_path, "c", "C", "about c", [])
    front = write_index(tmp_path, "Study & more", "What <this> is.").read_text()
    assert (
        re.findall(r'<a href="([^"]+)"', front) == ["c.html", "b.html", "a.html"]
        and "What &lt;this&gt; is." in front
        and "about b" in front
    )
    for f in tmp_path.glob("*.html"):
        page = f.read_text()
        Checked(page)
        assert not re.search(r"""(?:src|href)=["']?(?:https?:|//)|<script|@import|url\(""", page), (
            "a page needs nothing but itself"
        )
        assert f.name == "report.html" or 'href="report.html"' in page
    assert sorted(f.name for f in (tmp_path / "tables").iterdir()) == [
        "a-1.csv",
        "a-1.tex",
        "b-1.csv",
        "b-1.tex",
        "b-2.csv",
        "b-2.tex",
    ]


def test_a_page_that_is_written_again(tmp_path):
    write_page(tmp_path, "a", "A", "", [T, T])
    write_page(tmp_path, "a-1", "A1", "", [T])
    write_page(tmp_path, "a", "Again", "", [T])
    assert sorted(f.stem for f in (tmp_path / "tables").glob("*.csv")) == ["a-1", "a-1-1"], (
        "its tables of before are gone, another page's are not"
    )
    assert list(json.loads((tmp_path / "pages.json").read_text())) == ["a", "a-1"] and "Again" in pages_html(tmp_path)
    (tmp_path / "a.html").unlink()
    assert "Again" not in write_index(tmp_path, "S").read_text(), "a page that is gone is not linked"


def test_names_and_damage(tmp_path):
    for name in ("report", "../x", "a/b", "", ".x", "x y"):
        with pytest.raises(InputError, match="not a name"):
            write_page(tmp_path, name, "X", "", [])
    with pytest.raises(InputError, match="no picture x.png"):
        write_page(tmp_path, "a", "A", "", [Figure("F", tmp_path / "x.png", T)])
    assert not (tmp_path / "a.html").exists() and pages_html(tmp_path) == ""
    for damage in ("[1]", "{", '{"a": {"title": "A"}}', '{"a": 3}'):
        (tmp_path / "pages.json").write_text(damage)
        with pytest.raises(InputError, match="pages.json"):
            write_index(tmp_path, "S")


# Pairs

BAD = "<script>alert('x\")</script>"


def world(n: int, text: str = "Ada was born. She taught."):
    "n topics, most popular first; of each an answer, its revision and two pairs between them."
    prompts = [
        Prompt(
            id=f"q{i}",
            text=f"Tell me about {i}.",
            topic=f"Topic {i}",
            popularity=n - i,
            group="frequent" if i < n / 2 else "rare",
        )
        for i in range(n)
    ]
    old = [
        Response(id=f"r{i}", prompt_id=f"q{i}", prompt=p.text, topic=p.topic, text=text) for i, p in enumerate(prompts)
    ]
    new = [
        r.model_copy(update={"id": f"n{i}", "parent": r.id, "text": text[:13], "round": 1, "policy": "edit_remove"})
        for i, r in enumerate(old)
    ]
    claims = [
        Claim(id=f"{r.id}-{k}", response_id=r.id, text=r.text[a:b] or "-", start=a, end=b)
        for r in old + new
        for k, (a, b) in enumerate(((0, 13), (14, 25)))
        if a < len(r.text)
    ]
    judgments = [
        Judgment(claim_id=c.id, label=Label.SUPPORTED if c.start == 0 else Label.CONTRADICTORY, critique="why")
        for c in claims
    ]
    revisions = [
        Revision(
            response_id=f"r{i}",
            claim_id=f"r{i}-1",
            action="remove",
            knows="unknown",
            before=text[14:],
            policy="edit_remove",
        )
        for i in range(n)
    ]
    pairs = [
        Preference(
            id=f"{i}{w}",
            prompt=f"Tell me about {i}.",
            chosen=text[:13],
            rejected=text,
            chosen_id=f"n{i}",
            rejected_id=f"r{i}",
            chosen_score=1.0,
            rejected_score=1 - m,
        )
        for i in range(n)
        for w, m in (("w", 0.5 + i / 100), ("s", 0.1))
    ]
    return pairs, {
        Prompt: prompts,
        Response: old + new,
        Claim: claims,
        Judgment: judgments,
        Revision: revisions,
        Document: [],
    }


def test_pairs_are_chosen_by_their_rule():
    pairs, records = world(10)
    chosen = choose_pairs(pairs, records)
    topics = [int(p.chosen_id[1:]) for p in chosen]
    assert len(set(topics)) == 6 and all(t < 5 for t in topics[:3]) and all(t >= 5 for t in topics[3:])
    margins = [round(p.chosen_score - p.rejected_score, 2) for p in chosen]
    assert margins[0] == 0.54 and margins[3] == 0.59 and margins[2] == margins[5] == 0.1, (
        "widest and narrowest of each half"
    )
    assert choose_pairs(list(pairs), records) == chosen


@pytest.mark.parametrize("n", range(5))
@pytest.mark.parametrize("k", [1, 2, 3, 6, 7])
def test_few_pairs(n, k):
    pairs, records = world(n)
    chosen = choose_pairs(pairs, records, k)
    assert len(chosen) <= k and len({p.id for p in chosen}) == len(chosen) and (not n or chosen)


def test_pairs_of_nothing():
    assert pairs_html([], {}) == ""


def test_the_viewer():
    pairs, records = world(8)
    html = pairs_html(pairs, records)
    Checked(html)
    assert html.count("<article>") == 6 and html.count("What the revision changed") == 6
    assert (
        "1 of 1 claim supported; a revision" in html
        and "1 of 2 claims supported" in html
        and "<del>" in html
        and "score 1.00" in html
    )
    assert html.count('aria-label="Chosen"') == html.count('aria-label="Rejected"') == 6


def test_a_pair_without_records():
    pair = Preference(
        prompt=BAD, chosen=BAD, rejected="", chosen_id=BAD, rejected_id="y", chosen_score=0.5, rejected_score=0.25
    )
    html = pairs_html([pair], {})
    Checked(html)
    assert (
        "<script" not in html and "score 0.50" in html and "not in these records" in html and "empty response" in html
    )


def test_texts_cannot_get_out_of_the_viewer():
    pairs, records = world(2, f"{BAD[:13]} {BAD}")
    records[Prompt] = [p.model_copy(update={"topic": BAD, "group": BAD}) for p in records[Prompt]]
    records[Response] = [r.model_copy(update={"topic": BAD}) for r in records[Response]]
    html = pairs_html(pairs, records)
    assert "<script" not in html
    Checked(html)


# The report


def run_with(tmp_path, logs: dict):
    pairs, records = world(4)
    for name, kind in (
        ("prompts", Prompt),
        ("responses", Response),
        ("claims", Claim),
        ("judgments", Judgment),
        ("revisions", Revision),
    ):
        write_records(tmp_path / "r4_preferences" / f"{name}.jsonl", records[kind])
    write_records(tmp_path / "r4_preferences" / "preferences.jsonl", pairs)
    (tmp_path / "metrics.json").write_text(json.dumps({"profile": "toy", "generator": {"base": {"facts_pct": 50.0}}}))
    for arm, log in logs.items():
        (tmp_path / "r5_generator" / arm).mkdir(parents=True)
        (tmp_path / "r5_generator" / arm / "training.json").write_text(json.dumps({"method": "dpo", "log": log}))
    return tmp_path


def test_report_with_everything(tmp_path):
    log = [{"step": s, "loss": 1 / s, "rewards/margins": s / 3} for s in (1, 2, 3)]
    run = run_with(tmp_path, {"fence": log, "kto": log, "sft-fence-original-score": log[:1]})
    page = write_report(run).read_text()
    Checked(page)
    assert (
        (run / "figures" / "training.png").is_file()
        and "Preference pairs" in page
        and page.count("What the revision changed") == 6
        and "More pages" not in page
    )
    assert list(training_logs(run)) == ["fence", "kto", "sft-fence-original-score"]
    write_page(run, "r7_truthfulqa", "TruthfulQA", "Is it true?", [T])
    assert 'href="r7_truthfulqa.html"' in write_report(run).read_text()


def test_report_without(tmp_path):
    run = run_with(tmp_path, {"fence": [{"step": 1, "train_loss": 1.0}]})
    (run / "r4_preferences" / "preferences.jsonl").unlink()
    page = write_report(run).read_text()
    Checked(page)
    assert "Preference pairs" not in page and not (run / "figures" / "training.png").exists()
    (run / "r5_generator" / "fence" / "training.json").write_text("[]")
    with pytest.raises(InputError, match="training.json: not the record"):
        write_report(run)


def test_report_of_a_run_with_pages_stays_a_report(tmp_path, capsys):
    from fence_nb.app.cli import main

    run = run_with(tmp_path, {})
    write_page(run, "r7_truthfulqa", "TruthfulQA", "Is it true?", [T])
    assert main(["report", str(run)]) == 0
    assert "Results" in (run / "report.html").read_text()
    study = tmp_path / "study"
    write_page(study, "s1", "S", "lead", [T])
    assert main(["report", str(study)]) == 0 and 'href="s1.html"' in (study / "report.html").read_text()
