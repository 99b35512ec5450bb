"""How readable the house is, in figures: `python tests/count_house.py [FOLDER]` prints them for a checkout.

They are told as a direction. Nothing here is a limit; the limits stand in `tests/test_house.py`.
"""

import ast
import json
import re
import sys
from collections import Counter
from pathlib import Path

# Names that are ordinary English words and say nothing of what they hold.
COMMON = set(
    "about above after again all along also any apart around as asked at away back before begun behind below beside"
    " better between both by called close come cut deep did done down each else even ever far few first for found from"
    " full gave given go gone good got grown had half has have heard heat held here high how in it just kept known"
    " last late later least left less let like long look looks lost low made main make many mean meant might mine more"
    " most much must named narrow near new next none not now of off old on once one only open other out over own part"
    " parts past plain put quite rather read said same saw seen short shown side since so some soon sort sure taken"
    " than that the them then there these they things this those to together told too took touched tried true turn two"
    " under until up upon used very want wanted was way ways well went were what when where which while who whole why"
    " wide wish with within without words work worst yes yet".split()
)


def code_cells(path: Path) -> list[tuple[str, dict]]:
    "Source and cell of each code cell of a notebook."
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [("".join(c["source"]), c) for c in cells if c["cell_type"] == "code"]


def library_notebooks(root: Path) -> list[Path]:
    "Notebooks that export a module, in the flat house or in wings."
    return [
        n
        for n in sorted((root / "nbs").rglob("[0-9]*.ipynb"))
        if any(s.startswith("#| default_exp") for s, _ in code_cells(n))
    ]


def is_import_cell(source: str) -> bool:
    "Only imports, and perhaps comments."
    if source.startswith("%"):
        return False
    return all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(source).body)


def assigned_names(tree: ast.AST) -> list[str]:
    "Every name that is bound: by assignment, loop, with or comprehension."
    return [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def counts(root: Path) -> dict[str, float]:
    "The figures of one checkout."
    modules = [f for f in sorted((root / "fence_nb").rglob("*.py")) if not f.name.startswith("_")]
    tests = sorted((root / "tests").rglob("*.py"))
    text = {f: f.read_text(encoding="utf-8") for f in modules + tests}
    lines = [line for f in modules for line in text[f].splitlines() if line.strip()]
    trees = [ast.parse(text[f]) for f in modules]
    nodes = [n for t in trees for n in ast.walk(t)]
    names = [name for t in trees for name in assigned_names(t)]
    exported, lessons = [], []
    for notebook in library_notebooks(root):
        for source, cell in code_cells(notebook):
            if source.startswith("#| export"):
                if not is_import_cell(source):
                    exported.append(source)
            elif not source.startswith(("#| hide", "#| default_exp")) and not is_import_cell(source):
                lessons.append(bool(cell["outputs"]))
    public = Counter(
        name
        for t in trees
        for node in t.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        for name in ast.literal_eval(node.value)
    )
    comprehensions = sum(isinstance(n, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) for n in nodes)
    wide = [line for f in modules + tests for line in text[f].splitlines() if len(line) > 120]
    domain = re.compile(r"\bp\.task\b|\.task [!=]=|\bteacher [!=]= \"")
    switches = [m for f in modules if f.parent.name != "domains" for m in domain.findall(text[f])]
    return {
        "modules": len(modules),
        "exported lines that are not blank": len(lines),
        "exported bytes": sum(len(text[f].encode()) for f in modules),
        "lines over 120 in exported code and tests": len(wide),
        "public names with two meanings": sum(n > 1 for n in public.values()),
        "switches on the kind of experiment outside domains": len(switches),
        "exported cells": len(exported),
        "exported cells over 25 lines, %": 100 * sum(s.count("\n") >= 25 for s in exported) / max(1, len(exported)),
        "lesson cells that show a value, %": 100 * sum(lessons) / max(1, len(lessons)),
        "names that are common English words, %": 100 * sum(n in COMMON for n in names) / max(1, len(names)),
        "comprehensions per 100 lines": 100 * comprehensions / max(1, len(lines)),
    }


if __name__ == "__main__":
    roots = [Path(a) for a in sys.argv[1:]] or [Path(__file__).resolve().parent.parent]
    columns = [counts(root) for root in roots]
    for name in columns[0]:
        print(f"{name:<52}", *(f"{column[name]:>10,.1f}" for column in columns))
