"""Properties of the scores."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fence_nb.core.records import Document, InputError, JudgedClaim, Label
from fence_nb.results.scores import (
    auroc,
    balanced_accuracy,
    facts_by_group,
    facts_summary,
    factscore,
    judge_agreement,
    judge_summary,
    measure,
    safe_f1,
    shorter_control,
)
from fence_nb.results.statistics import bootstrap_ci, paired_permutation

labels = st.lists(st.lists(st.sampled_from([True, False, None]), max_size=8), min_size=1, max_size=8)
pairs = st.lists(st.tuples(st.booleans(), st.sampled_from([True, False, None])), min_size=1, max_size=30)
quick = settings(max_examples=60, deadline=None)


def summary(ls, **kw):
    return facts_summary(ls, n=20, **kw).to_json()


@quick
@given(labels)
def test_bounds(ls):
    s = summary(ls)
    for key in ("facts_pct", "refusal_pct", "unparsed_pct"):
        if s[key] is None:
            assert s[f"{key}_ci"] is None
        else:
            assert 0 <= s[key] <= 100 and 0 <= s[f"{key}_ci"][0] <= s[f"{key}_ci"][1] <= 100
    assert s["supported_per_response"] <= s["claims_per_response"]
    assert not any(isinstance(v, float) and math.isnan(v) for v in s.values())
    for f in (factscore(ls), safe_f1(ls, 3)):
        assert f is None or 0 <= f <= 100


@quick
@given(labels, st.integers(0, 7))
def test_a_supported_claim_never_hurts(ls, i):
    i %= len(ls)
    more = [x + [True] if j == i else x for j, x in enumerate(ls)]
    assert safe_f1(more, 3) >= safe_f1(ls, 3) - 1e-9
    assert summary(more)["supported_per_response"] > summary(ls)["supported_per_response"]
    if ls[i]:  # a response that had no claims enters the mean, which may lower it
        assert summary(more)["facts_pct"] >= summary(ls)["facts_pct"] - 1e-9
        assert factscore(more) >= factscore(ls) - 1e-9


@quick
@given(labels, st.randoms(use_true_random=False))
def test_order_does_not_matter(ls, rng):
    mixed = [rng.sample(x, len(x)) for x in rng.sample(ls, len(ls))]
    a, b = summary(ls), summary(mixed)
    for key in a:
        if not key.endswith("_ci"):
            assert a[key] == pytest.approx(b[key])
    assert safe_f1(ls, 2) == pytest.approx(safe_f1(mixed, 2))


@quick
@given(labels)
def test_penalty_only_lowers(ls):
    if any(ls):
        assert factscore(ls, 10) <= factscore(ls, 2) + 1e-9 <= factscore(ls, 0) + 2e-9 and factscore(
            ls, 0
        ) == pytest.approx(summary(ls)["facts_pct"])


@quick
@given(labels, st.integers(0, 9), st.integers(0, 5))
def test_shorter_control(ls, k, seed):
    cut = shorter_control(ls, [k] * len(ls), seed)
    assert [len(c) for c in cut] == [min(k, len(x)) for x in ls]
    assert all(c.count(v) <= x.count(v) for c, x in zip(cut, ls, strict=True) for v in (True, False, None))
    assert cut == shorter_control(ls, [k] * len(ls), seed)
    assert shorter_control(ls, [99] * len(ls), seed) == ls


@quick
@given(labels)
def test_groups_partition_responses(ls):
    groups = [str(i % 2) for i in range(len(ls))]
    parts = facts_by_group(ls, groups, n=10)
    assert sum(p.responses for p in parts.values()) == len(ls)


@quick
@given(pairs, st.randoms(use_true_random=False))
def test_balanced_accuracy(rows, rng):
    value = balanced_accuracy(*zip(*rows, strict=True))
    assert 0 <= value <= 100
    assert value == pytest.approx(balanced_accuracy(*zip(*rng.sample(rows, len(rows)), strict=True)))
    assert balanced_accuracy([g for g, _ in rows], [g for g, _ in rows]) == 100
    assert balanced_accuracy([g for g, _ in rows], [None] * len(rows)) == 0
    if len({g for g, _ in rows}) == 2:
        assert balanced_accuracy([g for g, _ in rows], [True] * len(rows)) == 50


@quick
@given(st.lists(st.tuples(st.booleans(), st.floats(-3, 3)), min_size=1, max_size=20))
def test_auroc_counts_pairs(rows):
    good, bad = [s for g, s in rows if g], [s for g, s in rows if not g]
    value = auroc([g for g, _ in rows], [s for _, s in rows])
    if not good or not bad:
        assert value is None
    else:
        assert value == pytest.approx(100 * np.mean([(a > b) + 0.5 * (a == b) for a in good for b in bad]))


@quick
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=8))
def test_permutation(rows):
    a, b = map(list, zip(*rows, strict=True))
    p = paired_permutation(a, b)
    assert 0 < p <= 1 and p == pytest.approx(paired_permutation(b, a))
    assert paired_permutation(a, a) == 1


def test_permutation_sampled():
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    assert paired_permutation(list(x + 1), list(x), n=2000) == pytest.approx(1 / 2001)
    assert paired_permutation(list(x), list(rng.permutation(x)), n=2000) > 0.05


def test_interval_covers():
    "Of 95 % intervals of a known mean, about 95 in 100 hold it."
    rng = np.random.default_rng(0)
    hits = sum(
        lo <= 0.3 <= hi
        for lo, hi in (bootstrap_ci([[float(x)] for x in rng.random(80) < 0.3], seed=i, n=200) for i in range(200))
    )
    assert 178 <= hits <= 199


def test_units_widen_the_interval():
    flips = [100.0, 0.0] * 20
    one = bootstrap_ci([[x] for x in flips])
    many = bootstrap_ci([[100.0] * 10, [0.0] * 10, [100.0] * 10, [0.0] * 10])
    assert many[1] - many[0] > one[1] - one[0]
    assert facts_summary([[True], [False]] * 10, units=[0, 1] * 10).facts_pct_ci == [0, 100]


def rows(corpus, golds):
    return [
        JudgedClaim(
            id=f"{corpus}{i}",
            claim="c",
            documents=[Document(text="d")],
            supported=g is Label.SUPPORTED,
            label=g,
            corpus=corpus,
            group=str(i),
        )
        for i, g in enumerate(golds)
    ]


def test_three_ways_leave_out_what_people_did_not_say():
    s, c, u = Label
    records = rows("a", [s, c, u, None])
    got = judge_summary(records, [s, c, c, u], ways=3)
    assert got["a"].bacc == pytest.approx(200 / 3) and (got["a"].claims, got["a"].left_out) == (3, 1)
    assert judge_summary(records, [s, c, c, u], ways=2)["a"].bacc == 100
    assert judge_summary(records, [True, False, None, False])["a"].unparsed_pct == 25
    with pytest.raises(InputError):
        judge_summary(records[3:], [c], ways=3)


def test_judge_summary_agrees_with_balanced_accuracy():
    rng = np.random.default_rng(1)
    records = rows("a", [Label.SUPPORTED if x else None for x in rng.random(200) < 0.3])
    said = [bool(r.supported) if x < 0.7 else not r.supported for r, x in zip(records, rng.random(200), strict=True)]
    got = judge_summary(records, said)["a"]
    assert got.bacc == pytest.approx(balanced_accuracy([r.supported for r in records], said))
    low, high = got.bacc_ci
    assert low < got.bacc < high and 10 < high - low < 20
    assert got == judge_summary(records, said)["a"]


def test_a_judge_that_knows_is_best_at_any_threshold():
    records = rows("a", [Label.SUPPORTED, None] * 5)
    got = measure(records, [0.9 if r.supported else 0.2 for r in records], [0.5] * 10, n=50)
    assert got["a"]["bacc"] == got["a"]["auroc"] == got["a"]["tuned"] == got["mean"]["bacc"] == 100


@pytest.mark.parametrize(
    "call",
    [
        lambda: balanced_accuracy([], []),
        lambda: balanced_accuracy([1], []),
        lambda: facts_summary([]),
        lambda: facts_summary([[True]], hedges=[1, 2]),
        lambda: safe_f1([[True]], 0),
        lambda: shorter_control([[True]], []),
        lambda: paired_permutation([1], [1, 2]),
        lambda: judge_summary([], [True]),
    ],
)
def test_wrong_shapes(call):
    with pytest.raises(ValueError):
        call()


@quick
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=30))
def test_kappa_is_that_of_sklearn(both):
    from sklearn.metrics import cohen_kappa_score

    first, second = [a for a, _ in both], [b for _, b in both]
    (agreement,) = judge_agreement({"x": first, "y": second}, n=20)
    assert agreement.agree_pct == pytest.approx(100 * sum(a == b for a, b in both) / len(both))
    if len({*first, *second}) == 1:
        assert agreement.kappa is None and agreement.kappa_ci is None
    else:
        assert agreement.kappa == pytest.approx(cohen_kappa_score(first, second))
        assert agreement.kappa_ci is None or agreement.kappa_ci[0] <= agreement.kappa_ci[1]


def test_agreement_counts_what_both_have_labelled():
    labels = {"x": [True, None, False, True], "y": [True, True, None, False], "z": [None] * 4}
    xy, xz, yz = judge_agreement(labels, groups=["one", "one", "two", "two"], n=20)
    assert (xy.first, xy.second, xy.claims, xy.agree_pct) == ("x", "y", 2, 50.0)
    assert xz.claims == yz.claims == 0 and xz.agree_pct is None and xz.kappa is None
    with pytest.raises(ValueError):
        judge_agreement({"x": [True], "y": [True, False]})
