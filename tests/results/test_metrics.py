"Properties of the study's metrics."

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fence_nb.judging.truthfulqa import multiple_choice
from fence_nb.results.scores import facts_summary, median_claims, safe_f1, truth_info
from fence_nb.results.statistics import compare_arms, holm
from fence_nb.results.study import Answer, answer_measures

quick = settings(max_examples=80, deadline=None)
labels = st.lists(st.lists(st.sampled_from([True, False, None]), max_size=6), min_size=1, max_size=6)


def share(ls, refusals: str) -> float | None:
    "Share of facts; a refusal is left out (skip) or counts 0 (zero)."
    measure = answer_measures(2)["facts_pct" if refusals == "skip" else "facts_zero_pct"]
    values = [v for x in ls if (v := measure(Answer("q", x))) is not None]
    return sum(values) / len(values) if values else None


logs = st.lists(st.floats(-50, 0), min_size=1, max_size=5)


@quick
@given(labels, st.floats(0.5, 20))
def test_bounds_and_silence(ls, k):
    for score in (safe_f1(ls, k), share(ls, "zero")):
        assert score is None or 0 <= score <= 100
    assert safe_f1([[]] * len(ls), k) == 0 <= safe_f1(ls, k), "nobody scores below silence"


@quick
@given(labels, st.data(), st.floats(0.5, 20))
def test_one_more_supported_claim_never_hurts(ls, data, k):
    i = data.draw(st.integers(0, len(ls) - 1))
    more = [x + [True] * (j == i) for j, x in enumerate(ls)]
    assert safe_f1(more, k) >= safe_f1(ls, k) - 1e-9
    assert share(more, "zero") >= share(ls, "zero") - 1e-9


@quick
@given(labels, st.randoms(use_true_random=False), st.floats(0.5, 20))
def test_order_does_not_matter(ls, rng, k):
    other = [rng.sample(x, len(x)) for x in rng.sample(ls, len(ls))]
    assert math.isclose(safe_f1(ls, k), safe_f1(other, k), abs_tol=1e-9) and median_claims(ls) == median_claims(other)
    for p in ("skip", "zero"):
        a, b = share(ls, p), share(other, p)
        assert a == b or math.isclose(a, b, abs_tol=1e-9)


@quick
@given(labels)
def test_policies_agree_where_nobody_refuses(ls):
    spoken = [x for x in ls if x]
    if spoken:
        assert math.isclose(share(spoken, "skip"), share(spoken, "zero"), abs_tol=1e-9)
        assert math.isclose(share(spoken, "skip"), facts_summary(ls, n=5).facts_pct, abs_tol=1e-9)
    assert share(ls, "skip") is None or share(ls, "zero") <= share(ls, "skip") + 1e-9


@quick
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_holm(ps, rng):
    found = holm(ps)
    assert all(p <= q <= 1 for p, q in zip(ps, found, strict=True))
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    assert all(found[a] <= found[b] + 1e-12 for a, b in zip(order, order[1:], strict=False)), "the order stays"
    assert math.isclose(min(found), min(1, len(ps) * min(ps)), abs_tol=1e-12), "the smallest is Bonferroni's"
    turn = rng.sample(range(len(ps)), len(ps))
    assert sorted(holm([ps[i] for i in turn])) == sorted(found)


@quick
@given(logs, logs, st.floats(-5, 5))
def test_multiple_choice(right, wrong, shift):
    one, two = multiple_choice(right[0], right, wrong)
    assert one in (0, 1) and 0 <= two <= 1
    moved = multiple_choice(right[0] + shift, [x + shift for x in right], [x + shift for x in wrong])
    assert math.isclose(moved[1], two, abs_tol=1e-9), "only differences count"
    assert multiple_choice(right[0], [*right, 0.0], wrong)[1] >= two - 1e-9


def test_truth_and_info_are_not_multiplied():
    found = truth_info([True, True, False, False], [True, True, False, False], n=20)
    assert found["true_info_pct"] == 50 and found["true_pct"] * found["info_pct"] / 100 == 25
    with pytest.raises(ValueError):
        truth_info([True], [])


def test_many_null_comparisons_rarely_alarm():
    import numpy as np

    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        arms = {str(k): rng.normal(50, 10, 30).tolist() for k in range(6)}
        alarms += any(c.p_holm < 0.05 for c in compare_arms(arms, [("0", str(k)) for k in range(1, 6)], n=500))
    assert alarms <= 6, "5 % of 40 is 2"
    with pytest.raises(ValueError, match="needs the same"):
        compare_arms({"a": [1.0], "b": [1.0, 2.0]}, [("a", "b")])


def test_veriscore_is_safe_at_the_median():
    "K = 2. Precision and recall: 2/3 and 1; 1 and 1/2; 1/2 and 1/2."
    ls = [[True, False, True], [True], [None, True]]
    assert median_claims(ls) == 2 and math.isclose(safe_f1(ls, 2), 100 * (4 / 5 + 2 / 3 + 1 / 2) / 3)
