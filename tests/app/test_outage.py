"A server is down for a while: the next start asks again for what it owes, keeps the rest, and ends as if nothing were."

from collections import Counter

import pytest

import fence_nb as f
from fence_nb.app import evaluator, generator
from fence_nb.app.runs import Stage
from fence_nb.core.records import Document, Failure, InputError, JudgedClaim, Label, Prompt, Response
from fence_nb.core.settings import load_profile
from fence_nb.core.store import records_of_kind
from fence_nb.core.work import ChunkWork
from fence_nb.domains.domain import DOMAINS, JudgedSplit, LookupScorer, PlainDomain
from fence_nb.evidence.tools import FunctionTool, Toolbox
from fence_nb.judging.judge import LMJudge
from fence_nb.judging.prompts import TERSE
from fence_nb.models.interface import Reply, ScriptedLM

NAMES = ("Ines Holt", "Juro Pell", "Kea Marsh", "Lio Tarn")
KINDS = {
    "candidates": "Tell me of",
    "splitting": "Split:",
    "planning": "Tools:",
    "judging": "Judge the claim.",
    "knowledge": "True, false or unknown",
    "revision": "Correct the sentence.",
    "critiques": "Judge the claim.",
}


def script(conversation, sample, seed):
    question = next(m["content"] for m in reversed(conversation) if m["role"] == "user")
    if question.startswith("Tell me of"):
        name = question.removeprefix("Tell me of ").removesuffix(".")
        return f"{name} mended clocks in Orsk. {name} owned {sample + 1} boats."
    if question.startswith("Split:"):
        return "- " + question.splitlines()[0].removeprefix("Split: ")
    if question.startswith("Tools:"):
        return f'kb("{" ".join(question.split()[1:3])}")'
    if question.startswith("True, false"):
        return "false"
    if "Correct the sentence" in question:
        return question.splitlines()[0].removeprefix("Sentence: ").replace("boats", "sledges")
    label = Label.CONTRADICTORY if "boats" in question.rpartition("Claim:")[2] else Label.SUPPORTED
    return f"The page is clear about it.\nLabel: {label.value}"


class Flaky(ScriptedLM):
    "A server that owes an answer to questions with some words in them, while it is down."

    def __init__(self, *words):
        super().__init__(script, "flaky")
        self.down: tuple[str, ...] = words
        self.gone = False
        self.asked = Counter()

    def generate(self, conversations, **given):
        if self.gone:
            raise InputError("flaky: nobody answers")
        replies = super().generate(conversations, **{k: v for k, v in given.items() if k != "desc"})
        for k, conversation in enumerate(conversations):
            text = " ".join(m["content"] for m in conversation)
            self.asked.update(name for name in NAMES if name in text)
            if self.down and all(word in text for word in self.down):
                replies[k] = [Reply("", False, "flaky: status 503, 6 tries")] * len(replies[k])
        return replies


class Clockmakers(PlainDomain):
    "Four people who mended clocks, and a book about them."

    offline = True
    server: Flaky  # set by each test

    def judged_claims(self, toolbox):
        rows = [
            JudgedClaim(
                claim=f"{name} owned {what}.", documents=book(name), supported=what == "clocks", label=label, topic=name
            )
            for name in NAMES
            for what, label in (("clocks", Label.SUPPORTED), ("boats", Label.CONTRADICTORY))
        ]
        return JudgedSplit(rows, rows, [])

    def questions(self, split):
        return [Prompt(text=f"Tell me of {name}.", topic=name, split=split) for name in NAMES]

    @property
    def has_teacher(self):
        return True

    def teacher(self):
        return self.server

    def gold_scorer(self, splitter):
        return LookupScorer(splitter, TERSE, lambda claim: "clocks" in claim, "the book")


def book(name: str) -> list[Document]:
    return [Document(title=name, text=f"{name} mended clocks in Orsk and owned a sledge.")]


def make(kind: str, server: Flaky, folder, monkeypatch):
    "One part of a run, as its stage does it, in pieces of one prompt or two claims."
    domain = type("Clockmakers", (Clockmakers,), {"server": server})
    monkeypatch.setitem(DOMAINS, "clockmakers", domain)
    judge = LMJudge(server, TERSE, with_probs=False)
    monkeypatch.setattr(generator, "open_model", lambda p, spec, chat=True: server)
    monkeypatch.setattr(generator, "open_evaluator", lambda p, folder, **how: judge)
    monkeypatch.setattr(evaluator, "open_judge", lambda spec, options: judge)
    changes = {"domain": "clockmakers", "prompts": "terse", "n_candidates": 2, "rounds": 2, "arms": "self_eval,fence"}
    p = load_profile("toy", changes)
    toolbox = Toolbox([FunctionTool("kb", 'kb("name")', lambda call: book(call.query))])
    train = domain(p).judged_claims(toolbox).train
    if kind == "critiques":  # r1
        return evaluator.evaluator_rows(p, train, toolbox, folder / "rows.jsonl", chunk=2)
    if kind == "judge test":  # r3
        return evaluator.test_evaluator(p, "evaluator", train, folder / "test.jsonl", chunk=2)[1]
    if kind == "generator test":  # r6
        scorer = domain(p).gold_scorer(server)
        return generator.test_generator(p, "base", scorer, 1.0, folder / "arm.jsonl", chunk=1)
    records = generator.preference_records(p, "base", "full", toolbox, folder / "records.jsonl", chunk=1)
    return records + generator.self_records(p, "base", records, folder / "self_records.jsonl", chunk=1)


def passing(records) -> list[Failure]:
    return [failure for failure in records_of_kind(records, Failure) if failure.may_pass]


@pytest.mark.parametrize(
    "part, words",
    [(part, KINDS[part]) for part in ("candidates", "splitting", "planning", "judging", "knowledge", "revision")]
    + [("critiques", KINDS["critiques"]), ("judge test", KINDS["judging"])]
    + [("generator test", KINDS["candidates"]), ("generator test", KINDS["splitting"])],
)
def test_what_an_outage_took_is_asked_again(part, words, tmp_path, monkeypatch):
    whole = make(part, Flaky(), tmp_path / "whole", monkeypatch)
    assert not passing(whole)
    server = Flaky(words, "Kea Marsh")
    hurt = make(part, server, tmp_path / "run", monkeypatch)
    assert passing(hurt) and hurt != whole
    server.asked.clear()
    assert make(part, server, tmp_path / "run", monkeypatch) == hurt, "still down: what is there is kept"
    assert "Kea Marsh" in server.asked and len(server.asked) <= 2, "pieces without a failure are not done again"
    server.down = ()
    assert make(part, server, tmp_path / "run", monkeypatch) == whole
    assert [file.read_bytes() for file in sorted((tmp_path / "run").glob("*.jsonl"))] == [
        file.read_bytes() for file in sorted((tmp_path / "whole").glob("*.jsonl"))
    ]
    server.asked.clear()
    assert make(part, server, tmp_path / "run", monkeypatch) == whole and not server.asked


def test_a_server_that_is_gone_for_good_takes_nothing(tmp_path, monkeypatch, capsys):
    server = Flaky("Judge the claim.", "Lio Tarn")
    hurt = make("judging", server, tmp_path, monkeypatch)
    server.gone = True
    assert make("judging", server, tmp_path, monkeypatch) == hurt
    assert "preferences: what failed could not be asked again: flaky: nobody answers" in capsys.readouterr().err
    assert not [file for file in tmp_path.iterdir() if file.suffix in (".part", ".journal")]


def test_a_worse_outage_does_not_undo_what_was_had(tmp_path, monkeypatch):
    server = Flaky("Judge the claim.", "Lio Tarn owned 2 boats")
    hurt = make("judging", server, tmp_path, monkeypatch)
    server.down = ("Judge the claim.",)
    assert make("judging", server, tmp_path, monkeypatch) == hurt


def test_a_later_part_follows_the_earlier_one(tmp_path, monkeypatch):
    server = Flaky("Tell me of", "Ines Holt")
    judged = make("candidates", server, tmp_path, monkeypatch)
    assert all(r.topic != "Ines Holt" for r in records_of_kind(judged, Response))
    server.down = ()
    make("candidates", server, tmp_path, monkeypatch)
    own = (tmp_path / "self_records.jsonl").read_text()
    assert "Ines Holt owned 1 boats" in own, "the candidates that came late are judged by themselves, too"


def test_a_command_that_was_stopped_asks_again_for_what_its_first_half_owes(tmp_path, monkeypatch):
    server = Flaky("Judge the claim.", "Ines Holt")
    whole, pieces = ChunkWork.__call__, []

    def stops(work, piece):
        pieces.append(piece)
        if len(pieces) == 2:
            raise KeyboardInterrupt
        return whole(work, piece)

    monkeypatch.setattr(ChunkWork, "__call__", stops)
    given = {"documents": [book(name)[0] for name in NAMES], "prompts": "terse", "probs": False}
    texts = [f"{name} mended clocks in Orsk." for name in NAMES]
    with pytest.raises(KeyboardInterrupt):
        f.score(texts, model=server, journal=tmp_path / "kept", **given)
    server.down = ()
    scored = f.score(texts, model=server, journal=tmp_path / "kept", **given)
    assert not scored.failures and len(scored.judgments) == len(NAMES)
    assert len(pieces) == 4, "the second half, and then the first again"
    scored.to(tmp_path / "scored.jsonl")
    assert [file.name for file in tmp_path.iterdir()] == ["scored.jsonl"]


def test_too_many_failures_say_that_they_may_pass(tmp_path):
    stage = Stage("r4_preferences", "toy", tmp_path, {"max_failure_rate": 0.1})
    lost = Failure(stage="judge", item_id="c", reason="failed", detail="status 503")
    with pytest.raises(InputError, match=r"max_failure_rate = 0.1 allows.*; start the same run again to ask"):
        stage.guard([lost], 4)
    with pytest.raises(InputError, match="allows; 1 are 'unparsed', such as ''$"):
        stage.guard([lost.model_copy(update={"reason": "unparsed", "detail": ""})], 4)
