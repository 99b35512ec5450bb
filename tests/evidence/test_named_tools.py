"A search engine that is named as a tool has the budget, the recording and the price of one that `search` names."

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

import fence_nb as f
from fence_nb.app.cli import main
from fence_nb.app.plan import dry_run
from fence_nb.core.calls import CallError, Calls
from fence_nb.core.ledger import BudgetReached, Ledger
from fence_nb.core.records import Claim, InputError
from fence_nb.core.settings import load_profile
from fence_nb.domains.services import open_tool, open_tools
from fence_nb.evidence.search import PROVIDERS
from fence_nb.judging.judge import LMJudge
from fence_nb.judging.prompts import FULL
from fence_nb.models.interface import ScriptedLM

CLAIMS = [Claim(response_id="r", text=f"Mill {k} burned.", start=0, end=1) for k in range(3)]


class Engine(BaseHTTPRequestHandler):
    def log_message(self, *a):
        pass

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)["q"][0]
        self.server.asked.append(query)
        row = {"title": self.server.title, "description": f"{query} So it is.", "content": f"{query} So it is."}
        data = json.dumps({"type": "search", "web": {"results": [row]}, "results": [row]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def serve(title: str):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    server.asked, server.title = [], title
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@pytest.fixture
def engine(monkeypatch):
    "Brave, which lives here and costs a dollar a question."
    server = serve("a page")
    monkeypatch.setitem(PROVIDERS, "brave", replace(PROVIDERS["brave"], base=server.url, price=1.0, rate=0.0))
    monkeypatch.setenv("BRAVE_API_KEY", "a-key-of-some-length")
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("named", [{"search": "brave"}, {"more": ["search:brave"]}], ids=["search", "tools"])
def test_budget_recording_and_price(engine, named, tmp_path):
    calls = Calls(tmp_path / "calls.db", ledger=Ledger(max_usd=2.0))
    [tool] = open_tools(calls, **named)
    for claim in CLAIMS[:2] * 2:  # the second time they are recorded
        assert [d.title for d in tool(tool.query_for(claim))] == ["a page"]
    assert calls.ledger.table()[0] | {"usd": 2.0, "calls": 2, "cached": 2} == calls.ledger.table()[0]
    with pytest.raises(BudgetReached, match=r"max_usd = 2 reached \(brave 2 calls, 2 USD\)"):
        tool(tool.query_for(CLAIMS[2]))
    assert len(engine.asked) == 2


def test_an_engine_of_ones_own(engine):
    for spec, url in (("search:searxng", engine.url), (f"search:searxng={engine.url}", "")):
        [tool] = open_tools(Calls(), search_url=url, more=[spec])
        assert [d.title for d in tool(tool.query_for(CLAIMS[0]))] == ["a page"]
    [tool] = open_tools(Calls(), search_url="http://127.0.0.1:9", more=["search:brave"])
    assert tool(tool.query_for(CLAIMS[0])), "search_url is for those without an address"
    with pytest.raises(InputError, match=r"set search_url, .* or name it as a tool .* search:searxng=http"):
        open_tool("search:searxng", Calls())
    with pytest.raises(InputError, match="search = brav: no such provider; nearest: brave"):
        open_tool("search:brav", Calls())


def test_a_file_of_an_engines_name_is_no_engine(engine, tmp_path):
    (tmp_path / "brave").write_text("a file")
    assert open_tool("search:brave", Calls(), lambda value: str(tmp_path / value)).provider == "brave"


def test_the_plan_names_its_price(monkeypatch):
    monkeypatch.setenv("SERPER_API_KEY", "a-key-of-some-length")
    p = load_profile("llama3-8b", {"search": "none", "tools": "search:serper"})
    text, _ = dry_run(p)
    assert "Search with serper: a third of the tool calls" in text and "Search with none" not in text


def script(conversation, sample, seed):
    text = conversation[-1]["content"]
    if "Sentence: " in text:
        return "- " + text.rpartition("Sentence: ")[2]
    return "It is so.\nLabel: Supported"


def score(engine, tmp_path, **given):
    lm = ScriptedLM(script, "reader")
    judge = LMJudge(lm, FULL, with_probs=False)
    texts = [claim.text for claim in CLAIMS]
    return f.score(texts, model=lm, judge=judge, tools=["search:brave"], cache=tmp_path / "answers", **given)


def test_the_commands_have_a_budget_and_pay_once(engine, tmp_path):
    with pytest.raises(BudgetReached, match=r"max_calls = 2 reached \(brave 2 calls, 2 USD\)"):
        score(engine, tmp_path, max_calls=2)
    assert len(engine.asked) == 2
    with pytest.raises(BudgetReached, match="max_usd = 0.5 reached"):
        score(engine, tmp_path, max_usd=0.5)
    assert len(engine.asked) == 2
    scored = score(engine, tmp_path, max_usd=1.0)  # two are recorded
    assert len(scored.judgments) == 3 and len(engine.asked) == 3
    assert score(engine, tmp_path, max_calls=1).judgments == scored.judgments and len(engine.asked) == 3


def test_the_options_reach_the_work(monkeypatch):
    asked = {}

    def told(*args, **options):
        asked.update(options)
        raise InputError("enough")

    for name in ("score", "revise"):
        monkeypatch.setattr(f"fence_nb.app.commands.{name}", told)
        given = ["--responses", "r.jsonl", "--model", "m", "--tools", "search:brave"]
        main([name, *given, "--max-usd", "0.25", "--max-calls", "7"])
        assert (asked.pop("max_usd"), asked.pop("max_calls")) == (0.25, 7)
        main([name, *given])
        assert (asked["max_usd"], asked["max_calls"]) == (0, 0)


def test_two_engines_of_one_name_do_not_share_answers(engine, tmp_path):
    other = serve("another page")
    lm = ScriptedLM(script, "reader")
    titles = []
    for server in (engine, other):
        scored = f.score(
            CLAIMS[0].text,
            model=lm,
            judge=LMJudge(lm, FULL, with_probs=False),
            tools=[f"search:searxng={server.url}"],
            cache=tmp_path,
        )
        titles += [d.title for d in scored.documents.values()]
    assert titles == ["a page", "another page"]
    calls = Calls(tmp_path / "shared.db")
    tools = [open_tool(f"search:searxng={server.url}", calls) for server in (engine, other)]
    assert tools[0](tools[0].query_for(CLAIMS[1]))
    with pytest.raises(InputError, match=f"searxng: asked at {engine.url} and at {other.url}; .*give each its own"):
        tools[1](tools[1].query_for(CLAIMS[1]))
    other.shutdown()
    other.server_close()


def test_questions_under_way_at_two_servers_are_two(engine):
    other = serve("another page")
    calls = Calls()
    tools = [open_tool(f"search:searxng={server.url}", calls) for server in (engine, other)]
    pages = calls.map(lambda tool: tool(tool.query_for(CLAIMS[0]))[0].title, tools)
    assert pages == ["a page", "another page"]
    with pytest.raises(CallError, match="connect"):
        open_tool("search:searxng=http://127.0.0.1:9", Calls(retries=0))(tools[0].query_for(CLAIMS[0]))
    other.shutdown()
    other.server_close()
