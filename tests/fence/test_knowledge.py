"What a generator knows: the same claim, another claim about the same thing, and what follows for the revision."

import math

import pytest

from fence_nb.core.records import Claim, Document, InputError, Judgment, Label, Response
from fence_nb.core.settings import load_profile
from fence_nb.domains.examples import example_lm
from fence_nb.evidence.tools import FunctionTool, Toolbox
from fence_nb.fence.knowledge import (
    KnowledgeRule,
    LesserKnownTest,
    OwnSamples,
    about_the_same_thing,
    folded_claim,
    mean_probabilities,
)
from fence_nb.fence.revise import revise_responses
from fence_nb.judging.assess import Assessor
from fence_nb.judging.prompts import TERSE, AskOptions
from fence_nb.models.interface import ScriptedLM
from fence_nb.results.scores import ClaimView, knowledge_figures

SAID = ["Oslo", "Bergen", "Oslo", "Oslo", "Stavanger"]


def sample(number: int, *sentences: str, prompt: str = "p") -> Response:
    return Response(prompt_id=prompt, prompt="Norway?", text=" ".join(sentences), topic="Norway", sample=number)


def claims_of(responses: list[Response]) -> list[Claim]:
    "Each sentence is a claim."
    claims = []
    for response in responses:
        start = 0
        for sentence in response.text.split(". "):
            text = sentence.rstrip(".") + "."
            start = response.text.index(sentence, start)
            claims.append(Claim(response_id=response.id, text=text, start=start, end=start + len(text)))
    return claims


@pytest.fixture
def capitals() -> tuple[list[Response], list[Claim], OwnSamples]:
    responses = [sample(k, f"The capital of Norway is {city}.") for k, city in enumerate(SAID)]
    claims = claims_of(responses)
    return responses, claims, OwnSamples(responses, claims, {c.id for c in claims if "Oslo" in c.text})


@pytest.mark.parametrize(
    "first, second, same",
    [
        ("The capital of Norway is Oslo.", "the capital of NORWAY is Bergen", True),
        ("The capital of Côte d'Ivoire is Abidjan.", "The capital of Cote d'Ivoire is Yamoussoukro.", True),
        ("The capital of Norway is Oslo.", "The capital of Norway is Oslo!", False),  # equal
        ("The capital of Norway is Oslo.", "The currency of Norway is the krone.", False),
        ("The currency of Nauru is the Australian dollar.", "The currency of Nauru is the Nauruan dollar.", True),
        ("Norway became independent in 1905.", "Norway became independent in 1814.", True),
        ("Norway became independent in 1905.", "Norway became independent in June.", False),  # a year is no month
        ("Oslo is the capital of Norway.", "Bergen is the capital of Norway.", True),
        ("Ada was born in Oslo.", "Ada lives in Oslo.", False),  # another relation, the same town
        ("Norway borders Sweden.", "Norway borders Sweden and Finland and Russia and no sea.", False),
        ("Norway lies in Europe.", "Norway lies in the north of Europe between two very cold seas.", False),
    ],
)
def test_about_the_same_thing(first, second, same):
    first, second = folded_claim(first), folded_claim(second)
    assert about_the_same_thing(first, second) is about_the_same_thing(second, first) is same


def test_sharing_the_name_of_the_topic_is_not_enough():
    congo = "Democratic Republic of the Congo"
    claims = [folded_claim(f"{congo} {rest}.") for rest in ("borders Chad", "exports cars", "borders Sudan")]
    assert about_the_same_thing(claims[0], claims[1])
    assert not about_the_same_thing(claims[0], claims[1], folded_claim(congo))
    assert about_the_same_thing(claims[0], claims[2], folded_claim(congo))


def test_shares_are_of_the_other_samples(capitals):
    responses, claims, samples = capitals
    shares = [(samples.said(c, r), samples.right(c, r)) for c, r in zip(claims, responses, strict=True)]
    assert shares == [(0.5, 0.0), (0.0, 0.75), (0.5, 0.0), (0.5, 0.0), (0.0, 0.75)]


def test_a_refusal_is_a_sample_and_a_revision_is_none(capitals):
    responses, claims, _ = capitals
    refusal = sample(5, "I do not know.")
    revised = responses[0].model_copy(update={"id": "re", "policy": "edit", "parent": responses[0].id, "sample": 6})
    more = OwnSamples(
        [*responses, refusal, revised], [*claims, claims[0].model_copy(update={"response_id": "re"})], set()
    )
    assert more.said(claims[0], responses[0]) == 2 / 5


def test_another_prompt_does_not_count(capitals):
    responses, claims, samples = capitals
    alone = sample(0, "The capital of Norway is Oslo.", prompt="other")
    [claim] = claims_of([alone])
    mixed = OwnSamples([*responses, alone], [*claims, claim], set())
    assert mixed.said(claim, alone) is None is mixed.right(claim, alone)
    assert samples.said(claim, alone) is None


def test_three_views(capitals):
    responses, claims, samples = capitals

    def views(**thresholds) -> list[str]:
        test = LesserKnownTest(example_lm(), TERSE, rule=KnowledgeRule("agreement", **thresholds))
        return list(test.views(claims, responses, samples)[0].values())

    assert views(said=0.5) == ["true", "false", "true", "true", "false"]
    assert views(said=1.1) == ["unknown", "false", "unknown", "unknown", "false"], "it never stands by a claim"
    assert set(views(said=1.1, right=0.8)) == {"unknown"}


def test_a_single_sample_has_no_view():
    alone = sample(0, "The capital of Norway is Oslo.")
    claims = claims_of([alone])
    views, [failure] = LesserKnownTest(example_lm(), TERSE, rule=KnowledgeRule("agreement")).views(
        claims, [alone], OwnSamples([alone], claims, set())
    )
    assert views == {} and (failure.stage, failure.reason, failure.item_id) == ("knowledge", "empty", claims[0].id)


def test_agreement_wants_two_candidates():
    from fence_nb.app.generator import knowledge_rule

    with pytest.raises(InputError, match="raise n_candidates"):
        knowledge_rule(load_profile("mini", {"knowledge": "agreement", "n_candidates": 1}))
    assert knowledge_rule(load_profile("mini")) == KnowledgeRule()
    assert knowledge_rule(load_profile("mini", {"knowledge": "agreement", "knowledge_said": 2})).said == 2


class Weighing(ScriptedLM):
    "Finds Oslo likely and nothing else."

    def __init__(self):
        super().__init__(lambda *_: "true")
        self.asked = []

    def continuation_logprobs(self, conversations, texts):
        self.asked += list(zip(conversations, texts, strict=True))
        return [[math.log(0.9 if "Oslo" in text else 0.1)] * 2 if text.strip() else [] for text in texts]


def test_probabilities_stand_after_what_was_written():
    response = sample(0, "Norway is cold.", "Its capital is Oslo.", "Its king is Bo.")
    claims = claims_of([response])
    lm = Weighing()
    means = mean_probabilities(lm, claims, [response])
    assert [round(means[claim.id], 6) for claim in claims] == [0.1, 0.9, 0.1]
    (first, alone), (second, later), _ = lm.asked
    assert [m["role"] for m in first] == ["user"] and alone == "Norway is cold."
    assert second[-1] == {"role": "assistant", "content": "Norway is cold."} and later == " Its capital is Oslo."
    test = LesserKnownTest(lm, TERSE, rule=KnowledgeRule("logprob", said=0.5))
    views, failures = test.views(claims, [response], OwnSamples([], [], set()))
    assert list(views.values()) == ["unknown", "true", "unknown"] and failures == []


def test_a_model_without_probabilities_is_refused():
    response = sample(0, "The capital of Norway is Oslo.")
    with pytest.raises(InputError, match="a model on this machine does"):
        mean_probabilities(example_lm(), claims_of([response]), [response])


def test_asking_says_it_by_degrees():
    lm = ScriptedLM(lambda c, *_: "false" if "Bergen" in c[-1]["content"] else "unknown")
    responses = [sample(0, "The capital of Norway is Bergen."), sample(1, "The capital of Norway is Oslo.")]
    claims = claims_of(responses)
    scores = LesserKnownTest(lm, TERSE).scores(claims, responses, OwnSamples(responses, claims, set()))
    assert list(scores.values()) == [0.0, 0.5]


# In the loop

FACTS = Document(title="Norway", text="The capital of Norway is Oslo. The king of Norway is Harald.", source="kb")


class KnowsOslo:
    "A judge that supports what names Oslo."

    name = "facts"

    def judge(self, items, desc=""):
        judgments = []
        for claim, _ in items:
            label = Label.SUPPORTED if "Oslo" in claim.text else Label.CONTRADICTORY
            judgments.append(Judgment(claim_id=claim.id, label=label, critique="The page says Oslo.", judge=self.name))
        return judgments, []


def test_what_another_sample_knows_is_corrected_and_the_rest_goes():
    responses = [
        sample(0, "The capital of Norway is Bergen.", "The king of Norway is Bo."),
        sample(1, "The capital of Norway is Oslo.", "The king of Norway is Cy."),
        sample(2, "The capital of Norway is Oslo.", "The king of Norway is Di."),
    ]
    toolbox = Toolbox([FunctionTool("kb", 'kb("title")', lambda call: [FACTS])])
    assess = Assessor(None, None, toolbox, KnowsOslo(), TERSE, options=AskOptions(splitter="sentences"))
    writer = ScriptedLM(lambda *_: "The capital of Norway is Oslo.", name="writer")
    revised = revise_responses(writer, responses, assess, rule=KnowledgeRule("agreement", said=1.1, right=0.5))
    assert [r.text for r in revised.responses] == ["The capital of Norway is Oslo."] * 3
    assert {(r.action, r.knows) for r in revised.revisions} == {
        ("keep", ""),
        ("correct", "false"),
        ("remove", "unknown"),
    }


def test_figures_beside_the_truth():
    views = [
        ClaimView(f"p{k}", is_true=k % 2 == 0, score=0.9 if k % 2 == 0 else 0.1, view="unknown", right_elsewhere=k == 1)
        for k in range(8)
    ]
    figures = knowledge_figures(views, n=50)
    assert figures.auroc == 100 and figures.auroc_ci == [100, 100]
    assert (figures.claims, figures.wrong, figures.known_pct) == (8, 4, 0)
    assert figures.known_right_pct is None and figures.unknown_right_pct == 25
    silent = knowledge_figures([ClaimView("p", True, None, "", False)], n=50)
    assert silent.auroc is None and silent.known_pct is None and silent.claims == 1
