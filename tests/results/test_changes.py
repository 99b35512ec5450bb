"What training changed: kept, lost and gone, whether silence was wise, and how the report shows it."

import csv
import json
import math
import sys
from pathlib import Path

import pytest
from test_pages import Checked

from fence_nb.core.records import Claim, Document, InputError, Judgment, Label, Prompt, Response
from fence_nb.core.store import write_records
from fence_nb.results.changes.before_after import fifths_by, read_stage_answers, stopped_parts
from fence_nb.results.changes.stopped import (
    ASKED_AGAIN,
    Change,
    Statement,
    change_figures,
    changes_between,
    count_changes,
    next_samples,
    statements_of,
    wisdom_words,
)
from fence_nb.results.changes.world_map import equal_earth, outlines, places_words
from fence_nb.results.report import stage_records, write_report

TOPICS = ["Japan", "Kenya", "Kosovo", "Nauru"]
CODES = {"Japan": "JP", "Kenya": "KE", "Kosovo": "XK", "Nauru": "NR"}
MATTERS = ("capital", "currency")
BAD = "<script>alert('x\")</script>"


def change(before: bool | None, after: bool | None, prompt: str = "p") -> Change:
    sides = [None if right is None else Statement("m", right, f"{right}") for right in (before, after)]
    return Change(prompt, 0, "m", *sides)


def write_test(run: Path, samples: int = 2, topics: dict | None = None, word: str = "true") -> Path:
    "A test stage: base says two things of everybody, fence leaves out what is wrong of the last two topics."
    stage = run / "r6_generator_test"
    kinds = {"prompts": Prompt, "responses": Response, "claims": Claim, "judgments": Judgment}
    records = {kind: [] for kind in kinds.values()}
    values = {"base": {"0.7": []}, "fence": {"0.7": []}}
    for rank, topic in enumerate(TOPICS):
        records[Prompt].append(Prompt(id=topic, text="?", topic=topic, popularity=-rank, group=f"g{rank // 2}"))
    for arm in values:
        for sample in range(samples):
            for rank, topic in enumerate(TOPICS):
                right = {"capital": rank < 2 or sample == 1, "currency": rank == 0}
                said = [m for m in MATTERS if arm == "base" or right[m] or rank < 2]
                texts = [f"The {m} of {topic} is {word if right[m] else 'false'}." for m in said]
                response = Response(
                    prompt_id=topic,
                    prompt="?",
                    text=" ".join(texts),
                    topic=topic,
                    generator=arm,
                    sample=sample,
                    temperature=0.7,
                )
                records[Response].append(response)
                for m, text in zip(said, texts, strict=True):
                    start = response.text.index(text)
                    claim = Claim(response_id=response.id, text=text, start=start, end=start + len(text))
                    label = Label.SUPPORTED if right[m] else Label.CONTRADICTORY
                    records[Claim].append(claim)
                    records[Judgment].append(Judgment(claim_id=claim.id, label=label))
                values[arm]["0.7"].append([topic, "".join(str(int(right[m])) for m in said), said, 0])
    for name, kind in kinds.items():
        write_records(stage / f"{name}.jsonl", records[kind])
    (stage / "values.json").write_text(json.dumps(values))
    if topics:
        (stage / "topics.json").write_text(json.dumps(topics))
    (run / "metrics.json").write_text(json.dumps({"profile": "toy", "seed": 0}))
    return stage


def test_every_claim_of_base_ends_somewhere():
    every = [change(before, after) for before in (True, False, None) for after in (True, False, None)][:-1]
    counts = count_changes(every)
    assert counts == {
        "right": 3,
        "kept": 1,
        "lost": 1,
        "spoiled": 1,
        "wrong": 3,
        "gone": 1,
        "corrected": 1,
        "won": 2,
        "stopped": 2,
        "said": 6,
    }
    figures = change_figures(every)
    assert figures.kept + figures.lost + figures.spoiled == pytest.approx(100)
    assert figures.stopped_wrong == 50 and figures.wisdom == 0


def test_silence_is_wise_when_the_worse_half_goes():
    wise = [change(True, True, f"p{k}") for k in range(20)] + [change(False, None, f"p{k}") for k in range(20)]
    figures = change_figures(wise)
    assert (figures.lost, figures.gone, figures.wisdom) == (0, 100, 50)
    assert "So it was wise" in wisdom_words("fence", figures)
    unwise = [change(True, None, f"p{k}") for k in range(20)] + [change(False, False, f"p{k}") for k in range(20)]
    assert "So it was unwise" in wisdom_words("fence", change_figures(unwise))
    random = [change(right, None, f"p{k}") for k in range(20) for right in (True, False)]
    assert "no better than chance" in wisdom_words("fence", change_figures(random))


def test_statements_follow_topics_and_else_words(tmp_path):
    stage = write_test(tmp_path, samples=1)
    records = stage_records(stage)
    rows = json.loads((stage / "values.json").read_text())["base"]["0.7"]
    assert list(statements_of("base", records, rows)["Japan", 0]) == ["capital", "currency"]
    (stage / "values.json").unlink()
    answers = read_stage_answers(stage, records)
    by_words = statements_of("base", records, answers.rows_by_arm["base"])
    assert list(by_words["Japan", 0])[0] == "the capital of japan is true"
    with pytest.raises(InputError, match="run r6_generator_test again"):
        statements_of("base", records, rows[1:])


def test_of_two_claims_about_one_matter_the_right_one_counts(tmp_path):
    response = Response(prompt_id="p", prompt="?", text="A. B.", generator="base")
    claims = [Claim(response_id=response.id, text=text, start=0, end=2) for text in ("A.", "B.")]
    judged = [Judgment(claim_id=claims[1].id, label=Label.SUPPORTED)]
    records = {Response: [response], Claim: claims, Judgment: judged}
    statement = statements_of("base", records, [["p", "?1", ["m", "m"], 0]])["p", 0]["m"]
    assert statement.right and statement.text == "B."


def test_base_asked_again_is_the_measure_of_chance(tmp_path):
    stage = write_test(tmp_path)
    answers = read_stage_answers(stage, stage_records(stage))
    rows = {row[0]: row for row in stopped_parts(answers, n=50).tables[0].rows}
    assert list(rows) == ["fence", ASKED_AGAIN]
    alone = write_test(tmp_path / "one", samples=1)
    answers = read_stage_answers(alone, stage_records(alone))
    assert [row[0] for row in stopped_parts(answers, n=50).tables[0].rows] == ["fence"]
    before = statements_of("base", answers.records, answers.rows_by_arm["base"])
    assert next_samples(before) == {} and all(c.before == c.after for c in changes_between(before, before))


def test_report_shows_what_changed(tmp_path):
    area = {"area": dict(zip(TOPICS, (4, 3, 2, 1), strict=True))}
    stage = write_test(tmp_path, topics={"places": CODES, "proxies": area})
    page = write_report(tmp_path).read_text()
    Checked(page)
    assert "What fence stopped saying" in page and "So it was wise" in page
    assert "Wrong, and no longer said:</b> The capital of Nauru is false." in page
    assert "Without an outline, drawn as dots: Nauru. Not on the map: Kosovo." in page
    assert (tmp_path / "figures" / "world.png").is_file() and (tmp_path / "figures" / "proxy_1.png").is_file()
    rows = list(csv.DictReader((tmp_path / "changes.csv").open()))
    gone = [row for row in rows if row["after"] == "not said"]
    assert len(rows) == 16 and {row["before"] for row in gone} == {"wrong"}
    assert write_report(tmp_path).read_text() == page, "the same files give the same page"
    claims = {claim.text: claim for claim in reversed(stage_records(stage)[Claim])}
    page_of_nauru = Document(text="The capital of Nauru is true.", title="Nauru")
    said = [
        Judgment(
            claim_id=claims["The capital of Nauru is false."].id,
            label=Label.CONTRADICTORY,
            critique="They differ.",
            document_ids=[page_of_nauru.id],
        ),
        Judgment(claim_id=claims["The capital of Japan is true."].id, label=Label.UNVERIFIED, critique="Nothing."),
    ]
    write_records(stage / "critiques.jsonl", [page_of_nauru, *said])
    page = write_report(tmp_path).read_text()
    Checked(page)
    assert "it agrees on 1 of 2 claims" in page and "The evaluator: ✗ Contradictory. They differ." in page
    assert "The evaluator: ? Unverified. Nothing." in page and "<blockquote>The capital of Nauru is true." in page


def test_a_domain_without_places_has_no_map(tmp_path):
    write_test(tmp_path)
    page = write_report(tmp_path).read_text()
    assert "stopped saying" in page and "Where on Earth" not in page and not (tmp_path / "figures").exists()


def test_without_the_outlines_a_line_says_so(tmp_path, monkeypatch):
    write_test(tmp_path, topics={"places": CODES})
    outlines.cache_clear()
    monkeypatch.setitem(sys.modules, "countryinfo", None)
    monkeypatch.setattr("fence_nb.core.records._is_installed", lambda module: module != "countryinfo")
    page = write_report(tmp_path).read_text()
    Checked(page)
    assert "No map was drawn: countryinfo needs the extra &#39;runs&#39;" in page
    assert "stopped saying" in page and not (tmp_path / "figures" / "world.png").exists()


def test_texts_cannot_get_out_of_the_page(tmp_path):
    write_test(tmp_path, topics={"places": {"Japan": BAD}, "proxies": {BAD: {"Japan": 1, "Kenya": 2}}}, word=BAD)
    page = write_report(tmp_path).read_text()
    Checked(page)
    assert "<script" not in page and "&lt;script" in page


def test_damaged_files_are_named(tmp_path):
    stage = write_test(tmp_path)
    (stage / "topics.json").write_text('{"cities": {}}')
    with pytest.raises(InputError, match="topics.json: expected places and proxies"):
        write_report(tmp_path)


def test_the_map_keeps_areas_and_names_what_it_lacks():
    corners = equal_earth([[-180, 0], [180, 0], [0, 90], [0, -90]])
    assert corners.round(2).tolist() == [[-2.71, 0], [2.71, 0], [0, 1.32], [0, -1.32]]
    for latitude in (0, 40, 75):  # a small square of degrees has the area that it has on the globe
        square = equal_earth([[0, latitude], [1, latitude], [1, latitude + 1], [0, latitude + 1]])
        x, y = square.T
        area = abs(sum(x[i - 1] * y[i] - x[i] * y[i - 1] for i in range(4))) / 2
        globe = math.radians(1) * (math.sin(math.radians(latitude + 1)) - math.sin(math.radians(latitude)))
        assert area == pytest.approx(globe, rel=0.02)
    assert places_words({"Japan": "JP"}) == "" and "-99" not in outlines() and "FR" in outlines()


def test_fifths_are_of_equal_size():
    fifths = fifths_by({f"t{k}": float(k) for k in range(10)})
    assert fifths["t9"] == fifths["t8"] == "first fifth" and fifths["t0"] == "last fifth"
