"""Is it true, and how much of it? Judge claims, score answers, revise them, and train models that err less.

    import fence_nb as f

    scored = f.score(answers, documents="docs.jsonl", model="http://localhost:8000/v1#my-model")
    scored.claims   # a DataFrame: response, claim, span, label, probability, critique, documents
    scored.summary  # the share of supported claims, with its interval

`f.judge`, `f.score` and `f.revise` are what `fence judge`, `fence score` and `fence revise` call. Nothing is imported
before it is asked for, so that `import fence_nb` takes no time and needs no torch.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_DOOR = {
    "fence_nb.app.door": (
        "judge",
        "score",
        "revise",
        "compare_judges",
        "JudgedClaims",
        "ScoredAnswers",
        "RevisedAnswers",
        "ComparedJudges",
    ),
    "fence_nb.judging.judges": ("open_judge", "JudgeOptions"),
    "fence_nb.models.local": ("open_lm",),
    "fence_nb.core.records": (
        "Claim",
        "Document",
        "Failure",
        "InputError",
        "JudgedClaim",
        "Judgment",
        "Label",
        "Preference",
        "Prompt",
        "Response",
        "Revision",
    ),
}
_MODULE_BY_NAME = {name: module for module, names in _DOOR.items() for name in names}

__all__ = ["__version__", *_MODULE_BY_NAME]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module 'fence_nb' has no attribute {name!r}; it has {', '.join(_MODULE_BY_NAME)}")
    value = getattr(importlib.import_module(_MODULE_BY_NAME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
