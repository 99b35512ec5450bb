"Judging can be imported, and an endpoint can judge, where torch and transformers are not installed."

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
for name in ("torch", "transformers", "datasets", "sklearn"):
    sys.modules[name] = None  # as if it were not installed
import fence_nb.judging as wing
for module in pkgutil.iter_modules(wing.__path__):
    importlib.import_module(f"fence_nb.judging.{module.name}")
from fence_nb.domains.examples import PAGE, example_claims, example_lm
from fence_nb.judging.judges import JudgeOptions, open_judge
judge = open_judge(example_lm(), JudgeOptions(with_probs=False))
print([j.label.value for j in judge.judge([(c, [PAGE]) for c in example_claims()])[0]])
"""


def test_without_torch():
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert found.stdout.strip() == "['Supported', 'Contradictory', 'Supported', 'Unverified']", found.stderr[-800:]
