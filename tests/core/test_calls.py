"""Calls to services: patience, budget, recording, and silence about keys."""

import asyncio
import gc
import json
import logging
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from fence_nb.core.calls import CallError, Calls, _Call, recording_digest
from fence_nb.core.ledger import BudgetReached, Ledger, Price
from fence_nb.core.records import InputError

KEY = "k3y/S3CRET+value=="


class Service(ThreadingHTTPServer):
    "Answers {q, n}; what it does first to a query is a list of statuses or words."

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/search"
        self.asked, self.times, self.first, self.headers = [], [], {}, {}
        self.now = self.peak = 0
        self.delay, self.lock, self.usage = 0.0, threading.Lock(), None
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle_error(self, *args):
        pass  # clients hang up on purpose here

    def stop(self):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        self.do_GET()

    def do_GET(self):
        s = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        q = json.loads(body)["q"] if body else parse_qs(urlsplit(self.path).query)["q"][0]
        with s.lock:
            s.asked.append(q)
            s.times.append(time.monotonic())
            s.now += 1
            s.peak = max(s.peak, s.now)
            step = s.first.get(q, []).pop(0) if s.first.get(q) else 200
        time.sleep(s.delay if step != "sleep" else 1.0)
        with s.lock:
            s.now -= 1
        status, after = step if isinstance(step, tuple) else (step, None)
        out = {
            "q": q,
            "path": self.path.split("&key=")[0],
            "got": {k: v.endswith(KEY) for k, v in self.headers.items() if k.lower() in ("x-key", "authorization")},
            **({"usage": s.usage} if s.usage else {}),
        }
        data = json.dumps(out if status in (200, "cut", "sleep") else {"error": f"no, {KEY}"}).encode()
        if status == "half":
            data = json.dumps(out).encode()[:-9]
        if status == "huge":
            data = b'{"a": "' + b"x" * 10_000_000 + b'"}'
        self.send_response(status if isinstance(status, int) else 200)
        if after is not None:
            self.send_header("Retry-After", after)
        self.send_header("Content-Length", str(len(data) + (99 if status == "cut" else 0)))
        self.end_headers()
        self.wfile.write(data)
        if status == "cut":
            self.close_connection = True


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def service():
    s = Service()
    yield s
    s.stop()


@pytest.fixture
def waits(monkeypatch):
    "The seconds that calls were told to wait; they do wait."
    seconds, sleep = [], asyncio.sleep

    async def recorded(delay, *args):
        seconds.append(delay)
        await sleep(delay, *args)

    monkeypatch.setattr(asyncio, "sleep", recorded)
    return seconds


def calls_to(service, **kw):
    c = Calls(**{"backoff": 0.005, "timeout": 5.0} | kw)
    return c, lambda q: c.json("p", "GET", service.url, {"q": q})


def row(calls):
    return {k: v for k, v in calls.ledger.table()[0].items() if v and k != "provider"}


class TestPatience:
    def test_busy_then_fine(self, service):
        service.first = {"a": [500, 503, 429, (429, "0"), "half", "cut"]}
        calls, ask = calls_to(service, retries=6)
        assert ask("a")["q"] == "a" and len(service.asked) == 7
        assert row(calls) == {"calls": 3}  # half, cut and the answer; refusals are free

    @pytest.mark.parametrize(
        "step, reason, billed, tries",
        [
            (401, "status 401", 0, 1),
            (404, "status 404", 0, 1),
            (302, "status 302", 0, 1),
            (500, "status 500", 0, 3),
            (429, "status 429", 0, 3),
            ("half", "not json", 3, 3),
            ("cut", "broken", 3, 3),
            ("huge", "too large", 1, 1),
            ("sleep", "timeout", 3, 3),
        ],
    )
    def test_failures(self, service, tmp_path, step, reason, billed, tries):
        service.first = {"a": [step] * 9}
        calls, ask = calls_to(service, cache=tmp_path / "c.db", retries=2, timeout=0.15 if step == "sleep" else 9.0)
        with pytest.raises(CallError) as e:
            ask("a")
        assert e.value.reason == reason and "\n" not in str(e.value)
        assert len(service.asked) == tries and row(calls) == {"failed": 1} | ({"calls": billed} if billed else {})
        service.first = {}
        assert ask("a")["q"] == "a", "a failure is never an answer: the next start asks again"

    def test_retry_after_seconds_hold_every_call_of_the_provider(self, service, waits):
        service.first = {"a": [(429, "1")]}
        calls, ask = calls_to(service)
        calls.map(ask, ["a"])
        assert 0.5 < max(waits) < 1.1 and len(service.asked) == 2

    def test_retry_after_date(self, service, waits):
        service.first = {
            "b": [(503, "Wed, 21 Oct 2015 07:28:00 GMT")],
            "c": [(429, "soon")],
        }
        calls, ask = calls_to(service)
        ask("b")
        ask("c")
        assert max(waits, default=0.0) < 0.5, "a date that is past and a word that is none ask for no wait"
        soon = datetime.now(timezone.utc) + timedelta(seconds=3)
        service.first["a"] = [(503, format_datetime(soon, usegmt=True))]
        ask("a")
        assert 0.5 < max(waits) < 3.1

    def test_a_wait_of_an_hour_is_a_failure_at_once(self, service):
        service.first = {"a": [(429, "3600")]}
        with pytest.raises(CallError, match="status 429.*asks to wait 3600 s"):
            calls_to(service)[1]("a")

    def test_nothing_listens(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        calls = Calls(retries=1, backoff=0.005)
        with pytest.raises(CallError, match=f"p: connect, nothing answers at http://127.0.0.1:{port}, 2 tries"):
            calls.json("p", "GET", f"http://127.0.0.1:{port}/x", {"q": "secret question"}, secret_params={"key": KEY})
        assert row(calls) == {"failed": 1}

    def test_rate(self, service):
        calls, ask = calls_to(service, rates={"p": 50.0})
        ask("a")  # opens the connection
        calls.map(ask, "bcdefg")
        assert service.times[-1] - service.times[1] >= 5 / 50 * 0.9

    def test_concurrency_is_bounded_across_maps(self, service):
        service.delay = 0.02
        calls, _ = calls_to(service, concurrency=3)

        def nested(t):
            return calls.map(lambda i: calls.json("p", "GET", service.url, {"q": f"{t}{i}"})["q"], range(4))

        assert calls.map(nested, "ab") == [["a0", "a1", "a2", "a3"], ["b0", "b1", "b2", "b3"]]
        assert 1 < service.peak <= 3

    def test_equal_requests_under_way_are_one(self, service, tmp_path):
        service.delay = 0.1
        calls, ask = calls_to(service, cache=tmp_path / "c.db")
        assert len({json.dumps(a) for a in calls.map(ask, ["a"] * 8)}) == 1
        assert len(service.asked) == 1 and row(calls) == {"calls": 1, "cached": 7}

    def test_inside_a_running_loop(self, service):
        calls, ask = calls_to(service)

        async def cell():
            return calls.map(ask, ["a", "b"])

        assert [a["q"] for a in asyncio.run(cell())] == ["a", "b"]

    def test_map_stops_at_an_exception(self, service):
        service.delay, done = 0.01, []
        calls, ask = calls_to(service, concurrency=2)

        def work(i):
            if i == 3:
                raise InputError("no more")
            done.append(ask(str(i)))

        with pytest.raises(InputError, match="no more"):
            calls.map(work, range(200))
        assert len(done) < 20

    def test_ctrl_c_does_not_wait(self, service):
        service.delay = 30.0
        calls, ask = calls_to(service, timeout=60.0)

        def interrupt():
            while service.now < 3:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
        try:
            threading.Thread(target=interrupt, daemon=True).start()
            with pytest.raises(KeyboardInterrupt):
                calls.map(ask, "abc")
            assert service.now == 3, "the service is still busy with all three"
        finally:
            signal.signal(signal.SIGINT, before)

    def test_proxy_from_the_environment(self, service, monkeypatch):
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{service.server_port}")
        monkeypatch.setenv("no_proxy", "elsewhere.invalid")
        calls = Calls(retries=0)
        assert calls.json("p", "GET", "http://example.invalid/x", {"q": "a"})["path"] == "http://example.invalid/x?q=a"
        with pytest.raises(CallError, match="connect"):
            calls.json("p", "GET", "http://elsewhere.invalid/x", {"q": "a"})


class TestBudget:
    def test_ten_calls_then_on_to_the_same_end(self, service, tmp_path):
        service.delay = 0.01
        free, ask = calls_to(service)
        whole = free.map(ask, [str(i) for i in range(25)])
        service.asked.clear()
        calls, ask = calls_to(service, cache=tmp_path / "c.db", ledger=Ledger(tmp_path / "l.db", max_calls=10))
        with pytest.raises(
            BudgetReached,
            match=r"max_calls = 10 reached \(p 10 calls, 0 USD\); raise it and run the same command again",
        ):
            calls.map(ask, [str(i) for i in range(25)])
        assert len(service.asked) == 10
        with pytest.raises(BudgetReached):
            calls_to(service, cache=tmp_path / "c.db", ledger=Ledger(tmp_path / "l.db", max_calls=10))[0].map(
                ask, [str(i) for i in range(25)]
            )
        assert len(service.asked) == 10, "a restart does not begin a new budget"
        calls, ask = calls_to(service, cache=tmp_path / "c.db", ledger=Ledger(tmp_path / "l.db", max_calls=25))
        assert calls.map(ask, [str(i) for i in range(25)]) == whole and len(service.asked) == 25 == len(
            set(service.asked)
        )
        assert row(calls)["calls"] == 25

    def test_what_is_given_back_is_used(self, service):
        service.first = {str(i): [(503, "0")] * 9 for i in range(4)}  # these four fail for good
        calls, _ = calls_to(service, retries=1, ledger=Ledger(max_calls=4))

        def work(i):
            try:
                return calls.json("p", "GET", service.url, {"q": str(i)})["q"]
            except CallError as e:
                return e.reason

        assert sorted(calls.map(work, range(8))) == ["4", "5", "6", "7"] + ["status 503"] * 4
        assert row(calls) == {"calls": 4, "failed": 4}

    def test_money_is_never_overshot(self, service):
        service.usage, service.delay = {"prompt_tokens": 10, "completion_tokens": 100}, 0.01
        price = Price(input=100.0, output=1000.0)  # an answer costs 0.101, at most 0.2 + a little
        ledger = Ledger(max_usd=1.0, prices={"p": price})
        calls, _ = calls_to(service, ledger=ledger)
        with pytest.raises(BudgetReached, match="max_usd = 1 reached"):
            calls.map(lambda i: calls.json("p", "POST", service.url, body={"q": str(i), "max_tokens": 200}), range(40))
        spent = ledger.table()[0]
        assert (
            spent["usd"] == pytest.approx(0.101 * spent["calls"])
            and 0.75 < spent["usd"] <= 1.0
            and len(service.asked) == spent["calls"]
        )
        assert (spent["input_tokens"], spent["output_tokens"]) == (10 * spent["calls"], 100 * spent["calls"])

    def test_a_model_that_reports_no_usage_costs_its_most(self, service):
        ledger = Ledger(prices={"p": Price(output=1e4)})
        calls_to(service, ledger=ledger)[0].json("p", "POST", service.url, body={"q": "a", "max_tokens": 50, "n": 2})
        assert ledger.table()[0]["usd"] == 1.0

    def test_two_processes_share_one_budget(self, service, tmp_path):
        service.delay = 0.01
        code = (
            "import sys; from fence_nb.core.calls import Calls; from fence_nb.core.ledger import Ledger\n"
            "c = Calls(ledger=Ledger(sys.argv[2], max_calls=10))\n"
            "c.map(lambda i: c.json('p', 'GET', sys.argv[1], {'q': sys.argv[3] + str(i)}), range(20))"
        )
        both = [
            subprocess.Popen(
                [sys.executable, "-c", code, service.url, str(tmp_path / "l.db"), t], stderr=subprocess.PIPE, text=True
            )
            for t in "ab"
        ]
        assert all("max_calls = 10 reached" in p.communicate(timeout=60)[1] for p in both)
        assert len(service.asked) == 10 and Ledger(tmp_path / "l.db").table()[0]["calls"] == 10


class TestRecording:
    def test_replay_is_identical_without_a_network(self, service, tmp_path, monkeypatch):
        service.first = {"b": [401], "c": ["half"] * 9}

        def outcome(ask, q):
            try:
                return ask(q)
            except CallError as e:
                return str(e)

        calls, ask = calls_to(service, cache=tmp_path / "c.db", retries=1)
        before = [outcome(ask, q) for q in "abcd"]
        assert "check the key" in before[1] and "not json" in before[2]
        digest = recording_digest(tmp_path / "c.db")
        calls.close()
        service.stop()
        replay, ask = calls_to(service, cache=tmp_path / "c.db", replay=True)

        def forbidden(*a, **k):
            raise AssertionError("a replay opened a socket")

        monkeypatch.setattr(socket, "socket", forbidden)
        monkeypatch.setattr(socket, "create_connection", forbidden)
        assert [outcome(ask, q) for q in "abcd"] == before
        assert row(replay) == {"cached": 2, "failed": 2}
        with pytest.raises(
            InputError, match=r"c.db: no recorded answer to .*q=z.*; record it: run once without replay"
        ):
            ask("z")
        assert recording_digest(tmp_path / "c.db") == digest
        assert sorted(f.name for f in tmp_path.iterdir()) == ["c.db"], "one file to send"

    def test_the_host_and_the_order_do_not_matter(self, service, tmp_path):
        other = Service()
        for s, order in ((service, "ab"), (other, "ba")):
            calls, ask = calls_to(s, cache=tmp_path / f"{order}.db", concurrency=1)
            calls.map(ask, order)
        assert recording_digest(tmp_path / "ab.db") == recording_digest(tmp_path / "ba.db")
        replay = Calls(tmp_path / "ba.db", replay=True)
        assert replay.json("p", "GET", "https://far.example:8443/search", {"q": "a"})["q"] == "a"
        for wrong in (
            ("x", "GET", "/search", {"q": "a"}),
            ("p", "POST", "/search", {"q": "a"}),
            ("p", "GET", "/find", {"q": "a"}),
            ("p", "GET", "/search", {"q": "A"}),
        ):
            with pytest.raises(InputError, match="no recorded answer"):
                replay.json(wrong[0], wrong[1], f"http://h{wrong[2]}", wrong[3])
        other.stop()

    def test_a_killed_run_keeps_what_it_paid_for(self, service, tmp_path):
        service.delay = 0.03
        code = (
            "import sys; from fence_nb.core.calls import Calls; from fence_nb.core.ledger import Ledger\n"
            "c = Calls(sys.argv[2] + '/c.db', ledger=Ledger(sys.argv[2] + '/l.db'), concurrency=2)\n"
            "c.map(lambda i: c.json('p', 'GET', sys.argv[1], {'q': str(i)}), range(40))"
        )
        p = subprocess.Popen([sys.executable, "-c", code, service.url, str(tmp_path)])
        while len(service.asked) < 12:
            time.sleep(0.01)
        p.send_signal(signal.SIGKILL)
        p.wait()
        killed = len(service.asked)
        calls, ask = calls_to(service, cache=tmp_path / "c.db", ledger=Ledger(tmp_path / "l.db"))
        assert [a["q"] for a in calls.map(ask, [str(i) for i in range(40)])] == [str(i) for i in range(40)]
        assert len(service.asked) <= 40 + 2 and row(calls)["calls"] >= len(service.asked) >= 40 > killed, (
            "at most the two under way are asked again, and none is forgotten"
        )

    def test_files_that_are_none(self, tmp_path):
        import sqlite3

        sqlite3.connect(tmp_path / "kb.db").execute("create table passages (x)")
        (tmp_path / "text.db").write_text("Not a database. " * 99)
        for name, words in (("kb.db", "holds something else"), ("text.db", "file is not a database")):
            with pytest.raises(InputError, match=words):
                Calls(tmp_path / name)
            with pytest.raises(InputError, match=words):
                Calls(tmp_path / name, replay=True)
        with pytest.raises(InputError, match="none.db: no recording there"):
            Calls(tmp_path / "none.db", replay=True)
        with pytest.raises(InputError, match="no recording given"):
            Calls(replay=True)

    def test_a_damaged_recording_stops_the_run(self, service, tmp_path):
        calls, ask = calls_to(service, cache=tmp_path / "c.db")
        calls.map(ask, map(str, range(50)))
        data = bytearray((tmp_path / "c.db").read_bytes())
        data[4096:] = os.urandom(len(data) - 4096)
        (tmp_path / "c.db").write_bytes(data)
        with pytest.raises(InputError, match="c.db: .*malformed"):
            replay = Calls(tmp_path / "c.db", replay=True)
            for i in range(50):
                replay.json("p", "GET", service.url, {"q": str(i)})

    def test_odd_answers(self, service, tmp_path, monkeypatch):
        calls, _ = calls_to(service, cache=tmp_path / "c.db", retries=0)
        body = {"text": "\ud800 a lone surrogate", "deep": [[["é"]]], "big": 10**30}
        monkeypatch.setattr(
            Handler,
            "do_GET",
            lambda self: (
                self.send_response(200),
                self.send_header("Content-Length", str(len(self.server.raw))),
                self.end_headers(),
                self.wfile.write(self.server.raw),
            ),
        )
        service.raw = json.dumps(body).encode()
        assert calls.json("p", "GET", service.url) == body | {"text": "? a lone surrogate"}
        # What earlier tests left is freed now: freed at the bottom of the recursion, it would count as an error here.
        gc.collect()
        for raw in (b'{"a": NaN}', b"[" * 100_000, b"\xff\xfe{", b"", b"<html>"):
            service.raw = raw
            with pytest.raises(CallError, match="not json"):
                calls.json("p", "GET", service.url, {"q": repr(raw)[:9]})


class TestSilence:
    def test_no_key_anywhere(self, service, tmp_path, capfd):
        log = tmp_path / "debug.log"
        handler = logging.FileHandler(log)
        root, level = logging.getLogger(), logging.getLogger().level
        root.addHandler(handler)
        root.setLevel(1)
        service.first = {"b": [401], "c": [400], "d": [500, "half"], "e": ["cut"] * 9}
        seen = []
        try:
            calls = Calls(tmp_path / "c.db", ledger=Ledger(tmp_path / "l.db"), retries=1, backoff=0.005)
            for q in "abcdea":
                try:
                    seen.append(
                        calls.json(
                            "p",
                            "GET",
                            service.url,
                            {"q": q},
                            headers={"X-Key": KEY, "Authorization": f"Bearer {KEY}"},
                            secret_params={"key": KEY},
                        )
                    )
                except CallError as e:
                    seen += [repr(e), str(e), repr(e.__context__), str(e.__cause__)]
            calls.close()
        finally:
            root.removeHandler(handler)
            root.setLevel(level)
            handler.close()
        assert "q=a" in log.read_text(), "httpx did log the address"
        assert seen[0]["got"] == {"X-Key": True, "Authorization": True}, "the key was sent"
        out, err = capfd.readouterr()
        everything = (
            b"".join(f.read_bytes() for f in tmp_path.iterdir())
            + repr(seen).encode()
            + repr((calls, vars(calls), vars(calls.ledger))).encode()
            + out.encode()
            + err.encode()
        )
        for form in (KEY, "S3CRET", json.dumps(KEY)[1:-1]):
            assert form.encode() not in everything

    @pytest.mark.parametrize("url", ["ftp://h/x", "h/x", "", "http://", "http://user:S3CRET@h/x", "http://[::1"])
    def test_bad_address(self, url):
        with pytest.raises(InputError, match="p: the address must look like") as e:
            Calls().json("p", "GET", url)
        assert "S3CRET" not in str(e.value)

    @pytest.mark.parametrize("key", ["S3CRET\n", "S3CRETé", "S3\r\nX: y"])
    def test_bad_key(self, service, key):
        with pytest.raises(InputError, match="header X-Key holds characters") as e:
            Calls().json("p", "GET", service.url, headers={"X-Key": key})
        assert "S3" not in str(e.value) and not service.asked


class TestKeysAreNotWords:
    "Answers are data: no word of them is taken for a key. Complaints are not."

    @pytest.mark.parametrize("key", ["none", "test", "ollama", "EMPTY", "null", "Marn", "sk-1234567890abcdef"])
    def test_answers_stay_as_they_came(self, service, tmp_path, key):
        q = f"In Marn the latest test names none, null, EMPTY ollama, {key}"
        calls = Calls(tmp_path / "c.db")
        assert calls.json("p", "GET", service.url, {"q": q}, headers={"Authorization": f"Bearer {key}"})["q"] == q
        assert Calls(tmp_path / "c.db", replay=True).json("p", "GET", service.url, {"q": q})["q"] == q

    @pytest.mark.parametrize(
        "text, hidden",
        [
            ("key abcd-1234-efgh is wrong", "key [key] is wrong"),
            ("Bearer abcd-1234-efgh!", "Bearer [key]!"),
            ("xabcd-1234-efghx", "xabcd-1234-efghx"),  # another word
        ],
    )
    def test_complaints_hide_whole_keys(self, text, hidden):
        call = _Call("p", "GET", httpx.URL("http://h/"), None, {"X-Key": "abcd-1234-efgh"}, {}, None)
        assert call.words_of(400, text.encode()) == hidden


class TestEchoes:
    "A service that sends back what it was sent, headers included."

    KEY = "sk-echo-4711-0815"

    def ask(self, calls, service, answer, **params):
        return calls.json(
            "p",
            "POST",
            service.url,
            body={"q": "a"} | params,
            headers={"Authorization": f"Bearer {self.KEY}"},
            read=lambda data: answer,
        )

    @pytest.mark.parametrize(
        "answer",
        [
            {"text": "fine", "headers": {"Authorization": "Bearer sk-echo-4711-0815"}},
            {"text": "Your key is sk-echo-4711-0815."},
            {"text": "xsk-echo-4711-0815x"},
            ["sk-echo-4711-0815"],
        ],
    )
    def test_an_answer_with_the_key_is_a_failure_and_is_not_recorded(self, service, tmp_path, answer):
        calls = Calls(tmp_path / "c.db", ledger=Ledger(tmp_path / "l.db"), backoff=0.005)
        with pytest.raises(CallError, match="quoted key, the answer holds your key") as e:
            self.ask(calls, service, answer)
        assert self.KEY not in str(e.value) and len(service.asked) == 1  # asking again would not help
        assert self.ask(calls, service, {"text": "fine"}) == {"text": "fine"}
        assert not any(self.KEY.encode() in file.read_bytes() for file in tmp_path.iterdir())

    def test_a_word_of_the_question_may_come_back(self, service, tmp_path):
        calls, answer = Calls(tmp_path / "c.db"), {"text": f"You wrote {self.KEY}."}
        assert self.ask(calls, service, answer, text=f"Is {self.KEY} a name?") == answer

    @pytest.mark.parametrize(
        "words", ["no: sk-echo-4711-0815", "xsk-echo-4711-0815x", "n" * 290 + " sk-echo-4711-0815"]
    )
    def test_complaints_are_recorded_without_it(self, service, tmp_path, words):
        def strict(answer):
            raise CallError("p", "status 400", answer["error"])

        calls = Calls(tmp_path / "c.db", ledger=Ledger(tmp_path / "l.db"))
        with pytest.raises(CallError, match="status 400") as e:
            calls.json(
                "p",
                "POST",
                service.url,
                body={"q": "a"},
                headers={"X-Key": self.KEY},
                check=strict,
                read=lambda data: {"error": words},
            )
        assert "sk-echo" not in str(e.value)
        assert not any(b"sk-echo" in file.read_bytes() for file in tmp_path.iterdir())

    def test_a_plain_word_is_no_key(self, service, tmp_path):
        calls = Calls(tmp_path / "c.db")
        answer = calls.json(
            "p",
            "GET",
            service.url,
            {"q": "a"},
            headers={"X-Key": "password"},
            read=lambda data: {"text": "Passwords: password"},
        )
        assert answer == {"text": "Passwords: password"}


class TestErrorsInAnswers:
    "A check may say that an answer is a status in disguise."

    @staticmethod
    def strict(answer):
        if "error" in answer:
            raise CallError("p", f"status {answer['error']['code']}", answer["error"]["message"])

    def ask(self, service, calls, **more):
        answers = iter([{"error": {"code": 503, "message": "a moment"}}] * 2 + [{"fine": True}])
        return calls.json(
            "p", "GET", service.url, {"q": "a"}, check=self.strict, read=lambda data: next(answers), **more
        )

    def test_it_is_asked_again_and_paid_once(self, service):
        calls = Calls(backoff=0.005, ledger=Ledger(prices={"p": Price(call=1.0)}))
        assert self.ask(service, calls) == {"fine": True} and len(service.asked) == 3
        assert calls.ledger.table()[0]["calls"] == 1 and calls.ledger.table()[0]["usd"] == 1.0

    def test_a_lasting_one_costs_nothing(self, service):
        calls = Calls(backoff=0.005, retries=1, ledger=Ledger(prices={"p": Price(call=1.0)}))
        with pytest.raises(CallError, match="status 503, a moment, 2 tries"):
            self.ask(service, calls)
        assert calls.ledger.table()[0]["usd"] == 0.0

    def test_equal_questions_with_numbers_have_answers_of_their_own(self, service, tmp_path):
        calls = Calls(tmp_path / "c.db")
        for _ in range(2):
            for sample in range(3):
                calls.json("p", "GET", service.url, {"q": "a"}, sample=sample)
        assert len(service.asked) == 3


def test_an_untrusted_certificate_is_named(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("needs openssl for a certificate")
    names = {"-keyout": tmp_path / "key.pem", "-out": tmp_path / "cert.pem"}
    options = [str(part) for pair in names.items() for part in pair]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    subprocess.run([*command, *options], capture_output=True, check=True)
    s = Service()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(names["-out"], names["-keyout"])
    s.socket = context.wrap_socket(s.socket, server_side=True)
    with pytest.raises(CallError, match="p: certificate, .*not trusted.*SSL_CERT_FILE") as e:
        Calls(backoff=0.01).json("p", "GET", s.url.replace("http:", "https:"), {"q": "a"})
    assert e.value.reason == "certificate"
    s.stop()
