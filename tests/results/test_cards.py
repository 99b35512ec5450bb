"Cards: what the hub and `datasets` read, and what must never be in them."

import ast
import re
import sys
import types

import pytest
import yaml

from fence_nb.core.records import (
    Claim,
    Document,
    EvaluatorRow,
    InputError,
    JudgedClaim,
    Judgment,
    Label,
    Preference,
    Record,
    Response,
)
from fence_nb.core.store import write_records
from fence_nb.fence.recipes import RECIPES
from fence_nb.results.cards import arm_words, data_card, model_card, public_name, record_fields

ARGS = {
    "lr": 1e-4,
    "batch": 16,
    "epochs": 3.0,
    "steps": 0,
    "lora_r": 16,
    "lora_alpha": 32,
    "warmup": 0.1,
    "schedule": "linear",
    "max_length": 512,
    "beta": 0.3,
    "loss": "ipo",
    "sft_weight": 4.0,
    "save_steps": 0,
    "seed": 7,
}


def record(method="dpo", origin="/a/machine/path/r5_generator/sft", **more):
    return {
        "method": method,
        "from": origin,
        "backend": "full",
        "reference": "a frozen copy of the starting weights",
        "rows": 1096,
        "steps": 204,
        "loss": 0.911427,
        "args": ARGS,
        "log": [{"loss": 1.0, "step": 1}],
        **more,
    }


def front(text: str) -> dict:
    "The front matter, as the hub reads it."
    return yaml.safe_load(text.split("---\n")[1])


@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "grpo"])
@pytest.mark.parametrize("adapter", [False, True])
def test_model_card(tmp_path, method, adapter):
    folder = tmp_path / "fence"
    folder.mkdir()
    if adapter:
        (folder / "adapter_config.json").write_text("{}")
    text = model_card(
        folder, record(method), {"base_model": "meta-llama/Meta-Llama-3-8B-Instruct", "profile": "llama3-8b"}
    ).read_text()
    found = front(text)
    assert (found["license"], found["base_model"], found["library_name"]) == (
        "llama3",
        "meta-llama/Meta-Llama-3-8B-Instruct",
        "peft" if adapter else "transformers",
    )
    assert set(found["tags"]) == {"factuality", "fence", "generator", method}
    assert ("LoRA rank" in text, "| beta |" in text) == (adapter, method in ("dpo", "kto"))
    assert "| seed | 7 |" in text and "| rows | 1096 |" in text and "xie2025fence" in text


def test_front_matter_is_yaml_to_the_hub(tmp_path):
    from huggingface_hub import DatasetCard, ModelCard

    card = ModelCard(
        model_card(tmp_path / "fence", record(), {"base_model": "meta-llama/Llama-2-7b-chat-hf"}).read_text()
    )
    assert (card.data.license, card.data.base_model, card.data.library_name) == (
        "llama2",
        "meta-llama/Llama-2-7b-chat-hf",
        "transformers",
    )
    write_records(tmp_path / "d" / "a.jsonl", [Document(text="x")])
    card = DatasetCard(data_card(tmp_path / "d", {"a.jsonl": Document}, {}).read_text())
    assert card.data.configs[0]["data_files"] == "a.jsonl"


def test_no_path_and_no_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-seen")
    values = {
        "base_model": "/a/machine/path/base",
        "api_key": "sk-not-to-be-seen",
        "search_url": "http://me:word@host",
        "data": {"prompts": 280},
    }
    text = model_card(tmp_path / "fence", record(), values, {"base": {"facts_pct": 50.0}}).read_text()
    for bad in ("/a/machine", str(tmp_path), "sk-not", "me:word"):
        assert bad not in text
    assert "base_model" not in front(text), "a folder has no name on the hub"
    assert front(text)["license"] == "other" and "| prompts | 280 |" in text
    write_records(tmp_path / "d" / "a.jsonl", [Document(text="x")])
    text = data_card(tmp_path / "d", {"a.jsonl": Document}, values | {"profile": "mini"}).read_text()
    for bad in ("/a/machine", str(tmp_path), "sk-not", "me:word"):
        assert bad not in text


@pytest.mark.parametrize(
    "model,name",
    [
        ("org/model", "org/model"),
        ("/x/y/z", "z"),
        ("data/mini/base", "base"),
        ("./here", "here"),
        ("https://user:pw@h/v1#m", "m"),
        ("https://user:pw@h/v1", "a model behind an address"),
        ("/", "a folder"),
    ],
)
def test_public_name(model, name):
    assert public_name(model) == name


def test_a_relative_folder_is_not_taken_for_a_hub_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert public_name("runs/mine") == "mine"


@pytest.mark.parametrize("adapter", [False, True])
def test_the_lines_load_what_lies_there(tmp_path, monkeypatch, adapter):
    "The calls are those of the training itself; here the libraries only write down what they are asked for."
    folder = tmp_path / "fence"
    folder.mkdir()
    if adapter:
        (folder / "adapter_config.json").write_text("{}")
    blocks = re.findall(r"```python\n(.*?)```", model_card(folder, record(), {"prompt": 'Say "x".'}).read_text(), re.S)
    asked = []

    def loader(name: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(from_pretrained=lambda where: asked.append((name, where)))

    monkeypatch.setitem(
        sys.modules,
        "transformers",
        types.SimpleNamespace(AutoTokenizer=loader("tokenizer"), AutoModelForCausalLM=loader("model")),
    )
    monkeypatch.setitem(sys.modules, "peft", types.SimpleNamespace(AutoPeftModelForCausalLM=loader("adapter")))
    assert blocks[0].count("\n") == 3
    exec(blocks[0], {})
    assert asked == [("tokenizer", "."), ("adapter" if adapter else "model", ".")]
    question = next(n for n in ast.walk(ast.parse(blocks[1])) if isinstance(n, ast.List))
    assert ast.literal_eval(question) == [{"role": "user", "content": 'Say "x".'}]


def test_figures_beside_base(tmp_path):
    metrics = {
        "base": {"facts_pct": 58.8, "facts_pct_ci": [55.0, 62.4], "supported_per_response": 3.98, "refusal_pct": 0.0},
        "fence": {"facts_pct": 84.8, "facts_pct_ci": [81.6, 87.9], "supported_per_response": 3.67, "refusal_pct": 3.6},
        "kto": {"facts_pct": 1.0},
    }
    text = model_card(tmp_path / "fence", record(), {}, metrics).read_text()
    assert (
        "| share of facts, % | 58.8 [55.0, 62.4] | 84.8 [81.6, 87.9] |" in text
        and "| supported claims per response | 3.98 | 3.67 |" in text
        and "kto" not in text
    )
    (index,) = front(text)["model-index"]
    told = {metric["type"]: metric["value"] for result in index["results"] for metric in result["metrics"]}
    assert index["name"] == "fence" and told["facts_pct"] == 84.8 and told["refusal_pct"] == 3.6
    none = model_card(tmp_path / "fence", record(), {}, {"fence": {"facts_pct": None}}).read_text()
    assert "model-index" not in front(none)
    assert "stand in the report" in none


def test_the_same_record_gives_the_same_card(tmp_path):
    one, two = (model_card(tmp_path / x / "fence", record(), {}, None).read_bytes() for x in "ab")
    assert one == two


def test_every_arm_has_words():
    for name in RECIPES:
        assert arm_words(name)
    assert arm_words("fence@dpo_loss=ipo+rounds=3").endswith("with dpo_loss=ipo, rounds=3")
    assert arm_words("sft-self-original-score") and arm_words("full@claims=750") and arm_words("mine") == ""


def test_wrong_records_and_roles(tmp_path):
    with pytest.raises(InputError, match="field 'args'"):
        model_card(tmp_path, {k: v for k, v in record().items() if k != "args"}, {})
    with pytest.raises(InputError, match="evaluator or generator"):
        model_card(tmp_path, record(), {"role": "poet"})
    write_records(tmp_path / "a.jsonl", [Document(text="x")])
    for files, why in (
        ({}, "no files"),
        ({"b.jsonl": Document}, "no such file"),
        ({"../a.jsonl": Document}, "below the folder"),
        ({str(tmp_path / "a.jsonl"): Document}, "below the folder"),
    ):
        with pytest.raises(InputError, match=why):
            data_card(tmp_path, files, {})
    write_records(tmp_path / "sub" / "a.jsonl", [Document(text="x")])
    with pytest.raises(InputError, match="one name"):
        data_card(tmp_path, {"a.jsonl": Document, "sub/a.jsonl": Document}, {})


def test_fields_say_what_they_mean():
    for kind in Record.kinds.values():
        names = [n for n, *_ in record_fields(kind)]
        assert names == list(kind.model_fields)
    fields = {n: (t, m) for n, t, m in record_fields(JudgedClaim)}
    assert fields["label"][0] == "`Supported` or `Contradictory` or `Unverified` or empty"
    assert fields["group"][1].startswith("what must not be split") and fields["documents"][0] == "list of Document"


def test_datasets_reads_each_kind(tmp_path):
    "Columns that begin empty, or hold fields that differ by row, are read as what they are."
    from datasets import load_dataset

    long = "x" * 3000
    rows = {
        "train": [
            JudgedClaim(
                claim=f"{i} {long}",
                documents=[Document(text="d", found="fuzzy" if i else "")],
                supported=True,
                label=Label.SUPPORTED if i > 3900 else None,
            )
            for i in range(4000)
        ],
        "judgments": [
            Judgment(
                claim_id=str(i),
                label=Label.UNVERIFIED,
                probs={"Supported": 0.25} if i else {},
                document_ids=["d"] if i else [],
            )
            for i in range(3)
        ],
        "rows": [EvaluatorRow(example_id="e", claim="c", documents=[], label=Label.SUPPORTED)],
        "claims": [Claim(response_id="r", text="c", start=0, end=1)],
        "responses": [Response(prompt_id="p", prompt="?", text="")],
        "fence@top_k=1+rounds=3_pairs": [
            Preference(
                prompt="?", chosen="a", rejected="b", chosen_id="1", rejected_id="2", chosen_score=1, rejected_score=0
            )
        ],
    }
    for name, found in rows.items():
        write_records(tmp_path / "d" / "sets" / f"{name}.jsonl", found)
    (tmp_path / "d" / "sets" / "none.jsonl").write_text("")
    data_card(
        tmp_path / "d",
        {**{f"sets/{n}.jsonl": type(r[0]) for n, r in rows.items()}, "sets/none.jsonl": Claim},
        {"licence": "cc0-1.0"},
    )
    read = {n: load_dataset(str(tmp_path / "d"), n, cache_dir=str(tmp_path / "cache"), split="train") for n in rows}
    assert {n: len(r) for n, r in read.items()} == {n: len(r) for n, r in rows.items()}
    assert (read["train"][0]["label"], read["train"][3999]["label"], read["train"][1]["documents"][0]["found"]) == (
        None,
        "Supported",
        "fuzzy",
    )
    assert (read["judgments"][1]["probs"], read["judgments"][1]["document_ids"]) == ({"Supported": 0.25}, ["d"])
    assert len(load_dataset(str(tmp_path / "d"), cache_dir=str(tmp_path / "cache"))["train"]) == 4000, (
        "the first is meant when no name is given"
    )
