"What `lm_eval_facts.yaml` calls with each answer."

import os
from functools import cache

import fence_nb as f


@cache
def judge() -> object:
    "The model that splits and judges, opened once."
    return f.open_lm(os.environ["FENCE_MODEL"])


def process_results(doc: dict, results: list[str]) -> dict[str, float]:
    "The share of supported claims, from 0 to 1; nothing where an answer has no claims or could not be read."
    scored = f.score([doc | {"response": results[0]}], model=judge(), fields={"text": "response"})
    share = None if scored.is_unread else scored.summary.facts_pct
    return {} if share is None else {"supported": share / 100}
