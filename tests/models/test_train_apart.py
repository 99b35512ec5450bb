"Training in processes of its own: the same losses on two processes as on one, errors as one line, nothing half made."

import os
import signal
import threading
import time

import pytest
from conftest import ROOT

from fence_nb.core import jobs
from fence_nb.core.records import InputError
from fence_nb.models import train
from fence_nb.models.train import TrainArgs, train_dpo, train_sft, training_backend, training_speed

BASE, CPU2 = str(ROOT / "data" / "mini" / "base"), str(ROOT / "data" / "accelerate" / "cpu2.yaml")


def say(role, text):
    return [{"role": role, "content": text}]


SFT = [
    {
        "prompt": say("user", f"Tell me a bio of {n}."),
        "completion": say("assistant", f"{n} was born" + " in a town" * (k % 3) + "."),
    }
    for k, n in enumerate(("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus", "Hal"))
]
DPO = [
    {
        "prompt": r["prompt"],
        "chosen": r["completion"],
        "rejected": say("assistant", "They were not born. " * (1 + k % 2)),
    }
    for k, r in enumerate(SFT)
]


def losses(record):
    return [h["loss"] for h in record["log"] if "loss" in h]


@pytest.fixture(autouse=True)
def paths(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    "SFT and DPO of the miniature model here, and on two processes with the same global batch."
    tmp, done = tmp_path_factory.mktemp("apart"), {}
    for name, fit, rows, how in (
        ("sft", train_sft, SFT, {"lora_r": 4}),
        ("dpo", train_dpo, DPO, {"lora_r": 0, "precompute_reference": True}),
    ):
        args = dict(lr=1e-3, batch=4, steps=4, max_length=64, **how)
        done[name] = (
            fit(BASE, rows, tmp / f"{name}1", TrainArgs(**args)),
            fit(BASE, rows, tmp / f"{name}2", TrainArgs(**args, launch=CPU2)),
            tmp,
        )
    return done


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_two_processes_learn_what_one_learns(apart, method):
    one, two, tmp = apart[method]
    assert (one["processes"], two["processes"], two["steps"]) == (1, 2, 4)
    assert len(losses(one)) == 4 and max(abs(a - b) for a, b in zip(losses(one), losses(two), strict=True)) < 1e-3
    assert abs(one["loss"] - two["loss"]) < 1e-3
    assert two["args"]["launch"] == "cpu2.yaml"  # a name, no folder of this machine
    assert training_speed(tmp / f"{method}2")["processes"] == 2
    assert sorted(p.name for p in tmp.iterdir() if p.name.startswith(f".{method}")) == []


def test_the_adapter_is_plain_peft(apart):
    import torch
    from peft import AutoPeftModelForCausalLM

    one, two, tmp = apart["sft"]
    a, b = (AutoPeftModelForCausalLM.from_pretrained(str(tmp / f"sft{k}")).state_dict() for k in (1, 2))
    assert set(a) == set(b) and any("lora_B" in n and w.any() for n, w in b.items())
    assert all(torch.allclose(a[n], b[n], atol=1e-4) for n in a)
    assert sorted(p.name for p in (tmp / "sft1").iterdir()) == sorted(p.name for p in (tmp / "sft2").iterdir())


def test_micro_batches_make_the_same_step(tmp_path):
    args = dict(lr=1e-3, batch=4, steps=3, lora_r=0, max_length=64)
    for fit, rows in ((train_sft, SFT), (train_dpo, DPO)):
        whole, parts = (
            fit(BASE, rows, tmp_path / f"{fit.__name__}{micro}", TrainArgs(**args, micro=micro)) for micro in (0, 2)
        )
        assert max(abs(a - b) for a, b in zip(losses(whole), losses(parts), strict=True)) < 1e-3


def test_an_error_of_the_child_is_one_line(tmp_path):
    with pytest.raises(InputError) as e:
        train_sft(BASE, SFT, tmp_path / "x", TrainArgs(lr=1e-3, batch=3, lora_r=0, launch="1", micro=2))
    assert "\n" not in str(e.value) and "a batch of 3 rows" in str(e.value)
    with pytest.raises(InputError, match="rejected"):
        train_dpo(BASE, SFT, tmp_path / "x", TrainArgs(lr=1e-3, batch=4, lora_r=0, launch="1"))
    with pytest.raises(InputError, match="no such file"):
        train_sft(BASE, SFT, tmp_path / "x", TrainArgs(lr=1e-3, batch=4, launch="nowhere.yaml"))
    assert not (tmp_path / "x").exists()


def test_a_killed_child_leaves_no_half_result(tmp_path):
    "It is killed at work; the next attempt makes a whole result."
    args, seen = dict(lr=1e-3, batch=4, lora_r=0, max_length=64), []

    class Popen(jobs.subprocess.Popen):
        def __init__(self, *a, **k):
            super().__init__(*a, **k)
            seen.append(self.pid)

    def kill():
        while not seen or not any(b"loss" in f.read_bytes() for f in [tmp_path / "log"] if f.exists()):
            time.sleep(0.05)
        os.kill(seen[0], signal.SIGKILL)

    watcher = threading.Thread(target=kill, daemon=True)
    with pytest.MonkeyPatch.context() as m, (tmp_path / "log").open("w", buffering=1) as log:
        m.setattr(jobs.subprocess, "Popen", Popen)
        m.setattr(jobs.sys, "stderr", log)
        watcher.start()
        with pytest.raises(RuntimeError, match="code -9 and left no result"):
            train_sft(BASE, SFT, tmp_path / "out", TrainArgs(**args, steps=400, launch="1"))
    assert not (tmp_path / "out").exists()
    assert train_sft(BASE, SFT, tmp_path / "out", TrainArgs(**args, steps=1, launch="1"))["steps"] == 1
    assert (tmp_path / "out" / "training.json").is_file() and not (tmp_path / ".out.work").exists()


def test_packing_keeps_rows_apart_and_prompts_out_of_the_loss(tmp_path):
    "All rows in one packed row: its loss is that of the rows one by one."
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    net, tok = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32), AutoTokenizer.from_pretrained(BASE)
    train.check_packing(net)
    sums = {}
    for packing in (False, True):
        own = train.trainer_settings(
            TrainArgs(lr=1e-3, batch=8, max_length=512, packing=packing),
            tmp_path,
            len(SFT),
            **({"packing": True} if packing else {}),
        )
        trainer = SFTTrainer(
            model=net,
            args=SFTConfig(completion_only_loss=True, **own),
            train_dataset=Dataset.from_list(SFT),
            processing_class=tok,
        )
        rows = list(trainer.train_dataset)
        batch = trainer.data_collator(rows)
        with torch.no_grad():
            sums[packing] = (
                len(rows),
                int((batch["labels"] != -100).sum()),
                float(trainer.compute_loss(net, dict(batch))),
            )
    assert (sums[False][0], sums[True][0]) == (8, 1)
    assert sums[False][1] == sums[True][1] and abs(sums[False][2] - sums[True][2]) < 1e-4
    record = train_sft(
        BASE,
        SFT * 4,
        tmp_path / "packed",
        TrainArgs(lr=1e-3, batch=1, epochs=2, lora_r=0, max_length=128, packing=True),
    )
    assert 2 <= record["steps"] < 64


def test_attention_that_mixes_rows_is_refused():
    import torch
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    forward = net.forward
    net.forward = lambda input_ids, position_ids, use_cache: forward(
        input_ids=input_ids, position_ids=position_ids, attention_mask=torch.ones_like(input_ids), use_cache=use_cache
    )
    with pytest.raises(InputError, match="packing = no"):
        train.check_packing(net)


def test_the_backend_is_chosen_once(monkeypatch):
    monkeypatch.delenv("FENCE_NB_BACKEND", raising=False)
    assert (training_backend(0), training_backend(8)) == ("full", "peft" if not train.on_gpu() else training_backend(8))
    monkeypatch.setenv("FENCE_NB_BACKEND", "peft")
    assert training_backend(8) == "peft"
    monkeypatch.setenv("FENCE_NB_BACKEND", "unslot")
    with pytest.raises(InputError, match="expected peft or unsloth"):
        training_backend(8)
    monkeypatch.setenv("FENCE_NB_BACKEND", "unsloth")
    find_spec = train.importlib.util.find_spec
    monkeypatch.setattr(train.importlib.util, "find_spec", lambda name: None if name == "unsloth" else find_spec(name))
    with pytest.raises(InputError, match="not installed"):
        training_backend(8)


def test_the_files_of_accelerate_are_read_by_it():
    from accelerate.commands.config.config_args import load_config_from_file

    kinds = {
        f.name: load_config_from_file(str(f)).distributed_type.value
        for f in sorted((ROOT / "data" / "accelerate").glob("*.yaml"))
    }
    assert kinds == {"cpu2.yaml": "MULTI_GPU", "ddp.yaml": "MULTI_GPU", "fsdp.yaml": "FSDP"}
