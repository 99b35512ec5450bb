"A tool of a contributor: one row of the table, and runs, planners and commands know it."

from types import SimpleNamespace

import pytest

import fence_nb as f
from fence_nb.app.cli import main
from fence_nb.core.calls import Calls
from fence_nb.core.records import Claim, Document, InputError
from fence_nb.core.settings import load_profile
from fence_nb.domains.domain import open_domain
from fence_nb.domains.examples import PAGE, example_lm
from fence_nb.domains.services import TOOL_KINDS, open_tool, open_tools
from fence_nb.evidence.tools import FunctionTool, Toolbox, ToolCall
from fence_nb.judging.assess import fetch_evidence
from fence_nb.judging.prompts import FULL, tools_prompt
from fence_nb.models.interface import ScriptedLM


class Glossary:
    "What a tab-separated file says of a word."

    name = "glossary"
    usage = 'glossary("word")'

    def __init__(self, path, calls):
        try:
            with open(path, encoding="utf-8") as lines:
                self.meanings = dict(line.rstrip("\n").split("\t") for line in lines)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None

    def query_for(self, claim):
        return ToolCall(tool=self.name, query=claim.topic)

    def __call__(self, call):
        return [Document(title=call.query, text=self.meanings[call.query])] if call.query in self.meanings else []


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.setitem(TOOL_KINDS, "glossary", Glossary)
    path = tmp_path / "words.tsv"
    path.write_text("oriel\tA bay window.\n", encoding="utf-8")
    return path


def test_a_planner_is_told_of_it_and_may_ask_it(words):
    box = Toolbox(open_tools(Calls(), more=[f"glossary:{words}"]))
    prompts = []

    def plan(conversation, sample, seed):
        prompts.append(conversation[-1]["content"])
        return 'glossary("oriel")'

    claim = Claim(response_id="r", text="An oriel is a window.", start=0, end=1)
    documents, failures = fetch_evidence(ScriptedLM(plan), box, [claim], FULL)
    assert [d.text for d in documents[claim.id]] == ["A bay window."] and failures == []
    assert 'one tool can be asked: glossary("word")' in prompts[0]
    assert prompts[0] == tools_prompt(FULL, claim.text, box.usages)[-1]["content"]


def test_a_profile_names_it_and_the_plan_sees_it(words, tmp_path):
    p = load_profile("real-evaluator", {"tools": f"glossary:{words}"})
    domain = open_domain(p)
    assert list(domain.toolbox(tmp_path / "run").tools) == ["glossary"]
    rows = {r.what: (r.value, r.state, r.todo) for r in domain.needs()}
    assert rows["tools"] == (f"glossary:{words}", "here", "")
    missing = open_domain(load_profile("real-evaluator", {"tools": "glossary:none.tsv"})).needs()
    assert ("tools", "missing", "none.tsv: no such file") in [(r.what, r.state, r.todo) for r in missing]


def test_commands_ask_it_beside_the_documents(words):
    answers = [{"prompt": "What is an oriel?", "topic": "oriel", "text": "An oriel is a bay window."}]
    scored = f.score(answers, documents=[PAGE], tools=[f"glossary:{words}"], model=example_lm(), probs=False)
    judged = scored.claims_by_response.values()
    assert sum(map(len, judged)) >= 1 and "A bay window." in {d.text for d in scored.documents.values()}


def test_fence_score_takes_its_name(words, tmp_path, monkeypatch):
    asked = {}

    def score(answers, **options):
        asked.update(options)
        raise InputError("enough")

    monkeypatch.setattr("fence_nb.app.commands.score", score)
    main(["score", "--responses", "r.jsonl", "--kb", "d.jsonl", "--model", "m", "--tools", f"glossary:{words}, kb:x"])
    assert asked["tools"] == [f"glossary:{words}", "kb:x"]


def test_what_is_no_tool_is_one_line():
    with pytest.raises(InputError, match=r"tools = glosary:x: expected KIND:VALUE; .*search, kb, graph"):
        open_tool("glosary:x", Calls())
    with pytest.raises(InputError, match="expected KIND:VALUE"):
        open_tool("search", Calls())
    tool = FunctionTool("kb", 'kb("title")', SimpleNamespace)
    with pytest.raises(InputError, match="two are named kb"):
        Toolbox([tool, tool])
    with pytest.raises(InputError, match="two are named kb"):
        Toolbox([tool]).joined([tool])
