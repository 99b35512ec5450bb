"The rehearsed step against a real one: bytes of live storages while TRL trains."

import pytest
from conftest import ROOT

from fence_nb.core.records import InputError
from fence_nb.domains.base import make_model, make_tokenizer
from fence_nb.domains.world import World
from fence_nb.models import train
from fence_nb.models.memory import MemoryNeed, live_storages, memory_advice, predict_memory, preflight
from fence_nb.models.train import TrainArgs

SHAPES = {
    "wide": dict(hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4),
    "deep": dict(hidden_size=32, intermediate_size=64, num_hidden_layers=6, num_attention_heads=2),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    tok, out = make_tokenizer(World(n=20, pool=4)), {}
    for name, shape in SHAPES.items():
        out[name] = tmp_path_factory.mktemp(name)
        make_model(tok, **shape).save_pretrained(out[name])
        tok.save_pretrained(out[name])
    return out


def measured(model, method, args, work) -> tuple[int, float]:
    "Peak of two real steps of TRL, and the share of the tokens that the loss counted."
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    def say(role, n):
        return [{"role": role, "content": " ".join(["born"] * n)}]

    net, tok, peft = train.load_for_training(str(model), args, "peft" if args.lora_r else "full")
    if method == "sft":
        rows = [
            {"prompt": say("user", 20), "completion": say("assistant", n)} for n in (400, 200)
        ] * args.batch  # every second row is padded
        trainer = SFTTrainer(
            model=net,
            args=SFTConfig(completion_only_loss=True, **train.trainer_settings(args, work, len(rows))),
            train_dataset=Dataset.from_list(rows),
            processing_class=tok,
            peft_config=peft,
        )
    else:
        rows = [
            {"prompt": say("user", 20), "chosen": say("assistant", 400), "rejected": say("assistant", n)}
            for n in (400, 200)
        ] * args.batch
        ref = train.reference_copy(str(model), net, args, "peft" if args.lora_r else "full")
        trainer = DPOTrainer(
            model=net,
            ref_model=ref,
            args=DPOConfig(
                loss_type=["sigmoid", "sft"] if args.sft_weight else ["sigmoid"],
                **train.trainer_settings(args, work, len(rows)),
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tok,
            peft_config=peft,
        )
    batch = trainer.data_collator([trainer.train_dataset[k] for k in range(2)])
    share = float(
        (batch["labels"] != -100).float().mean() if method == "sft" else batch["completion_mask"].float().mean()
    )
    assert batch["input_ids"].shape[1] == args.max_length
    live = live_storages()
    for m in (trainer.model, getattr(trainer, "ref_model", None)):
        if m is not None:
            live.hold([*m.parameters(), *m.buffers()])
    with live:
        trainer.train()
    return live.peak, share


@pytest.mark.parametrize(
    "shape, method, more",
    [
        ("wide", "sft", dict(lora_r=0)),
        ("deep", "sft", dict(lora_r=4)),
        ("wide", "sft", dict(lora_r=0, micro=2)),
        ("wide", "dpo", dict(lora_r=0)),
        ("deep", "dpo", dict(lora_r=4)),
        ("wide", "dpo", dict(lora_r=0, sft_weight=2.0, micro=2)),
        ("deep", "dpo", dict(lora_r=0, precompute_reference=True)),
    ],
)
def test_prediction_is_within_ten_percent(bases, tmp_path, shape, method, more):
    from transformers import AutoConfig

    args = TrainArgs(lr=1e-3, batch=4, steps=2, max_length=256, **more)
    truth, share = measured(bases[shape], method, args, tmp_path)
    guess = predict_memory(AutoConfig.from_pretrained(bases[shape]), args, method, args.micro, gpu=False, share=share)
    print(f"{shape} {method} {more}: measured {truth:,}, predicted {guess.total:,} ({guess.total / truth - 1:+.1%})")
    assert abs(guess.total / truth - 1) < 0.1


def test_what_makes_it_smaller(bases):
    from transformers import AutoConfig

    shape, args = AutoConfig.from_pretrained(bases["wide"]), TrainArgs(lr=1e-3, batch=8, lora_r=0, max_length=256)

    def total(method="dpo", micro=0, **more):
        return predict_memory(shape, TrainArgs(**(vars(args) | more)), method, micro).total

    assert (
        total(precompute_reference=True) < total()
        and total(micro=2) < total(micro=4) < total()
        and total("sft") < total()
    )
    whole, part = (
        predict_memory(shape, args, "sft", 1),
        predict_memory(shape, args, "sft", 1, processes=4, sharded=True),
    )
    assert part.weights == -(-whole.weights // 4) and part.states == -(-whole.states // 4)
    assert predict_memory(shape, args, "sft", 1, processes=4).gradients == 2 * whole.gradients  # buckets of DDP
    with_adapter = predict_memory(shape, TrainArgs(**(vars(args) | {"lora_r": 4})), "dpo", adapter=True)
    assert 0 < with_adapter.reference < with_adapter.weights / 4


def test_the_preflight_says_whether_it_fits(bases, capsys):
    args = TrainArgs(lr=1e-3, batch=4, lora_r=0, max_length=256)
    need = preflight(str(bases["wide"]), args, "dpo", room=(2**34, True))
    assert (
        "needs about 0.0" in (said := capsys.readouterr().out)
        and said.endswith("of 16.00 free: fits\n")
        and said.count("\n") == 1
    )
    with pytest.raises(
        InputError,
        match=r"does not fit; change micro_batch = \d, or precompute_reference = yes, or lora_r = 16, "
        r"or launch = data/accelerate/fsdp.yaml",
    ):
        preflight(str(bases["wide"]), args, "dpo", room=(need.total * 3 // 4, True))
    preflight(str(bases["wide"]), args, "dpo", room=(need.total // 2, False))  # on a CPU it is only said
    assert "may not fit" in capsys.readouterr().out
    preflight(
        str(bases["wide"]), args, "dpo", "unsloth", room=(need.total * 3 // 4, True)
    )  # Unsloth needs less than plain TRL
    assert "at most" in capsys.readouterr().out


def test_a_model_that_cannot_be_rehearsed_is_trained_all_the_same(tmp_path, capsys):
    from transformers import T5Config

    T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2).save_pretrained(tmp_path)
    assert (
        preflight(str(tmp_path), TrainArgs(lr=1, batch=2), "sft", room=(1, True)) is None
        and "not predicted" in capsys.readouterr().out
    )


def test_advice_names_what_helps():
    args = TrainArgs(lr=1, batch=8, lora_r=16, max_length=2048)
    assert memory_advice(MemoryNeed(100, 0, 1, 2, 800), 600, args, "sft", 8).startswith(
        "micro_batch = 4"
    )  # 497 of 800 hold 4 of 8 rows
    assert "max_length = 1024" in memory_advice(MemoryNeed(100, 0, 0, 0, 800), 500, args, "sft", 1)
    assert (
        memory_advice(MemoryNeed(1000, 0, 1, 2, 10), 600, args, "sft", 1)
        == "launch = data/accelerate/fsdp.yaml with 3 processes or more"
    )


def test_the_miniature_is_predicted_without_its_weights(tmp_path):
    (tmp_path / "config.json").write_text((ROOT / "data" / "mini" / "base" / "config.json").read_text())
    assert preflight(str(tmp_path), TrainArgs(lr=1e-3, batch=4, lora_r=0, max_length=64), "sft").total > 0
