"One door to every judge, and every judge keeps the contract."

import pytest

from fence_nb.core.records import Claim, Document, InputError, Label
from fence_nb.domains.examples import PAGE, example_claims, example_lm
from fence_nb.fence.knowledge import SelfJudge
from fence_nb.judging import judges
from fence_nb.judging.cascade import Band, CascadeJudge, fit_word_judge, save_band
from fence_nb.judging.judge import Judge, LMJudge, Verdict, verdict_records
from fence_nb.judging.judges import JudgeKind, JudgeOptions, open_fast_judge, open_judge
from fence_nb.judging.prompts import FULL, TERSE
from fence_nb.models.interface import ScriptedLM

ITEMS = [(claim, [PAGE]) for claim in example_claims()]
LABELS = [Label.SUPPORTED, Label.CONTRADICTORY, Label.SUPPORTED, Label.UNVERIFIED]


@pytest.fixture
def words(tmp_path):
    fit_word_judge(ITEMS, LABELS).save(tmp_path)
    save_band(tmp_path, Band(0.5, 0.5))
    return tmp_path


def test_every_judge_is_a_judge(words):
    fast, band = open_fast_judge(words)
    lm_judge = open_judge(example_lm(), JudgeOptions(TERSE))
    for judge in (fast, lm_judge, CascadeJudge(fast, lm_judge, band), SelfJudge(example_lm(), TERSE)):
        assert isinstance(judge, Judge)
        judgments, failures = judge.judge(ITEMS)
        assert [j.claim_id for j in judgments] == [c.id for c, _ in ITEMS] and not failures


def test_the_same_records_however_they_are_asked():
    together, _ = LMJudge(example_lm(), FULL, with_probs=False).judge(ITEMS)
    judge = LMJudge(example_lm(), FULL, with_probs=False)
    assert [judge.judge([item])[0][0] for item in ITEMS] == together


def test_equal_questions_are_asked_once():
    asked = []

    def answer(conversation, sample, seed):
        asked.append(conversation[-1]["content"])
        return "no verdict" if "Marn" in conversation[-1]["content"].split("Claim")[1] else "Yes.\nLabel: Supported"

    judge = LMJudge(ScriptedLM(answer), TERSE, with_probs=False, forced=False)
    again = [(Claim(response_id="other", text=c.text, start=0, end=1), docs) for c, docs in ITEMS]
    for items in (ITEMS + again, again):
        judgments, failures = judge.judge(items)
        assert len(judgments) + len(failures) == len(items) and len(failures) == len(items) // 4
    assert len(asked) == len(ITEMS)


def test_a_full_memory_is_emptied(monkeypatch):
    monkeypatch.setattr(LMJudge, "MEMORY", 3)
    judge = LMJudge(example_lm(), TERSE, with_probs=False)
    assert judge.judge(ITEMS) == judge.judge(ITEMS) == judge.judge(ITEMS)


def test_a_new_judge_is_a_row(monkeypatch):
    class Credulous:
        name = "credulous"

        def judge(self, items, desc=""):
            return verdict_records(items, [Verdict(Label.SUPPORTED)] * len(items), self.name)

    row = JudgeKind(lambda spec: spec == "believe", lambda spec, options: Credulous(), lambda spec: "credulous")
    monkeypatch.setattr(judges, "JUDGE_KINDS", {"credulous": row} | judges.JUDGE_KINDS)
    assert {j.label for j in open_judge("believe").judge(ITEMS)[0]} == {Label.SUPPORTED}
    assert open_fast_judge("believe", "0.1,0.9")[0].name == "credulous"


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(InputError, match="no model in this folder"):
        open_judge(tmp_path)
    with pytest.raises(InputError, match="learn it again"):
        open_fast_judge(tmp_path)
    with pytest.raises(InputError, match="no probabilities of words"):
        open_judge(example_lm(), JudgeOptions(critiques=False))


def test_no_claim_no_question():
    assert open_judge(ScriptedLM.from_table({}), JudgeOptions(TERSE)).judge([]) == ([], [])


def test_documents_are_named():
    page = Document(title="Ada Vell", text="Other words.")
    judgments, _ = LMJudge(example_lm(), FULL, with_probs=False).judge([(ITEMS[0][0], [PAGE, page])])
    assert judgments[0].document_ids == [PAGE.id, page.id]


def test_a_model_without_probabilities_judges_on_and_says_so(capsys):
    judge = open_judge(example_lm(), JudgeOptions(with_probs=True))
    judgments, failures = judge.judge(ITEMS)
    assert not failures and all(j.probs == {} for j in judgments)
    assert "tells no log-probabilities" in capsys.readouterr().err
