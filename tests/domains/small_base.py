"""What a chat phase teaches the base model of `factbook`: `python tests/domains/small_base.py --chat_steps 30`.

The base model is built as a run builds it, and asked about development countries, about which it was taught nothing:
for fact sheets, for sheets about the economy and for prose, at the temperature of the candidates and at 0, and for
corrections whose values no critique has named before. Any setting of the domain may follow, as `--chat_lr 1e-3`.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

import torch

from fence_nb.core.settings import load_profile
from fence_nb.core.text import sentence_spans
from fence_nb.domains.domain import open_domain
from fence_nb.domains.factbook.factbook import FactbookDomain
from fence_nb.domains.factbook.facts import SHEETS, book_label, read_fact
from fence_nb.domains.factbook.sheets import correction_row, prose_question, sheet_question, told_facts
from fence_nb.models.interface import Conversation, LanguageModel
from fence_nb.models.local import open_lm

CORRECTIONS = 60


def question(text: str) -> Conversation:
    "One message of a user."
    return [{"role": "user", "content": text}]


def percent(part: float, whole: float) -> str:
    "A share, for people."
    return f"{100 * part / whole:.1f} %" if whole else "none"


def facts_stated(domain: FactbookDomain, text: str, name: str) -> list[tuple[str, bool | None]]:
    "The relation of each sentence about a country, in order, and whether it is right; None: the book cannot tell."
    stated = []
    for start, end in sentence_spans(text):
        fact = read_fact(text[start:end], name)
        if fact and domain.book.find(fact.country) is domain.book.find(name):
            stated.append((fact.relation, book_label(domain.book, text[start:end], name)))
    return stated


def try_sheets(domain: FactbookDomain, lm: LanguageModel, sheet: str, temperature: float, samples: int) -> None:
    "Print how many of the asked sentences can be read, whether they are in order, and how many are right."
    start = time.time()
    countries = domain.countries("development")
    questions = [question(sheet_question(domain.book, country, sheet)) for country in countries]
    options = {"temperature": temperature, "max_new_tokens": domain.p.max_new_tokens, "seed": 1}
    replies = lm.generate(questions, n=samples, **options)
    asked = readable = repeated = whole = cut = 0
    right: dict[str, list[bool]] = {fact.name: [] for fact in SHEETS[sheet]}
    for country, of_country in zip(countries, replies, strict=True):
        wanted = [fact.name for fact in told_facts(domain.book, country, sheet)]
        for reply in of_country:
            stated = facts_stated(domain, reply.text, country.name)
            relations = [relation for relation, _ in stated]
            asked += len(wanted)
            readable += len(set(relations) & set(wanted))
            repeated += len(relations) - len(set(relations))
            whole += relations == wanted
            cut += not reply.finished
            for relation, label in stated:
                if relation in right and label is not None:
                    right[relation].append(label)
    labels = [label for of_relation in right.values() for label in of_relation]
    n = samples * len(countries)
    by_relation = ", ".join(f"{name} {sum(of)}/{len(of)}" for name, of in right.items())
    print(
        f"{sheet} at {temperature}: {percent(readable, asked)} of the asked sentences readable, {repeated / n:.2f} "
        f"repeated a sheet, {percent(whole, n)} of the sheets whole and in order, {percent(cut, n)} cut; "
        f"{percent(sum(labels), len(labels))} of {len(labels)} right ({by_relation}); {time.time() - start:.0f} s",
        flush=True,
    )
    print(f"    {replies[3][0].text}", flush=True)


def try_prose(domain: FactbookDomain, lm: LanguageModel, temperature: float) -> None:
    "Print how many claims of free prose can be read."
    countries = domain.countries("development")
    questions = [question(prose_question(country)) for country in countries]
    replies = lm.generate(questions, temperature=temperature, max_new_tokens=domain.p.max_new_tokens, seed=1)
    labels = []
    for country, (reply,) in zip(countries, replies, strict=True):
        for begin, end in sentence_spans(reply.text):
            labels.append(book_label(domain.book, reply.text[begin:end], country.name))
    told = [label for label in labels if label is not None]
    right = percent(sum(told), len(told))
    print(f"prose at {temperature}: {len(told)} of {len(labels)} sentences readable, {right} right")
    print(f"    {replies[3][0].text}", flush=True)


def try_corrections(domain: FactbookDomain, lm: LanguageModel) -> None:
    "Print how many corrections are what follows from the critique, letter by letter, and what some others are."
    rng = random.Random(5)
    countries = domain.countries("development")
    rows = [correction_row(domain.book, domain.prompts, rng, countries) for _ in range(CORRECTIONS)]
    replies = lm.generate([row["prompt"] for row in rows], max_new_tokens=domain.p.rewrite_tokens)
    wanted = [row["completion"][0]["content"] for row in rows]
    given = [reply.text for (reply,) in replies]
    wrong = [(text, right) for text, right in zip(given, wanted, strict=True) if text != right]
    print(f"corrections: {percent(len(rows) - len(wrong), len(rows))} of {len(rows)} copy the value")
    for text, right in wrong[:6]:
        print(f"    {text}\n        for: {right}", flush=True)


def main() -> None:
    "Build and try."
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=3, help="answers to each question, above temperature 0")
    parser.add_argument("--folder", help="where the base model is kept; a temporary one otherwise")
    args, others = parser.parse_known_args()
    overrides = dict(zip((name.removeprefix("--") for name in others[::2]), others[1::2], strict=True))
    torch.set_num_threads(2)
    domain = open_domain(load_profile("factbook-dev", overrides))
    with tempfile.TemporaryDirectory() as temporary:
        start = time.time()
        path = domain.base_model(Path(args.folder or temporary, "base")).path
        print(f"{overrides}: built in {time.time() - start:.0f} s", flush=True)
        lm = open_lm(path, fast=True)
        try_sheets(domain, lm, "facts", domain.p.temperature, args.samples)
        try_sheets(domain, lm, "facts", 0.0, 1)
        try_corrections(domain, lm)
        try_sheets(domain, lm, "economy", domain.p.temperature, 1)
        try_prose(domain, lm, domain.p.temperature)


if __name__ == "__main__":
    main()
