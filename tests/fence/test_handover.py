"What training is handed: pairs counted by hand, rows in the form that TRL documents."

from math import comb

import pytest
from conftest import ROOT

from fence_nb.core.records import Document, EvaluatorRow, Preference, Response
from fence_nb.fence.augment import evaluator_sft_rows
from fence_nb.fence.preferences import SupportScore, dpo_rows, preference_pairs, sft_rows
from fence_nb.judging.prompts import TERSE


@pytest.mark.parametrize("k, pairs", [(3, 24), (5, 35)])
def test_pairs_by_hand(k, pairs):
    # Ten responses, all scores different: C(10,2) = 45 pairs, less those with both sides below the top k.
    scores = [SupportScore(i / 10, i) for i in range(10, 0, -1)]
    assert len(preference_pairs(scores, k)) == comb(10, 2) - comb(10 - k, 2) == pairs
    # Two equal pairs at the top teach nothing: 1.0 twice loses one, .5 twice (both below k = 3) loses none.
    tied = [SupportScore(*x) for x in ((1.0, 4), (1.0, 3), (0.9, 9), (0.5, 2), (0.5, 1))]
    assert len(preference_pairs(tied, 3)) == comb(5, 2) - comb(2, 2) - 1


def test_trl_takes_the_rows():
    from transformers import AutoTokenizer
    from trl.data_utils import is_conversational, maybe_apply_chat_template

    tok = AutoTokenizer.from_pretrained(ROOT / "data" / "mini" / "base")
    good, poor = (
        Response(prompt_id="p", prompt="Tell me a bio of Ada.", text=t) for t in ("Ada was born.", "Ada was not.")
    )
    pair = Preference(
        prompt=good.prompt,
        chosen=good.text,
        rejected=poor.text,
        chosen_id=good.id,
        rejected_id=poor.id,
        chosen_score=1,
        rejected_score=0,
    )
    judged = EvaluatorRow(
        claim="Ada was born.",
        documents=[Document(text="Ada was born.")],
        label="Supported",
        critique="It says so.",
        example_id="x",
    )
    for row, wanted in [
        (sft_rows([good])[0], {"prompt", "completion"}),
        (evaluator_sft_rows([judged], TERSE)[0], {"prompt", "completion"}),
        (dpo_rows([pair])[0], {"prompt", "chosen", "rejected"}),
    ]:
        assert is_conversational(row)
        text = maybe_apply_chat_template(row, tok)
        assert set(text) >= wanted and all(
            text[k].endswith(row[k][-1]["content"] + tok.eos_token) for k in wanted - {"prompt"}
        )


def test_trl_rows():
    chosen, rejected = (
        Response(prompt_id="p", prompt="Tell me a bio of Ada.", text=t) for t in ("Ada was born.", "Ada was not.")
    )
    assert sft_rows([chosen]) == [
        {
            "prompt": [{"role": "user", "content": "Tell me a bio of Ada."}],
            "completion": [{"role": "assistant", "content": "Ada was born."}],
        }
    ]
    pair = Preference(
        prompt=chosen.prompt,
        chosen=chosen.text,
        rejected=rejected.text,
        chosen_id=chosen.id,
        rejected_id=rejected.id,
        chosen_score=1,
        rejected_score=0,
    )
    assert dpo_rows([pair]) == [
        {
            "prompt": [{"role": "user", "content": "Tell me a bio of Ada."}],
            "chosen": [{"role": "assistant", "content": "Ada was born."}],
            "rejected": [{"role": "assistant", "content": "Ada was not."}],
        }
    ]
