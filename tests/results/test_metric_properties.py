"""What holds for the scores of generators and judges whatever the labels are, and what looks as if it did but does not.

One more supported claim never lowers `safe_f1`, `facts_pct` or `supported_per_response`. It never lowers `factscore`
either, where the response claims something already; a refusal that becomes one supported claim enters FActScore's
mean with exp(1 - gamma) and may lower it.
"""

import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fence_nb.results.scores import balanced_accuracy, facts_summary, factscore, safe_f1

quick = settings(max_examples=100, deadline=None)
response = st.lists(st.sampled_from([True, False, None]), max_size=12)
labels = st.lists(response, min_size=1, max_size=8)
gammas = st.one_of(st.just(10.0), st.floats(0, 30))
ks = st.floats(0.5, 200)
answers = st.lists(st.tuples(st.sampled_from("SCU"), st.sampled_from(["S", "C", "U", None])), min_size=1, max_size=30)
EPS = 1e-9
POINTS = ("facts_pct", "supported_per_response", "claims_per_response", "unparsed_pct")


def same(a, b) -> bool:
    return a is b is None or math.isclose(a, b, rel_tol=1e-9, abs_tol=EPS)


def summary(ls) -> dict:
    return facts_summary(ls, n=5).to_json()


def add(ls, i, label) -> list:
    return [x + [label] * (j == i) for j, x in enumerate(ls)]


def accuracy(pairs) -> float:
    return balanced_accuracy([g for g, _ in pairs], [p for _, p in pairs])


@st.composite
def somewhere(draw, spoken: bool = False):
    "Labels and one response among them; with `spoken` one that claims something."
    ls = draw(labels)
    at = [i for i, x in enumerate(ls) if x or not spoken]
    assume(at)
    return ls, draw(st.sampled_from(at))


# Bounds


@quick
@given(labels, gammas, ks)
def test_bounds(ls, gamma, k):
    found, silent = summary(ls), not any(ls)
    assert (factscore(ls, gamma) is None) == (found["facts_pct"] is None) == silent
    assert (
        0 <= safe_f1(ls, k) <= 100 + EPS and 0 <= found["supported_per_response"] <= found["claims_per_response"] <= 12
    )
    if not silent:
        assert 0 <= factscore(ls, gamma) <= found["facts_pct"] + EPS and found["facts_pct"] <= 100
    if not any(True in x for x in ls):
        assert safe_f1(ls, k) == 0 and not factscore(ls, gamma) and not found["facts_pct"]


@quick
@given(labels)
def test_intervals_hold_no_more_than_is_possible(ls):
    found = summary(ls)
    for name, top in {
        "facts_pct": 100,
        "refusal_pct": 100,
        "unparsed_pct": 100,
        "supported_per_response": 12,
        "claims_per_response": 12,
    }.items():
        if (ci := found[f"{name}_ci"]) is not None:
            assert -EPS <= ci[0] <= ci[1] <= top + EPS


@quick
@given(labels, gammas, gammas, ks, ks)
def test_a_stricter_measure_is_never_kinder(ls, g, h, k, m):
    assert safe_f1(ls, max(k, m)) <= safe_f1(ls, min(k, m)) + EPS, "more facts wanted"
    if any(ls):
        assert factscore(ls, max(g, h)) <= factscore(ls, min(g, h)) + EPS, "more claims wanted"


@quick
@given(labels)
def test_without_a_penalty_factscore_is_the_share_of_facts(ls):
    assert same(factscore(ls, 0), summary(ls)["facts_pct"])


@quick
@given(labels, st.integers(1, 15))
def test_full_marks_are_for_all_true_and_enough(ls, k):
    full = all(x and all(label is True for label in x) and len(x) >= k for x in ls)
    assert (safe_f1(ls, k) >= 100 - EPS) == full


# One claim more


@quick
@given(somewhere(), ks)
def test_a_supported_claim_never_hurts(drawn, k):
    ls, i = drawn
    more, before = summary(add(ls, i, True)), summary(ls)
    assert safe_f1(add(ls, i, True), k) >= safe_f1(ls, k) - EPS
    assert before["facts_pct"] is None or more["facts_pct"] >= before["facts_pct"] - EPS
    assert same(more["supported_per_response"] - before["supported_per_response"], 1 / len(ls))
    assert same(more["claims_per_response"] - before["claims_per_response"], 1 / len(ls))


@quick
@given(somewhere(spoken=True), gammas)
def test_a_supported_claim_never_hurts_factscore_where_something_is_claimed(drawn, gamma):
    ls, i = drawn
    assert factscore(add(ls, i, True), gamma) >= factscore(ls, gamma) - EPS


@quick
@given(somewhere(), st.floats(0, 1))
def test_nor_a_first_one_when_gamma_is_at_most_one(drawn, gamma):
    ls, i = drawn
    if any(ls):
        assert factscore(add(ls, i, True), gamma) >= factscore(ls, gamma) - EPS, (
            "one claim is not too short, so it counts 100"
        )


def test_but_a_first_supported_claim_can_cost_factscore():
    "Ten true claims and a refusal: 100. The refusal says one true thing: (100 + 100 e^-9) / 2."
    ten = [[True] * 10, []]
    assert factscore(ten) == 100 and factscore(add(ten, 1, True)) == pytest.approx(50 + 50 * math.exp(-9))
    assert safe_f1(ten, 10) == 50 and safe_f1(add(ten, 1, True), 10) == pytest.approx((100 + 100 * 2 / 11) / 2), (
        "F1@K: precision 1, recall 1/10"
    )


@quick
@given(somewhere(), st.sampled_from([False, None]), ks)
def test_a_claim_that_is_not_supported_never_helps(drawn, label, k):
    ls, i = drawn
    more, before = summary(add(ls, i, label)), summary(ls)
    assert safe_f1(add(ls, i, label), k) <= safe_f1(ls, k) + EPS
    assert before["facts_pct"] is None or more["facts_pct"] <= before["facts_pct"] + EPS
    assert same(more["supported_per_response"], before["supported_per_response"])


def test_but_it_can_help_factscore_for_it_makes_the_answer_longer():
    "One true claim: 100 e^-9. With a false one beside it: 50 e^-4, some seventy times as much."
    assert factscore([[True]]) == pytest.approx(100 * math.exp(-9)) and factscore([[True, False]]) == pytest.approx(
        50 * math.exp(-4)
    )


@quick
@given(somewhere(spoken=True), st.data(), gammas, ks)
def test_a_claim_corrected_never_hurts(drawn, data, gamma, k):
    "The counts stay, so this holds for every score; and it helps wherever the claim was not supported."
    ls, i = drawn
    j = data.draw(st.integers(0, len(ls[i]) - 1))
    mended = [x[:j] + [True] + x[j + 1 :] if m == i else x for m, x in enumerate(ls)]
    wrong = ls[i][j] is not True
    for a, b in [
        (summary(mended)["facts_pct"], summary(ls)["facts_pct"]),
        (factscore(mended, gamma), factscore(ls, gamma)),
        (safe_f1(mended, k), safe_f1(ls, k)),
    ]:
        assert a >= b - EPS
    assert (summary(mended)["facts_pct"] > summary(ls)["facts_pct"]) == wrong


@quick
@given(labels, gammas, ks)
def test_unparsed_counts_as_not_supported(ls, gamma, k):
    plain = [[label is True for label in x] for x in ls]
    assert same(factscore(plain, gamma), factscore(ls, gamma)) and safe_f1(plain, k) == safe_f1(ls, k)
    for name in POINTS[:3]:
        assert same(summary(plain)[name], summary(ls)[name])


# Order and number


@quick
@given(labels, st.randoms(use_true_random=False), gammas, ks)
def test_order_does_not_matter(ls, rng, gamma, k):
    other = [rng.sample(x, len(x)) for x in rng.sample(ls, len(ls))]
    assert same(factscore(ls, gamma), factscore(other, gamma)) and same(safe_f1(ls, k), safe_f1(other, k))
    for name in POINTS:
        assert same(summary(ls)[name], summary(other)[name])


@quick
@given(labels, st.randoms(use_true_random=False))
def test_order_of_claims_leaves_the_intervals_too(ls, rng):
    "Order of responses does not: a bootstrap of a given seed draws them by position."
    a, b = summary(ls), summary([rng.sample(x, len(x)) for x in ls])
    for name in POINTS:
        assert same(a[name], b[name]) and (
            a[f"{name}_ci"] is b[f"{name}_ci"] is None or all(map(same, a[f"{name}_ci"], b[f"{name}_ci"]))
        )


@quick
@given(labels, st.integers(2, 3), gammas, ks)
def test_the_same_answers_again_change_nothing(ls, times, gamma, k):
    assert same(factscore(ls * times, gamma), factscore(ls, gamma)) and same(safe_f1(ls * times, k), safe_f1(ls, k))
    for name in POINTS:
        assert same(summary(ls * times)[name], summary(ls)[name])


@quick
@given(labels, st.integers(1, 3), ks)
def test_refusals_are_left_out_of_shares_and_count_elsewhere(ls, n, k):
    more, size = ls + [[]] * n, len(ls) / (len(ls) + n)
    assert same(factscore(more), factscore(ls)) and same(summary(more)["facts_pct"], summary(ls)["facts_pct"])
    assert same(safe_f1(more, k), size * safe_f1(ls, k)) and same(
        summary(more)["supported_per_response"], size * summary(ls)["supported_per_response"]
    )


@quick
@given(labels)
def test_several_responses_to_a_prompt_change_intervals_alone(ls):
    a, b = summary(ls), facts_summary(ls, units=[i // 2 for i in range(len(ls))], n=5).to_json()
    for name in POINTS:
        assert same(a[name], b[name])


@pytest.mark.parametrize(
    "call",
    [
        lambda: safe_f1([], 2),
        lambda: safe_f1([[True]], 0),
        lambda: safe_f1([[True]], -1),
        lambda: facts_summary([]),
        lambda: facts_summary([[True]], units=["a", "b"]),
        lambda: facts_summary([[True]], hedges=[1, 2]),
    ],
)
def test_nothing_to_score(call):
    with pytest.raises(ValueError, match="need"):
        call()
    assert factscore([]) is None


# Judges


@quick
@given(answers)
def test_accuracy_is_a_share_and_full_only_when_all_is_right(pairs):
    assert (
        0 <= accuracy(pairs) <= 100
        and (accuracy(pairs) == 100) == all(g == p for g, p in pairs)
        and (accuracy(pairs) == 0) == all(g != p for g, p in pairs)
    )


@quick
@given(answers, st.randoms(use_true_random=False), st.integers(2, 3))
def test_accuracy_hangs_neither_on_order_nor_number_nor_names(pairs, rng, times):
    names = {"S": 1, "C": 2, "U": 3, None: None}
    for other in (rng.sample(pairs, len(pairs)), pairs * times, [(names[g], names[p]) for g, p in pairs]):
        assert same(accuracy(other), accuracy(pairs))


@quick
@given(answers, st.sampled_from("SCU"))
def test_one_label_for_all_is_worth_chance_however_rare_it_is(pairs, label):
    classes = {g for g, _ in pairs}
    assert same(accuracy([(g, label) for g, _ in pairs]), 100 / len(classes) if label in classes else 0)


@quick
@given(answers, st.data())
def test_one_answer_put_right_helps_by_the_share_of_its_class(pairs, data):
    i = data.draw(st.integers(0, len(pairs) - 1))
    gold, said = pairs[i]
    right = pairs[:i] + [(gold, gold)] + pairs[i + 1 :]
    classes, size = len({g for g, _ in pairs}), sum(g == gold for g, _ in pairs)
    assert same(accuracy(right) - accuracy(pairs), 100 / classes / size if said != gold else 0)


@quick
@given(answers, st.sampled_from("SCU"))
def test_one_right_answer_more_never_hurts(pairs, label):
    assert accuracy(pairs + [(label, label)]) >= accuracy(pairs) - EPS


@quick
@given(answers)
def test_unparsed_is_wrong(pairs):
    assert same(accuracy(pairs), accuracy([(g, p if p == g else None) for g, p in pairs]))


@pytest.mark.parametrize("gold, said", [([], []), ([True], []), ([True], [True, False])])
def test_as_many_answers_as_labels(gold, said):
    with pytest.raises(ValueError, match="as many predictions as labels"):
        balanced_accuracy(gold, said)
