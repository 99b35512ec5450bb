"Files: long work goes on from any kill with the same records, and files of earlier releases are still read."

import json

import pytest
from pydantic import ValidationError

from fence_nb.core.records import Failure, MissingExtra, Record, need
from fence_nb.core.store import chunks, fingerprint, read_records, run_resumable, write_records


def failure(i: int) -> Failure:
    return Failure(stage="judge", item_id=str(i), reason="unparsed")


def do(chunk: tuple[int, list[int]]) -> list[Failure]:
    return [failure(i) for i in chunk[1]]


def test_work_goes_on_from_any_byte(tmp_path):
    todo = chunks(list(range(6)), 2)
    whole = run_resumable(tmp_path / "whole.jsonl", todo, do)
    expected = (tmp_path / "whole.jsonl").read_bytes()
    first, second, _ = [len(line) for line in expected.splitlines(keepends=True)][::2]
    for cut in range(2 * first, len(expected), 37):  # the first chunk is safe, whatever else was written
        (tmp_path / "r.jsonl.part").write_bytes(expected[:cut])
        (tmp_path / "r.jsonl.journal").write_text(
            f"{2 * first}\n{2 * first + second}"[: len(str(2 * first)) + 1 + cut % 3]
        )
        seen = []

        def watched(chunk, seen=seen):
            seen.append(chunk[0])
            return do(chunk)

        assert run_resumable(tmp_path / "r.jsonl", todo, watched) == whole
        assert (tmp_path / "r.jsonl").read_bytes() == expected and seen == [2, 4]
        (tmp_path / "r.jsonl").unlink()


def test_nothing_is_left_of_work_that_did_nothing(tmp_path):
    def broken(chunk):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_resumable(tmp_path / "r.jsonl", [0, 1], broken)
    assert list(tmp_path.iterdir()) == []


def test_files_of_long_work_have_a_reader(tmp_path):
    run_resumable(tmp_path / "r.jsonl", [0, 1], lambda chunk: [failure(7), failure(chunk)])
    with pytest.raises(ValueError, match="was used before"):
        read_records(tmp_path / "r.jsonl")
    assert [r.item_id for r in read_records(tmp_path / "r.jsonl", unique=False)] == ["7", "0", "1"]
    assert run_resumable(tmp_path / "empty.jsonl", [], do) == []
    assert read_records(tmp_path / "empty.jsonl", partial=True, unique=False) == []


@pytest.mark.parametrize(
    "row",
    [
        {"stage": "claims", "reason": "empty"},
        {"stage": "evidence", "reason": "tool"},
        {"stage": "score", "reason": "unparsed"},
        {"stage": "truthfulqa", "reason": "error"},
        {"stage": "augment", "reason": "truncated"},
    ],
)
def test_failures_of_earlier_files_are_read(tmp_path, row):
    line = {"kind": "Failure", "id": "fa-1", "item_id": "x", "detail": ""} | row
    (tmp_path / "f.jsonl").write_text(json.dumps(line) + "\n")
    assert read_records(tmp_path / "f.jsonl")[0].model_dump() == line


def test_failures_have_named_steps_and_reasons():
    for row in ({"stage": "judging", "reason": "tool"}, {"stage": "judge", "reason": "bad"}):
        with pytest.raises(ValidationError):
            Failure(item_id="x", **row)


def test_ids_of_records_do_not_move():  # this one was made by the flat modules
    assert failure(1).id == "fa-519a3d983369"


def test_a_fingerprint_sees_names_and_contents(tmp_path):
    for name, text in (("a/x", "1"), ("b/y", "1"), ("c/x", "2"), ("d/x", "1")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    (tmp_path / "d" / ".hidden").write_text("3")
    a, b, c, d = (fingerprint(tmp_path / name) for name in "abcd")
    assert a == d and len({a, b, c}) == 3 and fingerprint(tmp_path / "none") == ""


def test_write_keeps_one_of_equals(tmp_path):
    assert write_records(tmp_path / "r.jsonl", [failure(1), failure(1), failure(2)]) == 2
    assert all(isinstance(r, Record) for r in read_records(tmp_path / "r.jsonl"))


def test_a_missing_extra_is_one_line():
    need("local", "json", "os.path")
    with pytest.raises(MissingExtra) as e:
        need("local", "json", "no_such_library.at_all")
    assert "pip install 'fence_nb[local]'" in str(e.value) and "\n" not in str(e.value)


def test_public_data_may_lie_elsewhere(tmp_path, monkeypatch):
    from fence_nb.core.settings import load_profile

    profile = load_profile("llama3-8b")
    monkeypatch.setenv("FENCE_DATA", str(tmp_path))
    assert profile.place("data/raw/prompts/x.csv") == str(tmp_path / "prompts" / "x.csv")
    assert profile.place("hub/name") == "hub/name"
    monkeypatch.delenv("FENCE_DATA")
    assert profile.place("data/raw/prompts/x.csv") == "data/raw/prompts/x.csv"
