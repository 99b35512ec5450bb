"The engine against the library's own generate: any questions, any batches, any order."

import itertools
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

from fence_nb.core.records import Claim, InputError
from fence_nb.domains.world import STYLES, World, human_judgments
from fence_nb.judging.judge import LMJudge, as_probs, label_probs
from fence_nb.judging.prompts import TERSE, VERDICT, judge_prompt
from fence_nb.models.engine import Engine, pack, share_prefixes, with_backoff
from fence_nb.models.local import TransformersLM

SIZE = dict(
    vocab_size=60,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    initializer_range=0.5,
    eos_token_id=2,
    pad_token_id=0,
    bos_token_id=None,
)


def model(kind=LlamaForCausalLM, config=LlamaConfig, **more):
    torch.manual_seed(0)
    return kind(config(**SIZE, **more)).eval()


NETS = {"llama": model(), "qwen2": model(Qwen2ForCausalLM, Qwen2Config), "eager": model(attn_implementation="eager")}


def engine(net, budget=4096):
    return Engine(net, 0, {2}, lambda tokens: " ".join(map(str, tokens)), budget)


def alone(net, row, new):
    with torch.inference_mode():
        return net.generate(
            torch.tensor([row]),
            attention_mask=torch.ones(1, len(row), dtype=torch.long),
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
        )[0, len(row) :].tolist()


def questions(seed, n, texts):
    rng = random.Random(seed)
    docs = [[rng.randrange(3, 60) for _ in range(rng.randrange(1, 50))] for _ in range(texts)]
    return [rng.choice(docs) + [rng.randrange(3, 60) for _ in range(rng.randrange(1, 9))] for _ in range(n)]


tokens = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=40), min_size=1, max_size=30)


@given(tokens, st.integers(1, 3))
def test_every_question_stands_in_one_group(rows, keep):
    groups = share_prefixes(rows, keep, least=2)
    assert sorted(itertools.chain.from_iterable(members for _, members in groups)) == list(range(len(rows)))
    for shared, members in groups:
        assert len({tuple(rows[k][:shared]) for k in members}) == 1
        assert shared == 0 or all(len(rows[k]) - shared >= keep for k in members)


@given(tokens, st.integers(0, 50))
def test_packed_rows_spell_the_questions(rows, reply):
    packed = pack(rows, reply=reply, room=30)
    spelled = {}
    for row in packed:
        for question, end in zip(row.questions, row.ends, strict=True):
            spelled[question] = row.shared + end
            assert end
    assert spelled == dict(enumerate(rows))
    assert sum(row.size for row in packed) <= sum(map(len, rows))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("budget", (40, 300, 10**6))
def test_writes_what_generate_writes(name, budget):
    rows = questions(1, 24, 4)
    assert [w.tokens for w in engine(NETS[name], budget).write(rows, 14)] == [alone(NETS[name], r, 14) for r in rows]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 4), st.sampled_from((30, 200, 5000)))
def test_company_and_order_do_not_matter(seed, n, texts, budget):
    rows = questions(seed, n, texts)
    net = NETS["llama"]
    order = random.Random(seed).sample(range(n), n)
    shuffled = [rows[k] for k in order]
    together = engine(net).write(rows, 8)
    assert [together[k].tokens for k in order] == [w.tokens for w in engine(net, budget).write(shuffled, 8)]
    weights = np.array(engine(net).weigh(rows, [[5], [6]]))[order]
    assert np.abs(weights - engine(net, budget).weigh(shuffled, [[5], [6]])).max() < 1e-4


@pytest.mark.parametrize("options", ([[5], [6], [7]], [[5, 9], [6], [7, 8, 9]]))
@pytest.mark.parametrize("name", NETS)
def test_weighs_what_the_model_says(name, options):
    rows = questions(3, 12, 3)
    net = NETS[name]
    for row, weights in zip(rows, engine(net).weigh(rows, options), strict=True):
        for option, weight in zip(options, weights, strict=True):
            with torch.inference_mode():
                logprobs = net(torch.tensor([row + option])).logits[0].float().log_softmax(-1)
            plain = sum(logprobs[len(row) + step - 1, token].item() for step, token in enumerate(option))
            assert abs(weight - plain) < 1e-4


def test_who_looks_back_only_so_far_is_not_packed():
    assert Engine.fits(NETS["llama"]) and Engine.fits(NETS["qwen2"])
    assert not Engine.fits(model(MistralForCausalLM, MistralConfig, sliding_window=8))


def test_out_of_memory_is_halved_until_it_fits(monkeypatch):
    net = NETS["llama"]
    rows = questions(5, 16, 2)
    want = [w.tokens for w in engine(net).write(rows, 6)]
    real = type(net).forward

    def small(self, input_ids=None, **kw):
        if input_ids.numel() > 150:
            raise torch.OutOfMemoryError("16 GiB asked for")
        return real(self, input_ids=input_ids, **kw)

    monkeypatch.setattr(type(net), "forward", small)
    cramped = engine(net)
    assert [w.tokens for w in cramped.write(rows, 6)] == want
    assert cramped.halved and cramped.budget < 4096


def test_nothing_fits():
    def never(part):
        raise torch.OutOfMemoryError("16 GiB asked for")

    with pytest.raises(InputError, match="out of memory with one text at a time"):
        with_backoff([[1, 2]], never)

    def other(part):
        raise ValueError("else")

    with pytest.raises(ValueError):
        with_backoff([[1]], other)


def test_probabilities_on_the_way_are_those_of_a_second_question():
    lm = TransformersLM("data/mini/base")
    items = [
        (Claim(response_id=e.id, text=e.claim, start=0, end=0), e.documents)
        for e in human_judgments(World(n=300), "evaluator_test", 24, STYLES, 1)
    ]
    replies = lm.generate([judge_prompt(TERSE, c.text, d) for c, d in items], max_new_tokens=48, form=VERDICT)
    for (c, d), [r] in zip(items, replies, strict=True):
        if not r.logprobs:
            continue
        asked = label_probs(lm, [judge_prompt(TERSE, c.text, d)], [r.text.rpartition("\n")[0].strip()])[0]
        assert all(abs(asked[k] - p) < 1e-4 for k, p in as_probs(r.logprobs).items())
    one_by_one = [LMJudge(lm, TERSE, 48).judge([i]) for i in items]
    judgments, failures = LMJudge(lm, TERSE, 48).judge(items)
    assert [(j.claim_id, j.label, j.critique) for js, _ in one_by_one for j in js] == [
        (j.claim_id, j.label, j.critique) for j in judgments
    ]
    assert sum(len(f) for _, f in one_by_one) == len(failures)


@pytest.mark.parametrize("config", ["GPT2Config", "LlamaConfig"])
def test_room_on_a_gpu(config, monkeypatch):
    "Models that name neither key heads nor inner width have room, too; more free memory is more room, within bounds."
    import transformers

    model = SimpleNamespace(device=torch.device("cuda"), dtype=torch.bfloat16, config=getattr(transformers, config)())

    def room(free: int) -> int:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
        return Engine.room(model)

    assert room(0) == 2**13 <= room(20 * 2**30) <= room(2**40) == 2**17
