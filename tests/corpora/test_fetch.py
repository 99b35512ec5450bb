"""Fetching, over a local server: whole, cut, wrong, gone, dead, killed; and what the registry says of addresses.

Pooch downloads, so a connection that breaks is asked for the whole file again, and not for the rest of it.
"""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from conftest import DATA, ROOT

from fence_nb.core.records import InputError
from fence_nb.corpora.fetch import count_rows, differs, fetch_file, fetch_gated, fetch_sets
from fence_nb.corpora.reading import Source, SourceFile, at_commit
from fence_nb.corpora.registry import SOURCES

BODY = b"".join(b'{"line": %d, "text": "The mill in Torin."}\n' % i for i in range(6000))
SHA = hashlib.sha256(BODY).hexdigest()


class _Files(BaseHTTPRequestHandler):
    "The first part of the path says how it behaves."

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        how, state = self.path.split("/")[1], self.server
        state.asked.append(how)
        if self.headers.get("Accept-Encoding") != "identity":
            state.asked.append("encoded")
        if how == "gone":
            return self._head(404, 0)
        if how == "busy" and len(state.asked) < 3:
            return self._head(503, 0)
        if how == "moved":
            self.send_response(302)
            self.send_header("Location", "/whole/x.jsonl")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if how == "page":
            return self._body(200, b"<html>Sign in</html>\n")
        if how == "other":
            return self._body(200, BODY.replace(b"Torin", b"Tarin"))
        if how == "fewer":
            return self._body(200, BODY[: BODY.index(b"\n") + 1])
        part = BODY
        self._head(200, len(part))
        if how == "broken" or how == "cut" and state.asked.count(how) < 3:
            part = part[:50_000]
        if how == "slow":
            for k in range(0, len(part), 4096):
                self.wfile.write(part[k : k + 4096])
                self.wfile.flush()
                time.sleep(0.02)
        else:
            self.wfile.write(part)
        self.close_connection = True

    def _head(self, status, size):
        self.send_response(status)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def _body(self, status, data):
        self._head(status, len(data))
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *args):
            pass

    s = Quiet(("127.0.0.1", 0), _Files)
    s.asked = []
    threading.Thread(target=s.serve_forever, daemon=True).start()
    s.at = lambda *hows: tuple(f"http://127.0.0.1:{s.server_port}/{h}/x.jsonl" for h in hows)
    yield s
    s.shutdown()
    s.server_close()


def published(path: str, urls: tuple[str, ...], sha256: str = "", rows: int = 0) -> SourceFile:
    "A file that this server publishes."
    return SourceFile(path, urls=urls, digest=sha256, rows=rows)


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def one_line(e) -> str:
    assert "\n" not in str(e.value)
    return str(e.value)


def test_whole_and_never_twice(server, tmp_path):
    r = published("set/x.jsonl", server.at("whole"), SHA)
    assert [fetch_file(r, tmp_path), fetch_file(r, tmp_path)] == ["fetched", "here"]
    assert (
        (tmp_path / "set/x.jsonl").read_bytes() == BODY
        and names(tmp_path) == ["set/x.jsonl"]
        and server.asked == ["whole"]
    )


def test_redirect(server, tmp_path):
    assert fetch_file(published("x.jsonl", server.at("moved"), SHA), tmp_path) == "fetched"


def test_cut_connection_is_asked_again(server, tmp_path):
    assert fetch_file(published("x.jsonl", server.at("cut"), SHA), tmp_path, pause=0) == "fetched"
    assert server.asked == ["cut"] * 3 and names(tmp_path) == ["x.jsonl"]


@pytest.mark.parametrize("check", [{"sha256": SHA}, {"rows": 6000}, {}])
def test_cut_everywhere_leaves_nothing(server, tmp_path, check):
    with pytest.raises(InputError, match="127.0.0.1 connection broke"):
        fetch_file(published("x.jsonl", server.at("broken"), **check), tmp_path, pause=0)
    assert server.asked == ["broken"] * 3 and list(tmp_path.iterdir()) == []


def test_busy_server_is_asked_again(server, tmp_path):
    assert (
        fetch_file(published("x.jsonl", server.at("busy"), SHA), tmp_path, pause=0) == "fetched"
        and len(server.asked) == 3
    )


@pytest.mark.parametrize("bad", ["gone", "other", "page"])
def test_next_place(server, tmp_path, bad):
    assert fetch_file(published("x.jsonl", server.at(bad, "whole"), SHA), tmp_path, pause=0) == "fetched"
    assert (tmp_path / "x.jsonl").read_bytes() == BODY and names(tmp_path) == ["x.jsonl"]


def test_wrong_checksum_everywhere(server, tmp_path):
    with pytest.raises(InputError) as e:
        fetch_file(published("x.jsonl", server.at("other", "page"), SHA), tmp_path, pause=0)
    assert one_line(e).count("127.0.0.1 checksum") == 2 and SHA[:12] in str(e.value) and names(tmp_path) == []


@pytest.mark.parametrize("how, words", [("page", "cannot be read"), ("fewer", "1 rows, published are 6000")])
def test_not_pinned_is_read_and_counted(server, tmp_path, how, words):
    with pytest.raises(InputError) as e:
        fetch_file(published("x.jsonl", server.at(how), rows=6000), tmp_path, pause=0)
    assert words in one_line(e) and names(tmp_path) == []
    assert fetch_file(published("x.jsonl", server.at(how, "whole"), rows=6000), tmp_path, pause=0) == "fetched"


def test_all_dead_is_one_line(server, tmp_path):
    with pytest.raises(InputError) as e:
        fetch_file(published("x.jsonl", (*server.at("gone"), "http://127.0.0.1:1/x.jsonl"), SHA), tmp_path, pause=0)
    assert (
        one_line(e).endswith(
            "not fetched: 127.0.0.1 status 404; 127.0.0.1 no connection; try again later, or put the file "
            "there yourself"
        )
        and names(tmp_path) == []
    )


def test_what_people_have_is_left_alone(server, tmp_path):
    (tmp_path / "x.jsonl").write_text('{"mine": 1}\n')
    for r in (published("x.jsonl", server.at("whole"), SHA), published("x.jsonl", server.at("whole"), rows=6000)):
        with pytest.raises(InputError, match="is not the published file .* rename it"):
            fetch_file(r, tmp_path)
    assert (tmp_path / "x.jsonl").read_text() == '{"mine": 1}\n' and server.asked == []


def test_killed_in_the_middle_leaves_no_half_file(server, tmp_path):
    code = (
        "from fence_nb.corpora.fetch import *; from fence_nb.corpora.reading import SourceFile; "
        f"fetch_file(SourceFile('x.jsonl', {server.at('slow')!r}, {SHA!r}), {str(tmp_path)!r})"
    )
    p = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    )
    end = time.time() + 60
    while time.time() < end and not any(f.is_file() and f.stat().st_size > 20_000 for f in tmp_path.rglob("*")):
        time.sleep(0.02)
    p.send_signal(signal.SIGKILL)
    p.wait()
    assert not (tmp_path / "x.jsonl").exists() and [f.name for f in tmp_path.iterdir()] == [".x.jsonl.part"]
    assert fetch_file(published("x.jsonl", server.at("whole"), SHA), tmp_path) == "fetched"
    assert [f.name for f in tmp_path.iterdir()] == ["x.jsonl"], "what the killed one left is gone"
    assert (tmp_path / "x.jsonl").read_bytes() == BODY


def test_sets_go_on_after_a_failure(server, tmp_path):
    table = {
        "a": (published("a/1.jsonl", server.at("gone"), SHA), published("a/2.jsonl", server.at("whole"), SHA)),
        "b": (published("b/1.jsonl", server.at("whole"), rows=6000),),
        "c": (published("c/1.jsonl", server.at("whole")),),
    }
    sources = {
        name: Source(name, "judged", lambda folder: [], files, "MIT", "", "https://example.org")
        for name, files in table.items()
    }
    rows, problems = fetch_sets([], tmp_path, sources, pause=0)
    assert [(r.set, r.file, r.result, r.checked) for r in rows] == [
        ("a", "a/2.jsonl", "fetched", "checksum"),
        ("b", "b/1.jsonl", "fetched", "6000 rows, not pinned"),
        ("c", "c/1.jsonl", "fetched", "opens, not pinned"),
    ]
    assert len(problems) == 1 and "a/1.jsonl: not fetched" in problems[0]
    rows, _ = fetch_sets(["b"], tmp_path, sources)
    assert [r.result for r in rows] == ["here"]


def test_sets_by_hand_say_why(tmp_path):
    for name in ("summacoz", "factscore_labeled", "popqa_2000"):
        rows, problems = fetch_sets([name], tmp_path)
        assert rows == [] and problems == [f"{name}: {SOURCES[name].by_hand}"]
    with pytest.raises(InputError, match="truthfulq: no such set; nearest: truthfulqa"):
        fetch_sets(["qags", "truthfulq"], tmp_path)


class TestGated:
    SECRET = "hf_made_up_secret"

    def test_no_token(self, tmp_path, monkeypatch):
        monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
        rows, problems = fetch_sets(["llm_aggrefact"], tmp_path)
        assert (
            rows == []
            and len(problems) == 1
            and "HF_TOKEN" in problems[0]
            and "https://huggingface.co/datasets/lytang/LLM-AggreFact" in problems[0]
            and "\n" not in problems[0]
        )

    @pytest.mark.parametrize(
        "error, words",
        [
            ("GatedRepoError", "your token has no access; it is given out on request"),
            ("RepositoryNotFoundError", "your token has no access"),
            ("HfHubHTTPError", "the hub did not answer"),
            ("LocalEntryNotFoundError", "the hub did not answer"),
        ],
    )
    def test_refused(self, tmp_path, monkeypatch, error, words):
        from huggingface_hub import errors

        monkeypatch.setattr("huggingface_hub.get_token", lambda: self.SECRET)

        def refuse(*args, **kw):
            request = httpx.Request(
                "GET", "https://huggingface.co/x", headers={"Authorization": f"Bearer {self.SECRET}"}
            )
            raise (
                errors.LocalEntryNotFoundError(f"no network {self.SECRET}")
                if error == "LocalEntryNotFoundError"
                else getattr(errors, error)(f"no {self.SECRET}", response=httpx.Response(403, request=request))
            )

        with pytest.raises(InputError) as e:
            fetch_gated(SOURCES["llm_aggrefact"], tmp_path, refuse)
        assert (
            words in one_line(e)
            and self.SECRET not in str(e.value)
            and e.value.__cause__ is None
            and e.value.__suppress_context__
        )

    def test_given(self, tmp_path, monkeypatch):
        import pyarrow as pa
        import pyarrow.parquet as pq

        monkeypatch.setattr("huggingface_hub.get_token", lambda: self.SECRET)
        asked = []

        def give(repo, name, repo_type, local_dir):
            asked.append((repo, name, repo_type))
            (Path(local_dir) / name).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(
                pa.Table.from_pylist([{"dataset": "Wice", "doc": "Dry.", "claim": "It rained.", "label": 0}]),
                Path(local_dir) / name,
            )

        assert [r for _, r in fetch_gated(SOURCES["llm_aggrefact"], tmp_path, give)] == ["fetched", "fetched"]
        assert [r for _, r in fetch_gated(SOURCES["llm_aggrefact"], tmp_path, give)] == ["here", "here"]
        assert asked == [
            ("lytang/LLM-AggreFact", f"data/{s}-00000-of-00001.parquet", "dataset") for s in ("dev", "test")
        ]
        assert len(SOURCES["llm_aggrefact"].load(tmp_path)) == 2


FETCHED = [file for source in SOURCES.values() for file in source.files if file.urls]


class TestTable:
    def test_form(self):
        files = [file for source in SOURCES.values() for file in source.files]
        assert len({file.path for file in files}) == len(files)
        for file in files:
            assert all(u.startswith("https://") for u in file.urls)
            assert not file.path.startswith("/") and ".." not in file.path
            assert len(file.digest) in (0, 12, 64) and int(file.digest or "0", 16) >= 0
            assert bool(file.size) == bool(file.digest)
            if file.urls and not file.urls[0].startswith(("https://huggingface.co", "https://openaipublic")):
                assert len(file.urls) >= 2

    def test_every_set_can_be_had_or_says_why_not(self):
        for source in SOURCES.values():
            fetched = {file.path for file in source.files if file.urls}
            assert set(source.needed) <= fetched or source.by_hand or source.hub, source.name
            assert bool(source.hub) == bool(source.ask)

    def test_whole_files_here_have_the_published_checksum(self):
        here = [file for file in FETCHED if file.sha256 and (DATA / file.path).is_file()]
        if not here:
            pytest.skip(f"no public data below {DATA}; name the folder of the sets in FENCE_DATA")
        assert len(here) == 26 and [file.path for file in here if differs(DATA / file.path, file)] == []

    def test_cut_files_here_are_told_from_whole_ones(self):
        cut = [file for file in FETCHED if file.rows and (DATA / file.path).is_file()]
        if not cut:
            pytest.skip(f"no public data below {DATA}; name the folder of the sets in FENCE_DATA")
        assert len(cut) > 80
        assert all(f"published are {file.rows}" in differs(DATA / file.path, file) for file in cut)

    def test_places_of_one_commit(self):
        assert at_commit("a/b", "c0ffee", "d")("e.csv") == (
            "https://raw.githubusercontent.com/a/b/c0ffee/d/e.csv",
            "https://cdn.jsdelivr.net/gh/a/b@c0ffee/d/e.csv",
        )


@pytest.mark.parametrize(
    "name, text, rows",
    [
        ("a.jsonl", '{"a": 1}\n\n{"a": 2}\n', 2),
        ("a.json", '[{"a": 1}]', 1),
        ("a.csv", 'a,b\n"1\n2",3\n', 1),
        ("a.txt", "x\n\ny\n", 2),
        ("a.tsv", 'a\tb\r\n"1\t2\r\n', 1),
        ("p.tsv", 'id\tpossible_answers\n1\t"[""x\ty""]"\n', 1),
        ("a.jsonl", "<html>", None),
        ("a.json", "{", None),
        ("a.tsv", "a\tb\n1\n", None),
        ("a.parquet", "PAR1", None),
        ("a.txt", "\udcff", None),
    ],
)
def test_rows(tmp_path, name, text, rows):
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    if rows:
        assert count_rows(tmp_path / name) == rows
    else:
        assert "cannot be read" in differs(tmp_path / name, published(name, ()))


def test_an_empty_file_is_no_file(tmp_path):
    (tmp_path / "e.txt").write_text("")
    assert differs(tmp_path / "e.txt", published("e.txt", ())) == "0 rows, published are some"
