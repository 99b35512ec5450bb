"The examples in nbs/recipes, where the packages that they are for are installed."

import importlib.util
import json

import pytest
from conftest import ROOT

from fence_nb.domains.examples import ANSWER, PAGE, example_lm

RECIPES = ROOT / "nbs" / "recipes"
ROWS = [
    {"question": "Who was Lio?", "contexts": ["Lio was born in Torin."]},
    {"question": "Who was Ines?", "contexts": [{"text": "Ines taught."}]},
]


def recipe(name: str):
    spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_file(path) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return str(path)


def test_inspect_scorer(tmp_path, endpoint):
    inspect_ai = pytest.importorskip("inspect_ai", reason="inspect_ai is not installed")
    from inspect_ai.model import ModelOutput
    from inspect_ai.solver import solver

    module = recipe("inspect_facts")
    assert [sample.metadata["documents"] for sample in module.samples(rows_file(tmp_path / "rag.jsonl"))] == [
        ["Lio was born in Torin."],
        ["Ines taught."],
    ]

    @solver
    def given(texts):
        "Answers without a model."

        async def solve(state, generate):
            state.output = ModelOutput.from_content("none", texts[state.input_text])
            return state

        return solve

    def answered(task, texts):
        task = inspect_ai.task_with(task, solver=given(texts))
        (log,) = inspect_ai.eval(task, model="mockllm/model", display="none", log_dir=str(tmp_path))
        assert log.status == "success", log.error
        return log

    log = answered(
        module.facts(str(tmp_path / "rag.jsonl"), endpoint),
        {"Who was Lio?": "Lio was born in Torin.", "Who was Ines?": "Ines was born."},
    )
    assert log.results.scores[0].metrics["mean"].value == 0.5
    sample = inspect_ai.dataset.Sample(input=ANSWER.prompt, metadata={"documents": [PAGE.text]})
    scorer = module.supported_claims(example_lm())
    log = answered(inspect_ai.Task(dataset=[sample], scorer=scorer), {ANSWER.prompt: ANSWER.text})
    score = log.samples[0].scores["supported_claims"]
    assert score.value == 0.5 and "Contradictory: Ada Vell studied law." in score.explanation


def test_lm_evaluation_harness_task(tmp_path, endpoint, monkeypatch):
    lm_eval = pytest.importorskip("lm_eval", reason="lm_eval is not installed")
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Fixed(LM):
        "Says that everybody was born in Torin."

        def generate_until(self, requests):
            return [f"{request.args[0].split()[-1].strip('?')} was born in Torin." for request in requests]

        def loglikelihood(self, requests):
            raise NotImplementedError

        loglikelihood_rolling = loglikelihood

    rows_file(tmp_path / "rag.jsonl")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FENCE_MODEL", endpoint)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    tasks = TaskManager(include_path=str(RECIPES))
    found = lm_eval.simple_evaluate(Fixed(), tasks=["fence_facts"], task_manager=tasks, bootstrap_iters=0)
    assert found["results"]["fence_facts"]["supported,none"] == 0.5
