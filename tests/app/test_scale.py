"The Ray engine: the same records as the local one, also when a worker is killed; engines do not undo finished stages."

import importlib.util
import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from fence_nb.app import evaluator as stages
from fence_nb.app import generator as generator_stages
from fence_nb.app.cli import main
from fence_nb.app.evaluator import evaluator_rows
from fence_nb.app.generator import preference_records
from fence_nb.app.runs import changes_since
from fence_nb.core.records import Failure, InputError, JudgedClaim
from fence_nb.core.settings import load_profile
from fence_nb.core.store import chunks, read_records, run_resumable
from fence_nb.core.work import ChunkWork
from fence_nb.domains.domain import open_domain, open_toolbox
from fence_nb.domains.services import open_model

ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed; the extra `ray` has it")


@pytest.fixture(scope="module")
def toy(toy_run):
    "Profiles of both engines, and files of a finished run."
    assert toy_run["done"].returncode == 0
    size = {"workers": 2, "evaluator_claims": 24, "n_prompts": 6, "n_test_prompts": 4}

    def make(engine: str):
        return load_profile("toy", size | {"engine": engine})

    return make("local"), make("ray"), toy_run["run"]


def same(tmp_path, local, far, do):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many as Ray gives a worker: sums in another order differ in the seventh digit
    try:
        do(local, tmp_path / "local.jsonl")
    finally:
        torch.set_num_threads(threads)
    do(far, tmp_path / "ray.jsonl")
    assert (tmp_path / "local.jsonl").read_bytes() == (tmp_path / "ray.jsonl").read_bytes() != b""


def gold(p):
    return open_domain(p).gold_scorer(open_model(p, p.place(p.base_model)))


@ray
class TestSameRecords:
    def test_augment(self, toy, tmp_path):
        local, far, run = toy
        train = read_records(run / "r1_evaluator_data" / "train.jsonl", JudgedClaim)[:24]
        same(
            tmp_path,
            local,
            far,
            lambda p, path: evaluator_rows(p, train, open_toolbox(p, run / "r0_base" / "tools"), path, chunk=6),
        )

    def test_judge(self, toy, tmp_path):
        local, far, run = toy
        test = read_records(run / "r1_evaluator_data" / "test.jsonl", JudgedClaim)
        same(
            tmp_path,
            local,
            far,
            lambda p, path: stages.test_evaluator(p, str(run / "r2_evaluator" / "full"), test, path, chunk=6),
        )

    def test_candidates_judgments_revisions(self, toy, tmp_path):
        local, far, run = toy
        same(
            tmp_path,
            local,
            far,
            lambda p, path: preference_records(
                p,
                p.place(p.base_model),
                str(run / "r2_evaluator" / "full"),
                open_toolbox(p, run / "r0_base" / "tools"),
                path,
                chunk=2,
            ),
        )

    def test_score(self, toy, tmp_path):
        local, far, run = toy
        same(
            tmp_path,
            local,
            far,
            lambda p, path: generator_stages.test_generator(
                p, p.place(p.base_model), gold(p), 1.0, path, chunk=1, arm="base"
            ),
        )


@ray
@pytest.mark.parametrize("name", ["judge", "score", "revise"])
def test_commands(name, endpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    texts = [f"Ada {what} in Torin." for what in ("was born", "lives", "works")]

    def write(file: str, rows: list[dict]) -> str:
        (tmp_path / file).write_text("".join(json.dumps(r) + "\n" for r in rows))
        return str(tmp_path / file)

    docs = write("docs.jsonl", [{"title": "Ada", "text": "Ada was born in Torin. Ada works in Torin."}])
    claims = write("claims.jsonl", [{"claim": t, "documents": ["Ada was born in Torin."]} for t in texts])
    answers = write("answers.jsonl", [{"topic": "Ada", "prompt": "Tell me a bio of Ada.", "text": t} for t in texts])
    argv = [name, claims] if name == "judge" else [name, "--responses", answers, "--kb", docs]
    for engine in ("local", "ray"):
        assert main([*argv, "--model", endpoint, "--engine", engine, "--out", str(tmp_path / engine)]) == 0
    assert (tmp_path / "local").read_bytes() == (tmp_path / "ray").read_bytes() != b""


def slow_work(folder):
    def open():
        return (os.getpid(),)

    def do(chunk, pid):
        (Path(folder) / f"{pid}").touch()
        time.sleep(0.3)
        return [Failure(stage="judge", item_id=f"{chunk}", reason="error")]

    return open, do


@ray
def test_a_killed_worker_loses_nothing(tmp_path):
    (tmp_path / "pids").mkdir()
    found, killed = [], 0
    work = ChunkWork(*slow_work(str(tmp_path / "pids")), engine="ray", workers=2)
    for k, lines in enumerate(work.each(list(range(24)))):
        found += lines.splitlines()
        if k == 3:
            killed = int(next((tmp_path / "pids").iterdir()).name)
            os.kill(killed, signal.SIGKILL)
    local = [r.model_dump_json() for chunk in range(24) for r in ChunkWork(*slow_work(str(tmp_path / "pids")))(chunk)]
    assert killed and found == local  # each once, in order


@ray
def test_a_killed_master_goes_on(tmp_path):
    def do(chunk):
        return [Failure(stage="judge", item_id=f"{chunk}", reason="error")]

    class Stops(ChunkWork):
        def each(self, chunks):
            for k, lines in enumerate(super().each(chunks)):
                if k == 2:
                    raise KeyboardInterrupt
                yield lines

    with pytest.raises(KeyboardInterrupt):
        run_resumable(tmp_path / "r.jsonl", list(range(6)), Stops(tuple, do, "ray"))
    asked = []

    class Counts(ChunkWork):
        def each(self, chunks):
            asked.extend(chunks)
            return super().each(chunks)

    assert [r.item_id for r in run_resumable(tmp_path / "r.jsonl", list(range(6)), Counts(tuple, do, "ray"))] == list(
        "012345"
    )
    assert asked == [2, 3, 4, 5]


@ray
def test_bad_input_is_one_line(tmp_path):
    def do(chunk):
        raise InputError(f"file {chunk}: wrong; mend it")

    with pytest.raises(InputError, match="^file 7: wrong; mend it$"):
        list(ChunkWork(tuple, do, "ray").each([7]))


@pytest.mark.skipif(bool(importlib.util.find_spec("ray")), reason="Ray is installed")
def test_without_ray():
    with pytest.raises(InputError, match="ray needs the extra 'ray'"):
        ChunkWork(tuple, list, "ray")


def test_an_engine_undoes_nothing(toy):
    local, far, _ = toy
    manifest = {
        "parameters": {k: {"value": v} for k, v in local.values.items()},
        "status": "running",
        "read": [],
        "notebook": "",
        "source": {},
    }
    assert changes_since(manifest, far, Path("."), "") == []
    assert changes_since(
        manifest,
        load_profile("toy", {"rounds": 5, "evaluator_claims": 24, "n_prompts": 6, "n_test_prompts": 4}),
        Path("."),
        "",
    ) == ["rounds was 2, is 5"]


def test_nothing_is_opened_for_nothing():
    def never():
        raise AssertionError

    assert list(ChunkWork(never, list).each([])) == [] and [*chunks([], 3)] == []
