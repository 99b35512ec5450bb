"The command on good input, through a server that stands in for a model, and on every kind of bad input."

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fence_nb.app.cli import main
from fence_nb.core.records import Label
from fence_nb.core.work import ChunkWork
from fence_nb.domains.examples import PAGE, example_claims
from fence_nb.judging.cascade import fit_word_judge

GOOD = {
    "judge": {"claim": "Ada was born in Torin.", "documents": ["Ada was born in Torin."]},
    "responses": {"topic": "Ada", "prompt": "Tell me a bio of Ada.", "text": "Ada was born in Torin."},
    "kb": {"title": "Ada", "text": "Ada was born in Torin."},
}
DAMAGE = {  # kind -> (bytes of the file or None, words of the message)
    "missing": (None, "no such file"),
    "empty": (b"", "empty file"),
    "blank": (b"\n \n", "empty file"),
    "not JSON": (b'{"claim": \n', ":1: not JSON"),
    "not an object": (b"[1, 2]\n", ":1: found list"),
    "nested": (b"[" * 100_000 + b"\n", ":1: not JSON"),
    "long number": (b"[" + b"1" * 5000 + b"]\n", ":1: not JSON"),
    "long line": (b'{"text": "' + b"x" * 10_000_000 + b'"}\n', ":1: line longer than 8 MB"),
    "not UTF-8": (b'{"text": "\xff"}\n', ":1: invalid UTF-8"),
    "missing field": (b"{}\n", ":1: field '"),
}


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.chdir(ROOT)


def lines(path, *rows) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(path)


def command(name: str, bad: str, tmp_path, model: str) -> list[str]:
    "A command whose one input file is `bad`; the others are good."
    responses, kb, out = (
        lines(tmp_path / "responses.jsonl", GOOD["responses"]),
        lines(tmp_path / "docs.jsonl", GOOD["kb"]),
        str(tmp_path / "out.jsonl"),
    )
    return {
        "judge": ["judge", bad, "--model", model, "--out", out],
        "score": ["score", "--responses", bad, "--kb", kb, "--model", model, "--out", out],
        "score kb": ["score", "--responses", responses, "--kb", bad, "--model", model, "--out", out],
        "score human": ["score", "--human", bad],
        "revise": ["revise", "--responses", bad, "--kb", kb, "--model", model, "--out", out],
        "kb": ["kb", "build", bad, "--out", out],
    }[name]


def refused(capsys, tmp_path, argv: list[str], *words: str) -> None:
    "Exit 2, one line on stderr, nothing on stdout, nothing written."
    before = sorted(tmp_path.iterdir())
    try:
        code = main(argv)
    except SystemExit as e:
        code = e.code
    out, err = capsys.readouterr()
    *progress, last = err.splitlines()
    assert (code, out) == (2, ""), err
    assert last.startswith("fence"), err
    assert all(line.startswith(("opening ", "note: ")) or "%|" in line or not line.strip() for line in progress), err
    for w in words:
        assert w in last
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", ["judge", "score", "score kb", "score human", "revise", "kb"])
def test_damaged_files(name, kind, tmp_path, capsys, endpoint):
    content, words = DAMAGE[kind]
    bad = tmp_path / "bad.jsonl"
    if content is not None:
        bad.write_bytes(content)
    argv = command(name, str(bad), tmp_path, endpoint)
    refused(capsys, tmp_path, argv, str(bad), words)


@pytest.mark.parametrize(
    "name, row, words",
    [
        (
            "judge",
            GOOD["judge"] | {"claim": 3},
            ["bad.jsonl:2: field 'claim': input should be a valid string; found '3'"],
        ),
        ("judge", GOOD["judge"] | {"documents": 7}, ["bad.jsonl:2: field 'documents'"]),
        ("judge", GOOD["judge"] | {"documents": [{"title": "no text"}]}, ["bad.jsonl:2: field 'documents.0.text'"]),
        (
            "judge",
            GOOD["judge"] | {"label": "Maybe"},
            ["bad.jsonl:2: field 'label'", "'Supported', 'Contradictory' or 'Unverified'", "found 'Maybe'"],
        ),
        ("judge", GOOD["judge"] | {"id": "line-1"}, ["bad.jsonl:2: field 'id': 'line-1' was used before, at"]),
        ("judge", {"claim": "x"}, ["bad.jsonl:2: field 'documents': field required"]),
        ("judge", GOOD["judge"] | {"claim": " \n"}, ["bad.jsonl:2: field 'claim'"]),
        ("score", GOOD["responses"] | {"text": 7}, ["bad.jsonl:2: field 'text'", "found '7'"]),
        ("score", GOOD["responses"] | {"topic": ["Ada"]}, ["bad.jsonl:2: field 'topic'"]),
        ("score", GOOD["responses"] | {"answer": "x"}, ["bad.jsonl:2: fields 'text' and 'answer' differ", "--fields"]),
        ("revise", {"answer": "Ada won."}, ["line-2: a revision goes on from the prompt"]),
        ("revise", GOOD["responses"] | {"id": "line-1"}, ["bad.jsonl:2: field 'id'"]),
        ("score kb", {"title": "Ada", "text": ["x"]}, ["bad.jsonl:2: field 'text'"]),
        ("kb", {"title": ["Ada"], "text": "x"}, ["bad.jsonl:2: field 'title'"]),
    ],
)
def test_wrong_fields(name, row, words, tmp_path, capsys, endpoint):
    good = GOOD["judge" if name == "judge" else "kb" if "kb" in name else "responses"]
    bad = lines(tmp_path / "bad.jsonl", good, row)
    refused(capsys, tmp_path, command(name, bad, tmp_path, endpoint), *words)


def test_unknown_human_label(tmp_path, capsys):
    row = {
        "topic": "Ada",
        "input": "Question: Tell me a bio of Ada.",
        "output": "Ada was.",
        "cat": ["rare", "x"],
        "annotations": [
            {"text": "Ada was.", "is-relevant": True, "human-atomic-facts": [{"text": "Ada was.", "label": "MAYBE"}]}
        ],
    }
    refused(capsys, tmp_path, ["score", "--human", lines(tmp_path / "bad.jsonl", row)], "bad.jsonl:1", "label", "MAYBE")


@pytest.mark.parametrize("name", ["judge", "score", "revise"])
@pytest.mark.parametrize(
    "model, words",
    [
        ("no/such/model", "no such model"),
        (".", "no model in this folder"),
        ("http://127.0.0.1:9/v1#m", "cannot connect"),
        ("http://127.0.0.1:9/v1", "cannot connect"),
    ],
)
def test_models_that_are_not_there(name, model, words, tmp_path, capsys):
    good = lines(tmp_path / "good.jsonl", GOOD["judge" if name == "judge" else "responses"])
    argv = command(name, good, tmp_path, model if model != "." else str(tmp_path))
    refused(capsys, tmp_path, argv, words)


@pytest.mark.parametrize(
    "damage, words",
    [
        ({"config.json": b""}, "cannot be loaded"),
        ({"config.json": b'{"model_type": "no-such-kind"}'}, "cannot be loaded"),
        ({"model.safetensors": b"short"}, "cannot be loaded"),
        ({"chat_template.jinja": None}, "no chat template"),
    ],
)
def test_damaged_models(damage, words, tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(ROOT / "data" / "mini" / "base", model)
    for name, content in damage.items():
        (model / name).unlink() if content is None else (model / name).write_bytes(content)
    refused(
        capsys,
        tmp_path,
        command("judge", lines(tmp_path / "good.jsonl", GOOD["judge"]), tmp_path, str(model)),
        str(model),
        words,
    )
    refused(
        capsys,
        tmp_path,
        command("judge", str(tmp_path / "good.jsonl"), tmp_path, str(model / "config.json")),
        "a file; give the folder of a model",
    )


@pytest.mark.parametrize(
    "answer, field",
    [({}, "choices"), ([], "choices"), ({"choices": []}, "choices"), ({"choices": [{"text": "x"}]}, "choices")],
)
def test_server_of_another_kind(answer, field, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "fence_nb.core.calls.Calls.json", lambda self, *a, check=None, **kw: (check and check(answer), answer)[1]
    )
    good = lines(tmp_path / "good.jsonl", GOOD["judge"])
    refused(
        capsys,
        tmp_path,
        command("judge", good, tmp_path, "http://localhost/v1#m"),
        field,
        "OpenAI-compatible",
    )
    refused(
        capsys,
        tmp_path,
        command("judge", good, tmp_path, "http://localhost/v1"),
        field,
        "OpenAI-compatible",
    )


@pytest.mark.parametrize("name", ["judge", "score", "revise", "kb"])
def test_results_that_cannot_be_written(name, tmp_path, capsys, endpoint):
    good = lines(tmp_path / "good.jsonl", GOOD[{"judge": "judge", "kb": "kb"}.get(name, "responses")])
    for out, words in [(tmp_path, "a folder"), (f"{good}/out.jsonl", "cannot be written")]:
        argv = command(name, good, tmp_path, endpoint)
        refused(capsys, tmp_path, argv[:-1] + [str(out)], words)


@pytest.mark.parametrize(
    "content, words",
    [(b'{"text": "  "}\n', "no passages"), (b"SQLite format 3\0" + b"x" * 200, "build the file again")],
)
def test_knowledge_bases_without_use(content, words, tmp_path, capsys, endpoint):
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(content)
    refused(capsys, tmp_path, command("score kb", str(bad), tmp_path, endpoint), words)


def test_run_without_its_model(tmp_path, capsys):
    assert (
        main(
            [
                "run",
                "--profile",
                "toy",
                "--run",
                str(tmp_path / "run"),
                "--stages",
                "r0",
                "--set",
                f"base_model={tmp_path}/none",
            ]
        )
        == 2
    )
    assert f"{tmp_path}/none: no such model" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "argv, words",
    [
        (["run", "--profile", "minni"], "no profile 'minni'; nearest: mini"),
        (["run", "--profile", "mini", "--set", "round=2"], "unknown parameter 'round'; nearest: rounds"),
        (["run", "--profile", "mini", "--set", "rounds"], "expected name=value"),
        (["run", "--profile", "mini", "--set", "rounds=two"], "parameter 'rounds'"),
        (["run", "--profile", "mini", "--stages", "r9"], "stage 'r9' does not exist"),
        (["run", "--profile", "mini", "--stages", "r3..r1"], "no stage is meant"),
        (["run", "--profile", "mini", "--run", "settings.ini"], "a file; give a folder"),
        (["revise", "--responses", "x", "--kb", "x", "--model", "x", "--rounds", "-1"], "a number from 0 on"),
        (["run", "--profile", "mini", "--seeds", "a,b"], "expected numbers"),
        (["run", "--profile", "mini", "--seed", "x"], "invalid int value"),
        (["run"], "--profile"),
        (["score"], "--responses, --model missing"),
        (["report", "nowhere"], "no such folder"),
        (["dance"], "invalid choice"),
        ([], "COMMAND"),
    ],
)
def test_bad_arguments(argv, words, tmp_path, capsys):
    refused(capsys, tmp_path, argv, words)


@pytest.mark.parametrize("name", ["run", "judge", "score", "revise", "kb", "report", "doctor"])
def test_help_shows_an_example(name, capsys):
    with pytest.raises(SystemExit) as e:
        main([name, "--help"])
    assert e.value.code == 0 and f"example: fence {name}" in " ".join(capsys.readouterr().out.split())


def test_judge(endpoint, tmp_path, capsys):
    rows = lines(
        tmp_path / "claims.jsonl",
        GOOD["judge"] | {"id": "a", "label": "Supported", "source": "not read"},
        {
            "id": "b",
            "claim": "Ada was born in Velm.",
            "documents": [{"title": "Ada", "text": "Ada was born in Torin."}],
            "label": "Contradictory",
        },
    )
    assert main(["judge", rows, "--model", endpoint]) == 0
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    assert [(r["id"], r["label"]) for r in found] == [("a", "Supported"), ("b", "Contradictory")]
    assert (
        sum(found[0]["probs"].values()) == pytest.approx(1, abs=1e-5)
        and "balanced accuracy against the labels of the file: 100.00" in err
    )


def word_judge(folder: Path, labels: list[Label]) -> str:
    "A fast judge of four claims, in a folder."
    fit_word_judge([(claim, [PAGE]) for claim in example_claims()], labels).save(folder)
    return str(folder)


def test_judges_are_compared(tmp_path, capsys):
    truth = ["Supported", "Contradictory", "Supported", "Unverified"]
    documents = [{"title": PAGE.title, "text": PAGE.text}]
    given = [
        {"claim": claim.text, "documents": documents, "label": label}
        for claim, label in zip(example_claims(), truth, strict=True)
    ]
    rows = lines(tmp_path / "claims.jsonl", *given)
    right = word_judge(tmp_path / "right", [Label(label) for label in truth])
    wrong = word_judge(tmp_path / "wrong", [Label("Supported"), *[Label("Unverified")] * 3])
    out = tmp_path / "judged.jsonl"
    assert main(["judge", rows, "--judge", f"{right}, {wrong}", "--out", str(out)]) == 0
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(told) == 8 and [row["claim"] for row in told[:4]] == [row["claim"] for row in told[4:]]
    stdout, err = capsys.readouterr()
    table = " ".join(err.split())
    assert not stdout and f"{right} 4 0 50.0 100.00 [100.00, 100.00]" in table
    assert f"{wrong} 4 0 25.0" in table and f"{right} {wrong} 4 50.0 0." in table
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert main(["judge", rows, "--judge", right]) == 0
    assert capsys.readouterr().out.count("\n") == 4


@pytest.mark.parametrize(
    "argv, words",
    [
        ([], "give --model MODEL, or --judge"),
        (["--model", "a/b", "--judge", "hhem"], "give --model MODEL, or --judge"),
        (["--judge", "hhem,hhem"], "name at least two"),
        (["--judge", "hhem,minicheck:flan"], "did you mean minicheck:flan-t5-large?"),
        (["--judge", "nowhere,hhem"], "nowhere: no such model"),
        (["--judge", "hhem,factcg", "--learn", "fast"], "learns from one judge"),
        (["--judge", "hhem"], "cannot be had from the hub"),
    ],
)
def test_judges_that_cannot_be_compared(argv, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    rows = lines(tmp_path / "claims.jsonl", GOOD["judge"])
    assert main(["judge", rows, *argv]) == 2
    out, err = capsys.readouterr()
    assert not out and words in err.splitlines()[-1]


def test_some_records_fail(endpoint, tmp_path, capsys):
    rows = lines(tmp_path / "claims.jsonl", GOOD["judge"], {"id": "odd", "claim": "Ada babble.", "documents": []})
    assert main(["judge", rows, "--model", endpoint, "--no-constraint"]) == 1
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and "failed: odd: judge: unparsed" in err
    assert main(["judge", rows, "--model", endpoint]) == 0  # the model chooses a label where it named none
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[1])["forced"] and "1 of 2 labels were forced" in err


def test_score(endpoint, tmp_path, capsys):
    kb = lines(tmp_path / "docs.jsonl", GOOD["kb"], {"title": "Ada", "text": "Ada won the Prell Medal."})
    responses = lines(
        tmp_path / "responses.jsonl",
        GOOD["responses"] | {"id": "x", "text": "Ada was born in Torin. Ada taught at Velm."},
        GOOD["responses"] | {"id": "y", "text": "Ada won the Prell Medal."},
    )
    out = tmp_path / "claims.jsonl"
    assert main(["score", "--responses", responses, "--kb", kb, "--model", endpoint, "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("75.00 [")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(r["id"], r["facts_pct"]) for r in rows] == [("x", 50.0), ("y", 100.0)]
    second = rows[0]["claims"][1]
    assert (
        second["label"] == "Contradictory"
        and "Ada was born in Torin. Ada taught at Velm."[second["start"] : second["end"]] == "Ada taught at Velm."
    )
    # The same documents as a knowledge base; a sentence that cannot be split counts, and is listed.
    assert main(["kb", "build", kb, "--out", str(tmp_path / "docs.db")]) == 0
    odd = lines(
        tmp_path / "odd.jsonl", GOOD["responses"] | {"id": "z", "text": "Ada was born in Torin. This is garbled."}
    )
    assert main(["score", "--responses", odd, "--kb", str(tmp_path / "docs.db"), "--model", endpoint]) == 1
    text, err = capsys.readouterr()
    assert "50.00 [" in text and "failed: z: claims: unparsed" in err


def test_revise(endpoint, tmp_path, capsys):
    kb = lines(tmp_path / "docs.jsonl", GOOD["kb"])
    responses = lines(
        tmp_path / "responses.jsonl",
        GOOD["responses"] | {"id": "x", "text": "Ada was born in Torin. Ada taught at Velm."},
    )
    assert main(["revise", "--responses", responses, "--kb", kb, "--model", endpoint]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["after"] == "Ada was born in Torin." and row["diff"] == [
        "  Ada was born in Torin.",
        "- Ada taught at Velm.",
    ]
    assert [(a["action"], a["knows"]) for a in row["actions"]] == [("keep", ""), ("remove", "unknown")]


@pytest.mark.parametrize("name", ["judge", "score", "revise"])
def test_a_stopped_command_goes_on(name, endpoint, tmp_path, capsys, monkeypatch):
    words = ["Ada was born in Torin.", "Ada lives in Velm.", "Bo is a baker.", "Ada was born in Torin."]
    rows = (
        [GOOD["judge"] | {"claim": w} for w in words]
        if name == "judge"
        else [GOOD["responses"] | {"text": w} for w in words]
    )
    files, out = lines(tmp_path / "rows.jsonl", *rows), tmp_path / "out.jsonl"
    argv = command(name, files, tmp_path, endpoint)
    assert main(argv) == 0
    want, before = out.read_text(), sorted(tmp_path.iterdir())
    out.unlink()
    calls, whole = [], ChunkWork.__call__

    def stopped(work, chunk):
        calls.append(chunk)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(work, chunk)

    monkeypatch.setattr(ChunkWork, "__call__", stopped)
    capsys.readouterr()
    assert main(argv) == 130 and "goes on where it stopped" in capsys.readouterr().err and not out.exists()
    assert main(argv) == 0 and len(calls) == 3  # the first piece was not done again
    assert out.read_text() == want and sorted(tmp_path.iterdir()) == before


def test_other_documents_from_standard_input_start_anew(endpoint, tmp_path, capsys, monkeypatch):
    import io
    import sys

    answers, out = (
        lines(
            tmp_path / "rows.jsonl",
            *[GOOD["responses"] | {"text": w} for w in ("Ada was born in Torin.", "Ada lives in Velm.")],
        ),
        tmp_path / "out.jsonl",
    )
    argv = ["score", "--responses", answers, "--kb", "-", "--model", endpoint, "--out", str(out)]
    calls, whole = [], ChunkWork.__call__

    def stopped(work, chunk):
        calls.append(chunk)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(work, chunk)

    monkeypatch.setattr(ChunkWork, "__call__", stopped)

    def given_in(text: str) -> None:
        line = json.dumps({"title": "Ada", "text": text}).encode() + b"\n"
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line)))

    given_in("Ada was born in Torin.")
    assert main(argv) == 130 and "goes on" not in capsys.readouterr().err and not list(tmp_path.glob(".out*"))
    given_in("Ada lives in Velm.")
    assert main(argv) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["claims"][0]["label"] for row in rows] == ["Contradictory", "Supported"]


@pytest.mark.parametrize(
    "name, score, n", [("ChatGPT", "56.21", 108), ("InstructGPT", "40.84", 126), ("PerplexityAI", "80.53", 109)]
)
def test_human_scores(name, score, n, shared, capsys):
    assert main(["score", "--human", str(shared / "factscore" / f"{name}.jsonl")]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{score} [") and f"over {n} responses" in out and out.count("\n") == 6


def test_doctor_names_what_is_here(capsys):
    assert main(["doctor"]) in (0, 1)
    out = capsys.readouterr().out
    assert "torch" in out and "extra unsloth" in out and "base model" in out


METADATA = """Metadata-Version: 2.4
Name: fence_nb
Version: 9
Requires-Dist: pytest>=8
Requires-Dist: no-such-package-a>=1; extra == "local"
Requires-Dist: pytest<99; extra == "local"
Requires-Dist: no.such.package.b==2; extra == 'tools' and python_version >= "3.11"
Requires-Dist: fence-nb[local, tools]; extra == "all"
Requires-Dist: hypothesis; extra == "all"
Provides-Extra: local
Provides-Extra: tools
Provides-Extra: all
"""


def test_doctor_reads_the_extras_from_the_installed_package(tmp_path, monkeypatch, capsys):
    from fence_nb.app.cli import extra_packages

    (tmp_path / "fence_nb-9.dist-info").mkdir()
    (tmp_path / "fence_nb-9.dist-info" / "METADATA").write_text(METADATA)
    monkeypatch.syspath_prepend(tmp_path)
    assert extra_packages() == {
        "local": ["no-such-package-a", "pytest"],
        "tools": ["no.such.package.b"],
        "all": ["hypothesis", "no-such-package-a", "pytest", "no.such.package.b"],
    }
    main(["doctor"])
    lines = dict(re.findall(r"^extra (\w+) +(.*)$", capsys.readouterr().out, re.M))
    assert lines == {
        "local": "without no-such-package-a; pip install 'fence_nb[local]'",
        "tools": "not installed; pip install 'fence_nb[tools]'",
        "all": "without no-such-package-a, no.such.package.b; pip install 'fence_nb[all]'",
    }
    assert extra_packages("no-such-package-a") == {}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda x: (
                st.lists(x, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["id", "claim", "documents", "label", "text", "title"]), x, max_size=4
                )
            ),
        ).map(lambda x: json.dumps(x).encode()),
    )
)
def test_no_input_breaks_the_reader(tmp_path, content):
    from fence_nb.core.records import InputError
    from fence_nb.core.rows import claim_rows, open_answers, read_document_file

    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    for read in (claim_rows, open_answers, read_document_file):
        try:
            read(str(path))
        except InputError as e:
            assert "\n" not in str(e)
