"Rows as other tools write them: every accepted name, every way to say nothing, and what is told about it."

import json

import pandas as pd
import pytest

from fence_nb.core.records import Document, InputError, Label
from fence_nb.core.rows import (
    DOCUMENT_NAMES,
    FIELD_NAMES,
    as_documents,
    claim_rows,
    open_answers,
    open_table,
    read_document_file,
    write_table,
)

TEXT = "Lio Marr founded the Harbour Choir in 1961."
PAGE = "The Harbour Choir was founded by Lio Marr in 1961."


def texts(answers) -> list[list[str]]:
    return [[d.text for d in answers.documents_by_row.get(r.prompt_id, [])] for r in answers.responses]


@pytest.mark.parametrize("name", FIELD_NAMES["text"])
def test_every_name_of_the_answer(name):
    answers = open_answers([{name: TEXT, "contexts": [PAGE]}])
    assert answers.responses[0].text == TEXT and texts(answers) == [[PAGE]]


@pytest.mark.parametrize("name", FIELD_NAMES["prompt"])
def test_every_name_of_the_question(name):
    assert open_answers([{name: "Who founded it?", "text": TEXT}]).responses[0].prompt == "Who founded it?"


@pytest.mark.parametrize("name", [*FIELD_NAMES["documents"], "reference", "reference_contexts"])
@pytest.mark.parametrize(
    "value",
    [PAGE, [PAGE], [{"text": PAGE}], {"content": PAGE}, json.dumps([PAGE]), str([PAGE]), [[PAGE]], [PAGE, None]],
)
def test_every_name_and_form_of_documents(name, value):
    assert texts(open_answers([{"response": TEXT, name: value}])) == [[PAGE]]
    claims = claim_rows([{"claim": TEXT, name: value}])
    assert [d.text for d in claims[0].documents] == ([PAGE] if name in FIELD_NAMES["documents"] else [])


@pytest.mark.parametrize("text", DOCUMENT_NAMES["text"])
@pytest.mark.parametrize("title", DOCUMENT_NAMES["title"])
def test_every_name_inside_a_document(text, title):
    assert [(d.title, d.text) for d in as_documents([{title: 7, text: PAGE}])] == [("7", PAGE)]


def test_documents_of_several_tools():
    assert texts(open_answers([{"response": TEXT, "source_info": {"question": "Who?", "passages": PAGE}}])) == [[PAGE]]
    place = {"name": "Marr's Inn", "stars": 3.5}  # RAGTruth's data about a place
    assert "3.5" in texts(open_answers([{"response": TEXT, "source_info": place}]))[0][0]
    chain = {"page_content": PAGE, "metadata": {"title": "Choir", "page": 2}}
    assert [d.title for d in as_documents([chain])] == ["Choir"]
    record = Document(text=PAGE, title="Choir")
    assert as_documents([record]) == [record]
    assert [(d.title, d.text) for d in as_documents(record.model_dump())] == [("Choir", PAGE)]


def test_nothing_is_cut_from_an_answer():
    for text in ("\n\n" + TEXT, f"  {TEXT}\r\n", "", None):
        assert open_answers([{"text": text}]).responses[0].text == (text or "")


def test_two_fields_of_one_meaning(capsys):
    row = {"response": TEXT, "answer": TEXT, "context": [PAGE], "retrieval_context": [PAGE]}
    assert texts(open_answers([row])) == [[PAGE]]
    assert texts(open_answers([row | {"context": None}])) == [[PAGE]]
    with pytest.raises(
        InputError, match="answer:1: fields 'retrieval_context' and 'context' differ.*--fields documents="
    ):
        open_answers([row | {"context": ["Other."]}])
    chosen = open_answers([row | {"context": ["Other."]}], fields={"documents": "context"})
    assert texts(chosen) == [["Other."]] and capsys.readouterr().err == ""


def test_what_is_empty_is_counted(capsys):
    rows = [
        {"id": 1, "answer": TEXT, "contexts": [PAGE, "", None, {"text": " "}]},
        {"id": 2.5, "answer": "", "contexts": []},
        {"id": None, "answer": float("nan"), "contexts": None},
    ]
    answers = open_answers(rows)
    assert [r.prompt_id for r in answers.responses] == ["1", "2.5", "answer-3"]
    assert texts(answers) == [[PAGE], [], []]
    told = capsys.readouterr().err.splitlines()
    assert "note: 3 empty documents left out" in told[0] and "2 rows without a document" in told[1]
    assert "2 empty answers" in told[2] and len(told) == 3


def test_a_field_that_looks_meant_is_named(capsys):
    open_answers([{"answer": TEXT, "retrieved_context_list": [PAGE]}, {"answer": TEXT, "my_documents": [PAGE]}])
    told = capsys.readouterr().err
    assert "'retrieved_context_list' is not read" in told and "--fields documents=my_documents" in told
    open_answers([{"answer": TEXT, "contexts": [PAGE], "context_precision": 0.5, "model": "m"}])
    assert capsys.readouterr().err == ""
    claim_rows([{"claim": TEXT, "documents": [PAGE], "lable": "Supported"}])
    assert "'lable' is not read" in capsys.readouterr().err
    open_answers([{"answer": TEXT, "reference": PAGE}])
    assert "documents are taken from the field 'reference'" in capsys.readouterr().err
    assert open_answers([{"answer": TEXT, "reference": PAGE}], spare=True).documents_by_row == {}


@pytest.mark.parametrize(
    "row, words",
    [
        ({"topic": "Choir"}, "answer:1: field 'text': field required; it may also be called response, answer"),
        ({"answer": 7}, "answer:1: field 'answer': input should be a valid string; found '7'"),
        ({"answer": TEXT, "contexts": [{"title": "Choir"}]}, "field 'contexts.0.text': field required"),
        ({"answer": TEXT, "contexts": [3]}, "field 'contexts.0': input should be a valid string"),
        ({"answer": TEXT, "contexts": json.loads("[" * 40 + "]" * 40)}, None),
        ({"answer": TEXT, "contexts": json.loads("[" * 40 + '"x"' + "]" * 40)}, "nested too deep"),
    ],
)
def test_rows_that_cannot_be_read(row, words):
    if words is None or "nested" in words:
        with pytest.raises(InputError, match="nested too deep"):
            open_answers([row])
        return
    with pytest.raises(InputError) as error:
        open_answers([row])
    assert words in str(error.value) and "\n" not in str(error.value)


def test_labels_in_several_words():
    words = ["supported", "CONTRADICTORY", " Unverified ", "Entailment", "neutral", "", None]
    labels = [claim_rows([{"claim": TEXT, "documents": [PAGE], "label": word}])[0].label for word in words]
    assert labels == [
        Label.SUPPORTED,
        Label.CONTRADICTORY,
        Label.UNVERIFIED,
        Label.SUPPORTED,
        Label.UNVERIFIED,
        None,
        None,
    ]


def test_frames_and_data_sets():
    frame = pd.DataFrame(
        [{"question": "Who?", "answer": TEXT, "contexts": [PAGE]}, {"question": "Who?", "answer": None}]
    )
    assert texts(open_answers(frame)) == [[PAGE], []]
    datasets = pytest.importorskip("datasets", reason="the extra train is not installed")
    data = datasets.Dataset.from_list([{"user_input": "Who?", "response": TEXT, "retrieved_contexts": [PAGE]}])
    assert texts(open_answers(data)) == [[PAGE]]


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_files_of_every_kind(ending, tmp_path):
    rows = [{"id": 4, "question": "Who?", "answer": TEXT, "contexts": [PAGE, "More."]}]
    path = tmp_path / f"rows.{ending}"
    if ending in ("csv", "parquet"):
        write_table(rows, path)
    else:
        path.write_text(json.dumps(rows if ending == "json" else rows[0]))
    answers = open_answers(path)
    assert [(r.prompt_id, r.prompt, r.text) for r in answers.responses] == [("4", "Who?", TEXT)]
    assert texts(answers) == [[PAGE, "More."]]


def test_files_that_cannot_be_read(tmp_path):
    for name, content, words in (
        ("a.csv", b"", "empty file"),
        ("b.csv", b"answer\n\xff\xfe\n", "not CSV"),
        ("c.parquet", b"PAR1", "not Parquet"),
        ("d.json", b"[1, 2]", "found int"),
        ("e.json", b"[", "not JSON"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=words):
            list(open_table(tmp_path / name))
    with pytest.raises(InputError, match="no such file"):
        list(open_table(tmp_path / "none.csv"))


def test_documents_of_a_file(tmp_path):
    path = tmp_path / "docs.jsonl"
    rows = [{"title": None, "text": "One."}, {"source": 1984, "content": "Two."}, {"text": ""}, {"page_content": None}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(d.title, d.text) for d in read_document_file(path)] == [("", "One."), ("1984", "Two.")]


def test_half_a_letter_and_messages_in_parts(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"answer": "Velm \\ud83d is old.", "contexts": ["\\udc00"]}\n')
    answers = open_answers(tmp_path / "a.jsonl")
    assert answers.responses[0].text == "Velm \ufffd is old."
    row = {"id": "a\udfff", "answer": "Here.", "documents": [{"title": "\ud800", "text": "Velm."}]}
    assert open_answers([row]).responses[0].prompt_id == "a\ufffd"
    parts = [{"role": "user", "content": [{"type": "text", "text": "Where is "}, {"type": "text", "text": "Velm?"}]}]
    assert open_answers([{"prompt": parts, "response": "Here."}]).responses[0].prompt == "Where is Velm?"


@pytest.mark.parametrize("value", [None, 7, ["Velm is old."]])
def test_what_has_no_fields_is_no_row(value):
    with pytest.raises(InputError, match="answer:1: found"):
        open_answers([value])
    with pytest.raises(InputError, match="claim:1: found"):
        claim_rows([value])


def test_a_text_with_a_comma_that_is_not_quoted(tmp_path):
    (tmp_path / "a.csv").write_text("question,answer\nWhere?,In Velm, by the sea.\n")
    with pytest.raises(InputError, match="2 columns; put texts with commas in quotation marks"):
        open_answers(tmp_path / "a.csv")
