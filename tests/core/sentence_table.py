"""How many hard cases each splitter gets right: ours, and libraries where they are installed.

Run it for the table of `nbs/core/08_prose.ipynb`: python tests/core/sentence_table.py
The libraries: pip install sentencex pysbd syntok icu4py blingfire nupunkt uniseg
"""

import importlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fence_nb.core.text import sentence_spans

OPTIONAL = "~"
Splitter = Callable[[str, str], list[str]]  # language, text -> sentences


class Case(NamedTuple):
    "A text, and what a reader takes for its sentences."

    group: str  # english | languages | markdown
    language: str
    text: str
    pieces: list[str]  # with `OPTIONAL` before a piece that may be left out


def _case(line: str) -> Case:
    group, language, source = line.rstrip("\n").split("\t")
    escapes = {"\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\t": "\t"}
    source = re.sub(r"\\[\\nrt]", lambda match: escapes[match[0]], source)
    parts = source.split("¦")
    text = "".join(part.removeprefix(OPTIONAL) for part in parts)
    return Case(group, language, text, [part.strip() for part in parts if part.strip(" \n\r\t~")])


def read_cases() -> list[Case]:
    "The cases of the file beside this one."
    lines = Path(__file__).with_name("sentence_cases.txt").read_text(encoding="utf-8").splitlines()
    return [_case(line) for line in lines if line and not line.startswith("#")]


_LEADING = re.compile(
    r"^(?:[-*+•–>#|✅❌]+\s*|[QA]\d[.)]\s+|\(?(?:\d{1,2}|[a-z]|[ivx]+)[.)、]\s*|[一二]、|\[[x ]\]\s*|\*+|<[^>]+>|\s)",
    re.I,
)


def _bare(piece: str) -> str:
    "A piece without its marker and its emphasis, so that a splitter is not blamed for where it puts them."
    piece = re.sub(r"\s+", " ", piece)
    while _LEADING.match(piece):
        piece = _LEADING.sub("", piece)
    return re.sub(r"(?:<[^>]+>)+$", "", piece).strip(" *|>")


def is_right(found: list[str], case: Case) -> bool:
    "Whether a splitter found what a reader finds; optional pieces may be there, whole or line by line."
    wanted = [_bare(piece) for piece in case.pieces if not piece.startswith(OPTIONAL)]
    optional = [piece.removeprefix(OPTIONAL) for piece in case.pieces if piece.startswith(OPTIONAL)]
    free = {_bare(piece) for piece in optional} | {_bare(line) for piece in optional for line in piece.splitlines()}
    left = [_bare(piece) for piece in found]
    return [piece for piece in left if piece not in free and re.search(r"[^\W_]", piece)] == wanted


def _ours(rules: str) -> Splitter:
    return lambda language, text: [text[start:end] for start, end in sentence_spans(text, rules)]


def _sentencex(module) -> Splitter:
    return lambda language, text: list(module.segment(language, text))


def _pysbd(module) -> Splitter:
    known = set(importlib.import_module("pysbd.languages").LANGUAGE_CODES)

    def split(language: str, text: str) -> list[str]:
        segmenter = module.Segmenter(language=language if language in known else "en", clean=False, char_span=True)
        return [span.sent for span in segmenter.segment(text)]

    return split


def _syntok(module) -> Splitter:
    def split(language: str, text: str) -> list[str]:
        found = []
        for paragraph in module.analyze(text):
            for tokens in map(list, paragraph):
                found.append(text[tokens[0].offset : tokens[-1].offset + len(tokens[-1].value)])
        return found

    return split


def _icu4py(module) -> Splitter:
    def split(language: str, text: str) -> list[str]:
        segments = module.SentenceBreaker(text, f"{language}@ss=standard").segments()
        return [text[start:end] for start, end in segments]

    return split


def _blingfire(module) -> Splitter:
    def split(language: str, text: str) -> list[str]:
        return [text[start:end] for start, end in module.text_to_sentences_and_offsets(text)[1]]

    return split


def _nupunkt(module) -> Splitter:
    return lambda language, text: list(module.sent_tokenize(text))


def _uniseg(module) -> Splitter:
    return lambda language, text: list(module.sentences(text))


LIBRARIES = {  # name -> module, how it is asked
    "sentencex": ("sentencex", _sentencex),
    "pysbd": ("pysbd", _pysbd),
    "ICU with exceptions (icu4py)": ("icu4py.breakers", _icu4py),
    "uniseg (Unicode's rules)": ("uniseg.sentencebreak", _uniseg),
    "blingfire": ("blingfire", _blingfire),
    "nupunkt": ("nupunkt", _nupunkt),
    "syntok": ("syntok.segmenter", _syntok),
}


def splitters() -> dict[str, Splitter]:
    "Ours, the rule that ours replaces, and the libraries that are installed."
    found = {"ours": _ours("plain"), "ours before (rules pages)": _ours("pages")}
    for name, (module, opener) in LIBRARIES.items():
        try:
            found[name] = opener(importlib.import_module(module))
        except ImportError:
            continue
    return found


GROUPS = ("english", "languages", "markdown")


def shares(splitter: Splitter) -> dict[str, tuple[int, int]]:  # group -> right, all
    "How many cases of each group it gets right."
    counts = dict.fromkeys(GROUPS, (0, 0))
    for case in read_cases():
        right, total = counts[case.group]
        counts[case.group] = (right + is_right(splitter(case.language, case.text), case), total + 1)
    return counts


def _percent(right: int, total: int) -> str:
    return f"{100 * right / total:.0f} %"


def table() -> str:
    "The share right of each splitter, best first, as Markdown."
    rows = []
    for name, splitter in splitters().items():
        counts = shares(splitter)
        both = tuple(map(sum, zip(*counts.values(), strict=True)))
        rows.append((both[0], [name, *(_percent(*counts[group]) for group in GROUPS), _percent(*both)]))
    totals = [f"{group} ({shares(_ours('plain'))[group][1]})" for group in GROUPS]
    head = ["splitter", *totals, f"all ({len(read_cases())})"]
    body = [cells for _, cells in sorted(rows, key=lambda row: -row[0])]
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(table())
