"A run with a model and a search engine behind addresses: recorded, replayed without a server, stopped by a budget."

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import ROOT, fence

from fence_nb.core.records import Document
from fence_nb.core.store import read_json
from fence_nb.evidence.graph import build_triples
from fence_nb.evidence.kb import build_kb

KEY = "sk-never-to-be-seen-5150"
TOWNS = ("Torin", "Velm", "Orsk", "Bray", "Quill", "Hask")


class Services(BaseHTTPRequestHandler):
    "A language model and a SearXNG instance; what they say depends on what they are asked, and on nothing else."

    asked: list = []
    lock = threading.Lock()

    def log_message(self, *a):
        pass

    def reply(self, value: dict) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        url = urlsplit(self.path)
        with self.lock:
            Services.asked.append(url.path)
        if url.path == "/v1/models":
            return self.reply({"data": [{"id": "teacher"}]})
        query = parse_qs(url.query)["q"][0]
        self.reply(
            {
                "results": [
                    {"title": "A page", "content": f"Somebody wrote: {query}"},
                    {"title": "Another", "content": "Nothing of use."},
                ]
            }
        )

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            Services.asked.append(self.path)
        text = body["messages"][-1]["content"]
        if text.startswith("Tools: "):
            claim = text.removeprefix("Tools: ")
            said = [f'search("{claim}")\nkb("{claim.split()[0]}")\nkg("{claim.split()[0]}", "home")']
        else:  # a verdict that the question and the number of the sample decide
            said = [
                f"Because of {k}.\nLabel: "
                + ("Supported", "Unverified")[hashlib.sha256(f"{text}{body.get('seed')}{k}".encode()).digest()[0] % 2]
                for k in range(body.get("n", 1))
            ]
        self.reply(
            {
                "choices": [{"message": {"content": t}, "finish_reason": "stop"} for t in said],
                "usage": {"prompt_tokens": 50, "completion_tokens": 10},
            }
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    "A small corpus, a knowledge base and a graph."
    folder = tmp_path_factory.mktemp("web")
    for part in ("cnndm", "xsum"):
        rows = [
            {
                "article": f"Ada{i} lived in {t}, in a house by the {part} harbour that her aunt had left to her.",
                "summary_sentences": [
                    {
                        "sentence": f"Ada{i}{part} lived in {TOWNS[(i + 1) // 2]} .",
                        "responses": [
                            {"worker_id": w, "response": "yes" if (i + 1) // 2 == i else "no"} for w in range(3)
                        ],
                    }
                ],
            }
            for i, t in enumerate(TOWNS)
        ]
        (folder / "qags").mkdir(exist_ok=True)
        (folder / "qags" / f"mturk_{part}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    build_kb(
        [
            Document(title=f"Ada{i}{part}", text=f"She lived in {t}.")
            for i, t in enumerate(TOWNS)
            for part in ("cnndm", "xsum")
        ],
        folder / "kb.db",
    )
    build_triples(
        [(f"Ada{i}{part}", "home", t) for i, t in enumerate(TOWNS) for part in ("cnndm", "xsum")], folder / "kg.db"
    )
    return folder


@pytest.fixture
def services():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Services)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Services.asked.clear()
    yield server
    server.shutdown()
    server.server_close()


def run(place: Path, name: str, port: int, *more, **changes):
    settings = (
        dict(
            base_model=ROOT / "data/mini/base",
            teacher=f"http://127.0.0.1:{port}/v1#teacher",
            search="searxng",
            search_url=f"http://127.0.0.1:{port}",
            graph=place / "kg.db",
            knowledge_base=place / "kb.db",
            embedder="none",
            corpora="qags",
            corpora_path=place,
            prompts="terse",
            n_critiques=2,
            max_failure_rate=1,
            model_prices="teacher=1/2",
        )
        | changes
    )
    sets = [x for k, v in settings.items() for x in ("--set", f"{k}={v}")]
    return fence(
        "run",
        "--profile",
        "llama3-8b",
        "--stages",
        "r0,r1",
        "--run",
        place / name,
        *sets,
        *more,
        home=place / "home",
        extra={"OPENAI_API_KEY": KEY},
    )


def records(run: Path) -> list[bytes]:
    return [
        (run / "r1_evaluator_data" / f).read_bytes()
        for f in ("records.jsonl", "evaluator_rows.jsonl", "failures.jsonl", "metrics.json")
    ]


def test_record_replay_and_budget(place, services):
    port = services.server_port
    first = run(place, "first", port, "--record", place / "calls.db")
    assert first.returncode == 0, first.stderr[-1500:]
    asked = len(Services.asked)
    assert asked > 20 and {"/search", "/v1/chat/completions"} <= set(Services.asked)
    rows = [
        json.loads(line)
        for line in (place / "first" / "r1_evaluator_data" / "evaluator_rows.jsonl").read_text().splitlines()
    ]
    assert {d["source"] for r in rows if r["evidence"] == "tools" for d in r["documents"]} == {"search", "kb", "kg"}

    manifest = read_json(place / "first" / "r1_evaluator_data" / "manifest.json")
    ledger = {r["provider"]: r for r in manifest["ledger"]}
    of_teacher = sum(p != "/search" for p in Services.asked)
    assert ledger["teacher"]["calls"] == of_teacher and ledger["searxng"]["calls"] == asked - of_teacher
    questions = Services.asked.count("/v1/chat/completions")  # what a server says of its models costs nothing
    assert ledger["teacher"]["usd"] == pytest.approx(questions * (50 * 1 + 10 * 2) / 1e6, abs=1e-6)
    assert manifest["recording"]

    stopped = run(place, "budget", port, max_calls=10)
    assert (
        stopped.returncode == 2
        and "max_calls = 10 reached" in stopped.stderr
        and len(stopped.stderr.strip().splitlines()[-1]) < 300
    )
    assert len(Services.asked) == asked + 10
    raised = run(place, "budget", port, max_calls=500)
    assert raised.returncode == 0, raised.stderr[-1500:]
    assert records(place / "budget") == records(place / "first")
    assert len(Services.asked) == 2 * asked, "nothing was asked twice"
    again = run(place, "budget", port, max_calls=10)
    assert again.stderr.count("unchanged, skipped") == 2 and len(Services.asked) == 2 * asked

    services.shutdown()
    services.server_close()
    replayed = run(place, "replayed", port, "--replay", place / "calls.db")
    assert replayed.returncode == 0, replayed.stderr[-1500:]
    assert records(place / "replayed") == records(place / "first")
    assert (
        not (place / "replayed" / "ledger.db").exists()
        and read_json(place / "replayed" / "r1_evaluator_data" / "manifest.json")["recording"] == manifest["recording"]
    )
    other = run(place, "other", port, "--replay", place / "calls.db", n_critiques=3)
    assert other.returncode == 2 and "no recorded answer" in other.stderr.strip().splitlines()[-1]

    assert not [f for f in place.rglob("*") if f.is_file() and KEY.encode() in f.read_bytes()]
    assert KEY not in first.stdout + first.stderr + stopped.stderr + replayed.stderr + other.stderr
