"""Decisions of the gold scorer, drawn by seed, for a person to check by reading.

`python tests/domains/check_facts.py [--seed 0] [--n 200]` prints sentence, label and the text of the field.
A third of the sentences state an answer of the book, a third that of another country. The last third is worded as
models word things: other spellings, longer names, everyday words, clauses at the end.
"""

import argparse
import random

from fence_nb.domains.factbook.book import Book, Country, clip_words, read_book
from fence_nb.domains.factbook.facts import FACTS, FactRelation, answers_of, book_label, fact_sentence

EVERYDAY = {
    "capital": ("{v} City", "the city of {v}", "{v}, which is also its largest city"),
    "continent": ("the Caribbean", "Southeast Asia", "West Africa", "Eastern Europe", "Central America", "the Pacific"),
    "official language": ("the {v} language", "English", "French", "Arabic", "Spanish and English", "Creole"),
    "currency": ("dollar", "US dollar", "euro", "franc", "local {v}", "CFA franc", "pound"),
    "neighbor": ("{v} to the north", "the United States", "China", "France and {v}", "Brazil"),
    "year of independence": ("the year {v}", "July {v}", "1 July 1962", "1960", "1975"),
    "main export": (
        "oil",
        "textiles",
        "coffee",
        "seafood",
        "electronics",
        "crude oil",
        "machinery",
        "sugar",
        "tourism",
    ),
    "highest point": ("{v} (at 3,000 m)", "Mt. {v}", "{v}, at 2,100 meters above sea level", "Mount Everest"),
}


def sentence_of(book: Book, rng: random.Random, country: Country, relation: FactRelation, kind: str) -> str:
    "A sentence about a country: true, swapped with another country's value, or worded as a model may."
    answers = answers_of(book, country, relation.name)
    others = [c for c in book.countries if answers_of(book, c, relation.name) and c is not country]
    other = answers_of(book, rng.choice(others), relation.name)[0]
    if kind == "true":
        return fact_sentence(country, relation.name, rng.choice(answers), rng.randrange(3))
    if kind == "swapped":
        return fact_sentence(country, relation.name, other, rng.randrange(3))
    form = rng.choice(EVERYDAY[relation.name])
    value = rng.choice((answers[0], answers[0], other))
    if value == relation.none:
        return fact_sentence(country, relation.name, value)
    return fact_sentence(country, relation.name, form.replace("{v}", value), rng.choice((0, 0, 2)))


def decisions(book: Book, n: int, seed: int) -> list[tuple[str, str, str, bool | None, str]]:
    "Country, relation, sentence, label and field of each."
    rng = random.Random(seed)
    kinds = ("true", "swapped", "model")
    rows = []
    while len(rows) < n:
        country = rng.choice(book.countries)
        relation = FACTS[len(rows) % len(FACTS)]
        if not answers_of(book, country, relation.name):
            continue
        text = sentence_of(book, rng, country, relation, kinds[len(rows) // len(FACTS) % 3])
        field = " | ".join(country.fields[path] for path in relation.paths if path in country.fields)
        rows.append((country.name, relation.name, text, book_label(book, text), clip_words(field, 45)))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n", type=int, default=200)
    args = parser.parse_args()
    for i, (_, _, text, label, field) in enumerate(decisions(read_book(), args.n, args.seed)):
        print(f"{i:3} {label!s:<5} {text}\n          {field}".replace("\n          ", "\n      "))
