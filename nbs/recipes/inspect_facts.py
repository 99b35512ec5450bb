"""An Inspect AI task: the share of each answer's claims that the documents of its row support.

inspect eval nbs/recipes/inspect_facts.py --model openai/gpt-4o-mini -T rows=rag.jsonl -T judge=http://localhost:8000/v1#my-model

A row has a question and documents, under any of the names in nbs/core/07_rows.ipynb. The model of Inspect answers, and
the model behind `judge` splits and judges.
"""

import asyncio

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate

import fence_nb as f
from fence_nb.core.rows import as_documents, open_table, read_fields


@scorer(metrics=[mean(), stderr()])
def supported_claims(judge: object, **options: object) -> Scorer:
    "From 0 to 1. What could not be read has no score. Options are those of `f.score`."

    async def score(state: TaskState, target: Target) -> Score:
        row = {"question": state.input_text, "answer": state.output.completion}
        row["documents"] = state.metadata["documents"]
        scored = await asyncio.to_thread(f.score, [row], model=judge, **options)
        share = None if scored.is_unread else scored.summary.facts_pct
        if share is None:  # Inspect leaves it out of the mean
            return Score(value=float("nan"), answer=row["answer"], explanation=" ".join(scored.notes) or "no claims")
        claims = scored.rows()[0]["claims"]
        critiques = [f"{claim['label']}: {claim['text']} {claim.get('critique', '')}" for claim in claims]
        return Score(
            value=share / 100, answer=row["answer"], explanation="\n".join(critiques), metadata={"claims": claims}
        )

    return score


def samples(rows: str) -> list[Sample]:
    "The questions of a file, with their documents."
    made = []
    for place, row in open_table(rows):
        found = read_fields(row, ("prompt", "documents"), place=place)
        documents = [document.text for document in as_documents(found["documents"][1], place)]
        made.append(Sample(input=found["prompt"][1], metadata={"documents": documents}))
    return made


@task
def facts(rows: str, judge: str) -> Task:
    "Answer the questions of a file, and score the answers."
    return Task(dataset=MemoryDataset(samples(rows)), solver=generate(), scorer=supported_claims(judge))
