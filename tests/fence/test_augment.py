"Evaluator training data: what becomes of labels that nobody gave."

import pytest

from fence_nb.core.records import Document, JudgedClaim, Label
from fence_nb.fence.augment import augment_counts, augment_critiques, augment_table, label_rows
from fence_nb.judging.prompts import TERSE, verdict
from fence_nb.models.interface import ScriptedLM


def example(claim: str, supported: bool, label: Label | None = None) -> JudgedClaim:
    return JudgedClaim(
        claim=claim, documents=[Document(text="A page.")], supported=supported, label=label, corpus="pages"
    )


EXAMPLES = [
    example("supported, two-way", True),
    example("not supported, two-way", False),
    example("not supported, three-way", False, Label.CONTRADICTORY),
]


@pytest.mark.parametrize("two_way, labels", [("unverified", "SUC"), ("leave_out", "SC")])
def test_a_two_way_label_is_guessed_or_left_out(two_way, labels):
    rows = label_rows(EXAMPLES, two_way)
    assert "".join(r.label.value[0] for r in rows) == labels
    counts = augment_counts(EXAMPLES, rows)
    guessed, left_out = counts["two_way_unverified_pct"], counts["left_out_pct"]
    assert (guessed, left_out) == ((33.3, 0.0) if two_way == "unverified" else (0.0, 33.3))


@pytest.mark.parametrize("two_way", ["unverified", "leave_out"])
def test_an_agreeing_critique_brings_the_finer_label(two_way):
    teacher = ScriptedLM(lambda *_: verdict("It says otherwise.", Label.CONTRADICTORY))
    rows, failures = augment_critiques(teacher, EXAMPLES, TERSE, n=2, two_way=two_way)
    assert failures == [] and [r.label.value for r in rows] == ["Supported", "Contradictory", "Contradictory"]
    last = augment_table(EXAMPLES, rows)[-1]
    assert last["corpus"] == "all" and last["critique_kept_pct"] == 66.7 and last["two_way_unverified_pct"] == 0.0
