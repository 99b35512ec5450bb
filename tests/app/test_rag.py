"Answers of retrieval systems, with their documents beside them, in the words of other tools; and what is paid for."

import csv
import json
import threading
from http.server import ThreadingHTTPServer

import pandas as pd
import pytest
from conftest import _Server

import fence_nb as f
from fence_nb.app.cli import main

TOWNS = ["Torin", "Velm", "Marn", "Ostry", "Halden"]
PEOPLE = ["Lio", "Mara", "Teun", "Ines", "Bram", "Olga", "Piet", "Sanne", "Ruth", "Ivo"]


def rag_rows() -> list[dict]:
    "Twenty rows: ten as Ragas names its fields, ten as RAGTruth does. Every fourth answer is wrong."
    rows = []
    for k, name in enumerate(PEOPLE * 2):
        town = TOWNS[k % 5]
        wrong = k % 4 == 3
        answer = f"{name} was born in {TOWNS[(k + 1) % 5] if wrong else town}."
        page = f"{name} was born in {town}. {name} taught music."
        if k < 10:
            rows.append({"user_input": f"Who is {name}?", "response": answer, "retrieved_contexts": ["Nothing.", page]})
        else:
            info = {"question": f"Who is {name}?", "passages": f"passage 1:{page}\n\npassage 2:Nothing."}
            rows.append({"id": k, "source_id": "7", "prompt": "Answer.", "response": answer, "source_info": info})
    return rows


def lines(path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


class _Counted(_Server):
    "A server that says how often it was asked, and takes log-probabilities for granted or not at all."

    def do_POST(self) -> None:
        self.server.asked += 1
        super().do_POST()

    def _send(self, body: dict) -> None:
        for choice in body.get("choices", []):
            if self.server.cut:
                choice |= {"message": {"role": "assistant", "content": None}, "finish_reason": "length"}
            choice.pop("logprobs", None)
        super()._send(body)


@pytest.fixture
def counted():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Counted)
    server.asked, server.cut = 0, False
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_twenty_rows_are_scored_on_their_own_documents(endpoint, tmp_path, capsys):
    rows = rag_rows()
    out = tmp_path / "scored.jsonl"
    argv = ["score", "--responses", lines(tmp_path / "rag.jsonl", rows), "--model", endpoint, "--out", str(out)]
    assert main(argv) == 0
    assert capsys.readouterr().out.startswith("75.00 [")
    scored = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["facts_pct"] for row in scored] == [0.0 if k % 4 == 3 else 100.0 for k in range(20)]
    for given, row in zip(rows, scored, strict=True):
        (claim,) = row["claims"]
        assert given["response"][claim["start"] : claim["end"]] == given["response"]
        assert any(given["response"].split()[0] in text for text in claim["documents"])
    assert scored[12]["id"] == "12" and scored[0]["id"] == "line-1"


def test_equal_claims_of_two_rows_are_judged_on_their_own_documents(endpoint):
    text = "Lio was born in Torin."
    rows = [{"answer": text, "contexts": [text]}, {"answer": text, "contexts": ["Lio was born in Velm."]}]
    rows += [{"answer": text, "contexts": ["Nobody knows."]}]
    claims = f.score(rows, model=endpoint).claims
    assert list(claims.label) == ["Supported", "Contradictory", "Unverified"]
    assert [documents[0] for documents in claims.documents] == [row["contexts"][0] for row in rows]


def test_long_documents_give_their_nearest_passages(endpoint):
    pages = [" ".join(f"{town} has a harbour of {k} ships." for k in range(60)) for town in TOWNS]
    row = {"answer": "Lio was born in Torin.", "contexts": [*pages, "Lio was born in Torin."]}
    claims = f.score([row], model=endpoint).claims
    assert list(claims.label) == ["Supported"] and len(claims.documents[0]) == 5


def test_rows_without_documents_go_to_the_knowledge_base(endpoint, tmp_path, capsys):
    rows = [
        {"answer": "Lio was born in Torin.", "contexts": ["Lio was born in Velm."]},
        {"answer": "Lio was born in Torin.", "contexts": None},
    ]
    kb = lines(tmp_path / "kb.jsonl", [{"title": "Lio", "text": "Lio was born in Torin."}])
    out = tmp_path / "out.csv"
    argv = ["score", "--responses", lines(tmp_path / "rows.jsonl", rows), "--model", endpoint, "--out", str(out)]
    assert main([*argv, "--kb", kb]) == 0
    with open(out, newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["label"] for row in table] == ["Contradictory", "Supported"]
    assert json.loads(table[1]["documents"]) == ["Lio was born in Torin."]
    capsys.readouterr()
    assert main(argv) == 0  # the second answer has nothing to be judged on
    out_text, err = capsys.readouterr()
    assert out_text.startswith("0.00 [") and "1 of 2 claims were judged without any document" in err


def test_nothing_to_judge_on_is_an_error(endpoint, tmp_path, capsys):
    rows = lines(tmp_path / "rows.jsonl", [{"answer": "Lio was born in Torin.", "my_contexts": ["Lio."]}])
    assert main(["score", "--responses", rows, "--model", endpoint]) == 2
    err = capsys.readouterr().err
    assert "'my_contexts' is not read" in err and "the rows have none of their own" in err.splitlines()[-1]
    assert main(["score", "--responses", rows, "--model", endpoint, "--fields", "documents=my_contexts"]) == 0
    with pytest.raises(SystemExit):
        main(["score", "--responses", rows, "--model", endpoint, "--fields", "contexts=my_contexts"])
    assert "is not MEANING=NAME" in capsys.readouterr().err


def test_revise_takes_the_same_rows(endpoint, tmp_path, capsys):
    rows = [
        {
            "question": "Who is Lio?",
            "answer": "\nLio was born in Torin. Lio taught at Velm.",
            "contexts": ["Lio was born in Torin."],
        },
        {"question": "Who is Ines?", "answer": "", "contexts": ["Ines."]},
    ]
    out = tmp_path / "revised.parquet"
    argv = ["revise", "--responses", lines(tmp_path / "rows.jsonl", rows), "--model", endpoint, "--rounds", "2"]
    assert main([*argv, "--out", str(out)]) == 0
    assert "1 empty answer" in capsys.readouterr().err
    table = pd.read_parquet(out)
    assert list(table.before) == [row["answer"] for row in rows]
    assert [text.strip() for text in table.after] == ["Lio was born in Torin.", ""]
    actions = json.loads(table.actions[0])
    assert [action["action"] for action in actions if action["round"] == 1] == ["keep", "remove"]


@pytest.mark.parametrize("name", ["judge", "score", "revise"])
def test_only_records_on_standard_output(name, endpoint, tmp_path, capsys):
    row = {"question": "Who is Lio?", "answer": "Lio was born in Torin.", "contexts": ["Lio was born in Torin."]}
    claim = {"claim": "Lio was born in Torin.", "contexts": ["Lio was born in Torin."]}
    rows = lines(tmp_path / "rows.jsonl", [claim if name == "judge" else row] * 2)
    argv = ["judge", rows] if name == "judge" else [name, "--responses", rows]
    assert main([*argv, "--model", endpoint, "--out", "-"]) == 0
    out, err = capsys.readouterr()
    assert len([json.loads(line) for line in out.splitlines()]) == 2
    assert ("% supported" in err) == (name == "score")


def test_the_same_command_pays_once(counted, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FENCE_CACHE", str(tmp_path / "answers"))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-of-some-length")
    argv = ["score", "--responses", lines(tmp_path / "rag.jsonl", rag_rows()[:3]), "--model", f"{counted.url}#m"]
    assert main(argv) == 0
    first, paid = capsys.readouterr(), counted.asked
    assert "m offers no log-probabilities" in first.err
    assert main(argv) == 0
    assert counted.asked == paid and capsys.readouterr().out == first.out
    assert main([*argv, "--no-cache"]) == 0 and counted.asked > paid
    kept = [path for path in (tmp_path / "answers").iterdir()]
    assert len(kept) == 1 and b"sk-a-secret" not in kept[0].read_bytes()
    assert main(argv[:-1] + [f"{counted.url}#other"]) == 0
    assert len(list((tmp_path / "answers").iterdir())) == 2


def test_probabilities_that_were_asked_for_are_missed_before_anything_is_paid(counted, monkeypatch):
    asked = []
    monkeypatch.setattr("conftest._answer", lambda text: asked.append(text) or "Hello.")
    with pytest.raises(f.InputError, match="offers no log-probabilities"):
        f.score(rag_rows()[:3], model=f"{counted.url}#m", probs=True)
    assert asked and not any(name in text for name in PEOPLE for text in asked)


def test_what_was_not_read_is_no_score(counted, tmp_path, capsys):
    rows = lines(tmp_path / "rag.jsonl", rag_rows()[:3])
    model = f"{counted.url}#m"
    assert main(["score", "--responses", rows, "--model", model]) == 0  # the server can answer
    capsys.readouterr()
    counted.cut = True
    assert main(["score", "--responses", rows, "--model", model, "--no-cache"]) in (1, 2)
    out, err = capsys.readouterr()
    assert "%" not in out and "% supported" not in err


def test_a_part_that_failed_is_left_out_and_said():
    from fence_nb.models.interface import Reply

    class Half:
        "Splits everything, and judges only what is about Lio."

        name = "half"
        has_logprobs = False

        def generate(self, conversations, *args, **options):
            replies = []
            for conversation in conversations:
                text = conversation[-1]["content"]
                if "Documents:" not in text:
                    replies.append([Reply(f"- {text.rpartition('Sentence: ')[2].strip()}")])
                elif "Claim: Lio" in text:
                    replies.append([Reply("They say so.\nLabel: Supported")])
                else:
                    replies.append([Reply("", False, "status 500, 6 tries")])
            return replies

        def label_logprobs(self, conversations, options):
            raise f.InputError("none")

    scored = f.score([{"answer": f"{name} sings.", "contexts": ["x"]} for name in ("Lio", "Ines")], model=Half())
    assert scored.summary.facts_pct == 100 and scored.summary.responses_with_claims == 1
    assert len(scored.failures) == 1 and any(
        "questions without an answer: 1 (failed 1)" in note for note in scored.notes
    )


def test_sentences_need_no_model_that_writes(tmp_path):
    from fence_nb.core.records import Label
    from fence_nb.domains.examples import PAGE, example_claims
    from fence_nb.judging.cascade import fit_word_judge

    words = fit_word_judge([(claim, [PAGE]) for claim in example_claims()], [Label.SUPPORTED, *[Label.UNVERIFIED] * 3])
    words.save(tmp_path / "words")
    rows = [{"answer": "Ada Vell was born in Torin. She sang.", "contexts": [PAGE.text]}]
    scored = f.score(rows, judge=str(tmp_path / "words"), splitter="sentences")
    assert [claim.text for claim in scored.claims_by_response[scored.responses[0].id]] == [
        "Ada Vell was born in Torin.",
        "She sang.",
    ]
    argv = ["score", "--responses", lines(tmp_path / "rows.jsonl", rows), "--judge", str(tmp_path / "words")]
    assert main([*argv, "--splitter", "sentences"]) == 0
    assert main(argv) == 2


def test_results_of_every_kind(endpoint, tmp_path):
    scored = f.score(rag_rows()[:4], model=endpoint)
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        scored.to(tmp_path / name)
    frame, table = pd.read_parquet(tmp_path / "a.parquet"), pd.read_csv(tmp_path / "a.csv")
    assert list(frame.label) == list(table.label) == list(scored.claims.label)
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 4
    judged = f.judge([{"claim": "Lio sings.", "documents": ["Lio sings."]}], model=endpoint)
    judged.to(tmp_path / "judged.csv")
    assert pd.read_csv(tmp_path / "judged.csv").label[0] == "Supported"


def test_doctor_tells_what_a_server_can_do(counted, capsys):
    assert main(["doctor", "--model", f"{counted.url}#m"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("model ") and "log-probabilities          none" in out
    assert main(["doctor", "--model", "http://127.0.0.1:9/v1#m"]) == 2


def test_a_key_in_an_address_is_not_shown(counted, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FENCE_CACHE", str(tmp_path / "answers"))
    rows = lines(tmp_path / "rag.jsonl", rag_rows()[:2])
    model = f"{counted.url}?api_key=a-long-secret-key&version=2#m"
    assert main(["score", "--responses", rows, "--model", model, "--out", str(tmp_path / "out.csv")]) == 0
    out, err = capsys.readouterr()
    assert "a-long-secret-key" not in out + err and f"opening {counted.url}#m" in err
    assert not [f for f in tmp_path.rglob("*") if f.is_file() and b"a-long-secret" in f.read_bytes()]
