"Published judges with random weights of the right architecture: what is read, how parts combine, which answer counts."

import importlib.util
import json
import math
from dataclasses import replace

import pytest

from fence_nb.core.records import Claim, Document, InputError, Label
from fence_nb.judging.judge import Judge
from fence_nb.judging.judges import JUDGE_KINDS, kind_of_judge, open_judge
from fence_nb.judging.published_judges import (
    PUBLISHED,
    Weighed,
    document_parts,
    is_published,
    open_published,
    published_names,
    published_row,
)

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

DOCUMENT = Document(text="Ada was born in Torin. She studied physics at Velm.\nShe won a prize.")
CLAIMS = ["Ada studied physics.", "Ada lives in Marn."]
WORDS = (
    "Ada She was born in Torin studied physics at Velm won a prize lives Marn predict yes Yes no No . , : ? ! - \" '"
)
SMALL = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
T5 = dict(vocab_size=300, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, feed_forward_proj="gated-gelu")
T5 |= dict(pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)


def make_items(*texts: str, documents: tuple[Document, ...] = (DOCUMENT,)) -> list:
    return [(Claim(response_id="r", text=text, start=0, end=1), list(documents)) for text in texts or CLAIMS]


def make_tokenizer(frame: str = "", template: str = ""):
    "A tokenizer of 300 words: special tokens first, `frame` around what is read."
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = ["<pad>", "</s>", "<unk>", "<s>", "[SEP]", *WORDS.split(), "Claim", "Document", "passage", "1", "2"]
    vocabulary += [f"word{k}" for k in range(300 - len(vocabulary))]
    tokenizer = Tokenizer(models.WordLevel({word: k for k, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    if frame:
        begin, end = frame.split("A")
        pair = f"{begin}A{end} B{end}"
        marks = [(mark, vocabulary.index(mark)) for mark in {*frame.split()} - {"A"}]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin}$A{end}", pair=pair.replace("A", "$A").replace("B", "$B"), special_tokens=marks
        )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", bos_token="<s>"
    )
    fast.chat_template = template or None
    return fast


def save(folder, model, tokenizer):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def open_small(name: str, folder, **changes):
    judge = open_published(f"{name}={folder}")
    judge.row = replace(judge.row, **changes)
    return judge


@pytest.fixture
def seen(monkeypatch):
    "The texts that a judge's tokenizer turned into tokens, as they come out again."
    from fence_nb.judging import published_judges

    texts = []
    of_pair = published_judges.WeightsJudge._input

    def remember(self, document, claim):
        row = of_pair(self, document, claim)
        if row.tokens:
            texts.append(self.tokenizer.decode(row.tokens["input_ids"]))
        return row

    monkeypatch.setattr(published_judges.WeightsJudge, "_input", remember)
    return texts


def softmax_of(logits, supported: int) -> list[float]:
    return logits.float().softmax(-1)[..., supported].tolist()


def probabilities(judge, items) -> list[float]:
    judgments, failures = judge.judge(items)
    assert not failures
    for judgment in judgments:
        assert (judgment.label is Label.SUPPORTED) == (judgment.probs["Supported"] > 0.5)
    return [judgment.probs["Supported"] for judgment in judgments]


def test_minicheck_flan_t5_weighs_two_tokens_of_one_step(tmp_path, seen):
    tokenizer = make_tokenizer("A </s>")
    model = save(tmp_path, transformers.T5ForConditionalGeneration(transformers.T5Config(**T5)), tokenizer)
    judge = open_small("minicheck:flan-t5-large", tmp_path, chunk=10)
    parts = ["Ada was born in Torin. She studied physics at Velm.", "She won a prize."]
    assert judge.parts("", [DOCUMENT]) == parts
    expected = []
    for part in parts:
        ids = tokenizer(f"predict: {part}</s>Ada studied physics.", return_tensors="pt").input_ids
        logits = model(input_ids=ids, decoder_input_ids=torch.zeros((1, 1), dtype=torch.long)).logits[0, 0]
        expected.append(softmax_of(logits[[3, 209]], 1))
    assert probabilities(judge, make_items(CLAIMS[0])) == pytest.approx([max(expected)], abs=1e-5)
    assert "predict : She won a prize . </s> Ada studied physics . </s>" in seen and len(seen) == 2


@pytest.mark.parametrize("name", ["minicheck:deberta", "minicheck:roberta"])
def test_minicheck_encoders_read_one_text_with_an_end_token_inside(tmp_path, seen, name):
    tokenizer = make_tokenizer("<s> A </s>")
    config = transformers.BertConfig(vocab_size=300, num_labels=2, **SMALL)
    model = save(tmp_path, transformers.BertForSequenceClassification(config), tokenizer)
    judge = open_published(f"{name}={tmp_path}")
    batch = [tokenizer(f"{DOCUMENT.text}</s>{claim}", return_tensors="pt").input_ids for claim in CLAIMS]
    expected = [softmax_of(model(input_ids=ids).logits[0], 1) for ids in batch]
    assert probabilities(judge, make_items()) == pytest.approx(expected, abs=1e-5)
    texts = [
        "<s> Ada was born in Torin . She studied physics at Velm . She won a prize . </s> Ada studied physics . </s>"
    ]
    assert {*texts} < {*seen} and len(seen) == 2


def test_factcg_asks_its_question(tmp_path, seen):
    tokenizer = make_tokenizer("<s> A </s>")
    config = transformers.BertConfig(vocab_size=300, num_labels=2, **SMALL)
    model = save(tmp_path, transformers.BertForSequenceClassification(config), tokenizer)
    judge = open_small("factcg", tmp_path)
    question = (
        "Ada was born in Torin.\nShe studied physics at Velm.\nShe won a prize.\n\n"
        'Choose your answer: based on the paragraph above can we conclude that "Ada lives in Marn."?\n\n'
        "OPTIONS:\n- Yes\n- No\nI think the answer is "
    )
    assert judge.render(judge.parts("", [DOCUMENT])[0], CLAIMS[1]) == (question,)
    ids = tokenizer(question, return_tensors="pt").input_ids
    expected = softmax_of(model(input_ids=ids).logits[0], 1)
    assert probabilities(judge, make_items(CLAIMS[1])) == pytest.approx([expected], abs=1e-5)


def save_backbone(folder, config, tokenizer):
    config.save_pretrained(folder / "backbone")
    tokenizer.save_pretrained(folder / "backbone")


def test_hhem_is_an_encoder_that_classifies_its_first_token(tmp_path):
    from safetensors.torch import save_file

    tokenizer = make_tokenizer("A </s>")
    config = transformers.T5Config(num_labels=2, **T5)
    model = transformers.T5ForTokenClassification(config).eval()
    save_backbone(tmp_path, transformers.T5Config(**T5), tokenizer)
    tensors = {f"t5.{k}": v.clone() for k, v in model.state_dict().items() if not k.endswith("embed_tokens.weight")}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "HHEMv2Config"}')
    judge = open_published(f"hhem={tmp_path}")
    asked = "<pad> Determine if the hypothesis is true given the premise?\n\nPremise: {}\n\nHypothesis: {}"
    expected = []
    for claim in CLAIMS:
        ids = tokenizer(asked.format(DOCUMENT.text, claim), return_tensors="pt").input_ids
        assert ids[0, 0] == 0
        expected.append(softmax_of(model(input_ids=ids).logits[0, 0], 1))
    assert probabilities(judge, make_items()) == pytest.approx(expected, abs=1e-5)


class AlignScoreAsPublished(torch.nn.Module):
    "RoBERTa with a pooler and a layer of three classes, as its authors keep it."

    def __init__(self, config):
        super().__init__()
        self.base_model = transformers.RobertaModel(config)
        self.tri_layer = torch.nn.Linear(config.hidden_size, 3)
        self.bin_layer = torch.nn.Linear(config.hidden_size, 2)

    def forward(self, **inputs):
        return self.tri_layer(self.base_model(**inputs).pooler_output)


@pytest.fixture
def alignscore(tmp_path):
    config = transformers.RobertaConfig(vocab_size=300, max_position_embeddings=600, pad_token_id=0, **SMALL)
    torch.manual_seed(0)
    model = AlignScoreAsPublished(config).eval()
    tokenizer = make_tokenizer("<s> A </s>")
    save_backbone(tmp_path, config, tokenizer)
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, tmp_path / "AlignScore-large.ckpt")
    return tmp_path, model, tokenizer


def test_alignscore_takes_the_mean_over_sentences_of_the_best_part(alignscore):
    folder, model, tokenizer = alignscore
    judge = open_small("alignscore", folder, chunk=10)
    parts = ["Ada was born in Torin.", "She studied physics at Velm.", "She won a prize."]
    assert judge.parts("", [DOCUMENT]) == parts
    means = []
    for sentence in CLAIMS:
        pairs = [tokenizer(part, sentence, return_tensors="pt").input_ids for part in parts]
        means.append(max(softmax_of(model(input_ids=ids)[0], 0) for ids in pairs))
    expected = sum(means) / 2
    assert probabilities(judge, make_items(" ".join(CLAIMS))) == pytest.approx([expected], abs=1e-5)


def test_a_checkpoint_that_holds_more_than_tensors_is_not_read(alignscore):
    folder, model, _ = alignscore
    torch.save({"state_dict": model.state_dict(), "trainer": Judge}, folder / "AlignScore-large.ckpt")
    with pytest.raises(InputError, match="more than tensors"):
        open_published(f"alignscore={folder}")
    torch.save({"state_dict": {}}, folder / "AlignScore-large.ckpt")
    with pytest.raises(InputError, match="are missing"):
        open_published(f"alignscore={folder}")


def save_chat(folder, template: str):
    config = transformers.LlamaConfig(vocab_size=300, num_key_value_heads=1, pad_token_id=0, **SMALL)
    tokenizer = make_tokenizer(template=template)
    return save(folder, transformers.LlamaForCausalLM(config), tokenizer), tokenizer


def test_granite_guardian_weighs_no_risk_against_risk(tmp_path, seen):
    template = (
        "{{ guardian_config.risk_name }} {% for m in messages %}{{ m.role }} : {{ m.content }} {% endfor %}"
        "{% if add_generation_prompt %}? {% endif %}"
    )
    model, tokenizer = save_chat(tmp_path, template)
    judge = open_published(f"granite-guardian={tmp_path}")
    expected = []
    for claim in CLAIMS:
        text = f"groundedness context : {DOCUMENT.text} assistant : {claim} ? "
        logits = model(tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids).logits[0, -1]
        probs = dict(zip(tokenizer.convert_ids_to_tokens(range(300)), logits.softmax(-1).tolist(), strict=True))
        no, yes = probs["no"] + probs["No"], probs["yes"] + probs["Yes"]
        expected.append(no / (no + yes))
    assert probabilities(judge, make_items()) == pytest.approx(expected, abs=1e-5)


def test_bespoke_is_the_probability_of_yes_in_a_folder_or_behind_a_server(tmp_path):
    template = "{% for m in messages %}{{ m.role }} : {{ m.content }} {% endfor %}"
    model, tokenizer = save_chat(tmp_path, template)
    judge = open_published(f"minicheck:bespoke-7b={tmp_path}")
    (text,) = judge.render(DOCUMENT.text, CLAIMS[0])
    assert text.startswith("system : Determine whether the provided claim") and '"Yes" or "No". user : Doc' in text
    assert text.endswith(f"user : Document: {DOCUMENT.text}\nClaim: {CLAIMS[0]} ")
    probs = model(tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids).logits[0, -1].softmax(-1)
    yes = sum(probs[tokenizer.convert_tokens_to_ids(word)].item() for word in ("yes", "Yes"))
    assert probabilities(judge, make_items(CLAIMS[0])) == pytest.approx([yes], abs=1e-5)

    class Server:
        name = "server"
        has_logprobs = True

        def label_logprobs(self, conversations, options):
            assert options == ["Yes", "No"] and conversations[0][0]["role"] == "system"
            return [{"Yes": math.log(0.9), "No": math.log(0.1)}, {}][: len(conversations)]

    served = open_published("minicheck:bespoke-7b=http://localhost:1/v1#b", lambda url: Server())
    judgments, failures = served.judge(make_items())
    assert judgments[0].probs == {"Supported": 0.9} and failures[0].reason == "failed"


@pytest.fixture
def lettuce(tmp_path):
    config = transformers.ModernBertConfig(
        vocab_size=300, num_labels=2, pad_token_id=0, cls_token_id=3, sep_token_id=1, bos_token_id=3, **SMALL
    )
    tokenizer = make_tokenizer("<s> A </s>")
    model = save(tmp_path, transformers.ModernBertForTokenClassification(config), tokenizer)
    return tmp_path, model, tokenizer


def test_lettucedetect_supports_a_claim_whose_least_token_is_supported(lettuce):
    folder, model, tokenizer = lettuce
    judge = open_published(f"lettucedetect={folder}")
    prompt = f"Summarize the following text:\npassage 1: {DOCUMENT.text}\noutput:"
    assert judge.parts(CLAIMS[0], [DOCUMENT]) == [prompt]
    expected = []
    for claim in CLAIMS:
        encoded = tokenizer(prompt, claim, return_tensors="pt")
        own = len(tokenizer(claim, add_special_tokens=False).input_ids)
        expected.append(min(softmax_of(model(**encoded).logits[0], 0)[-own - 1 : -1]))
    assert probabilities(judge, make_items()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.skipif(
    importlib.util.find_spec("lettucedetect") is None,
    reason="the package lettucedetect is not installed; pip install --no-deps lettucedetect",
)
@pytest.mark.parametrize("max_length", [4096, 60])
def test_lettucedetect_agrees_with_the_package(lettuce, max_length):
    from lettucedetect.detectors.transformer import TransformerDetector

    folder, _, _ = lettuce
    judge = open_small("lettucedetect", folder, max_length=max_length)
    theirs = TransformerDetector(str(folder), max_length=max_length, device="cpu")
    passages = [f"Ada was born in Torin word{k}. She studied physics at Velm, word{k}." for k in range(9)]
    documents = tuple(Document(text=text) for text in passages)
    for item in make_items(*CLAIMS, "Ada won a prize in Velm and lives word7 in Marn.", documents=documents):
        tokens = theirs.predict(passages, item[0].text)
        own = tokens[:-1]  # theirs end with the frame
        least = min(1 - token["prob"] for token in own)
        (judgment,), failures = judge.judge([item])
        assert not failures and judgment.probs["Supported"] == pytest.approx(least, abs=1e-5)
        assert len(judge.parts(item[0].text, documents)) == len(
            theirs._group_passages_into_chunks(passages, None, item[0].text)
        )
        if max_length == 4096 and judgment.label is not Label.SUPPORTED:
            spans = [span["text"].strip() for span in theirs.predict(passages, item[0].text, output_format="spans")]
            assert judgment.critique == "Not in the documents: " + "; ".join(map(repr, spans))


@pytest.mark.parametrize(
    "labels, supported",
    [(["entailment", "neutral", "contradiction"], 0), (["not_entailment", "ENTAILMENT"], 1)],
)
def test_an_nli_model_says_which_class_is_entailment(tmp_path, labels, supported, capsys):
    tokenizer = make_tokenizer("<s> A </s>")
    config = transformers.BertConfig(vocab_size=300, id2label=dict(enumerate(labels)), **SMALL)
    model = save(tmp_path, transformers.BertForSequenceClassification(config), tokenizer)
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    judge = open_published(f"nli:{tmp_path}")
    expected = [
        softmax_of(model(**tokenizer(DOCUMENT.text, claim, return_tensors="pt")).logits[0], supported)
        for claim in CLAIMS
    ]
    assert probabilities(judge, make_items()) == pytest.approx(expected, abs=1e-5)
    assert "licence cc-by-nc-4.0, not for commercial use" in capsys.readouterr().err


@pytest.fixture
def classifier(tmp_path):
    config = transformers.BertConfig(vocab_size=300, num_labels=2, max_position_embeddings=128, **SMALL)
    save(tmp_path, transformers.BertForSequenceClassification(config), make_tokenizer("<s> A </s>"))
    return tmp_path


def test_a_document_that_does_not_fit_loses_its_end_and_the_judgment_says_so(classifier, seen):
    judge = open_small("minicheck:roberta", classifier, max_length=20)
    long = Document(text="Ada " * 60 + "lives.")
    judgments, failures = judge.judge(
        make_items(*CLAIMS, "word7 " * 30, documents=(long,)) + make_items("Ada.", documents=(Document(text="Ada."),))
    )
    assert [judgment.truncated for judgment in judgments] == [True, True, False]
    assert "<s> " + "Ada " * 13 + "</s> Ada studied physics . </s>" in seen
    assert [failure.reason for failure in failures] == ["too long"] and "20 tokens" in failures[0].detail


def test_every_item_has_one_record_and_the_order_does_not_matter(classifier):
    judge = open_published(f"minicheck:roberta={classifier}")
    items = [*make_items(), *make_items("Ada won a prize.", documents=()), *make_items("Ada won.")]
    together, failures = judge.judge(items, desc="")
    assert [failure.reason for failure in failures] == ["empty"]
    assert [judgment.claim_id for judgment in together] == [claim.id for claim, documents in items if documents]
    apart = [judge.judge([item])[0][0] for item in items if item[1]]
    assert [judgment.probs["Supported"] for judgment in apart] == pytest.approx(
        [judgment.probs["Supported"] for judgment in together], abs=1e-5
    )
    assert judge.judge([]) == ([], [])


def test_a_pair_that_is_too_much_for_the_memory_is_a_failure_of_its_own(classifier, monkeypatch):
    judge = open_published(f"minicheck:roberta={classifier}")
    usual = judge.score

    def full(batch, rows):
        if any("Marn" in judge.tokenizer.decode(row.tokens["input_ids"]) for row in rows):
            raise torch.OutOfMemoryError("no room")
        return usual(batch, rows)

    monkeypatch.setattr(judge, "score", full)
    judgments, failures = judge.judge(make_items(*CLAIMS, "Ada won a prize."))
    assert len(judgments) == 2 and [failure.reason for failure in failures] == ["too long"]


def test_pairs_are_held_as_tokens_a_few_at_a_time(classifier, monkeypatch):
    judge = open_published(f"minicheck:roberta={classifier}")
    items = make_items(*[f"Ada won word{k}." for k in range(7)], *CLAIMS)
    whole = judge.judge(items)
    monkeypatch.setattr(type(judge), "AT_ONCE", 2)
    judge.batch_tokens = 1
    a_few = judge.judge(items)
    assert [j.claim_id for j in a_few[0]] == [j.claim_id for j in whole[0]] and not a_few[1]
    assert [j.probs["Supported"] for j in a_few[0]] == pytest.approx([j.probs["Supported"] for j in whole[0]], abs=1e-5)


def test_a_model_that_breaks_gives_no_label(classifier, monkeypatch):
    judge = open_published(f"minicheck:roberta={classifier}")
    monkeypatch.setattr(judge, "weigh", lambda pairs, desc="": [Weighed() for _ in pairs])
    assert [failure.reason for failure in judge.judge(make_items())[1]] == ["error", "error"]


def test_a_special_token_in_a_text_is_a_text(classifier, seen):
    judge = open_published(f"minicheck:roberta={classifier}")
    judge.judge(make_items("Ada </s> won.", documents=(Document(text="She </s> won."),)))
    assert seen[0].count("</s>") == 2


def test_titles_and_several_documents_are_read(classifier):
    judge = open_published(f"minicheck:roberta={classifier}")
    documents = [Document(title="Ada", text="She won."), Document(text="She lives in Marn.")]
    assert judge.parts("", documents) == ["Ada\nShe won.\nShe lives in Marn."]


def test_parts_hold_every_word_and_keep_to_their_size():
    text = "One two three. Four five.\n\nSix " + "seven " * 25 + "eight.\nNine."
    for unit in ("words", "words and marks"):
        parts = document_parts(text, 8, unit)
        assert " ".join(parts).split() == text.split()
        assert all(len(part.split()) <= 8 for part in parts)
    assert document_parts("One. Two.\n\nThree.", 99) == ["One. Two.\n\nThree."]
    assert document_parts("One. Two.\n\nThree.", 99, join="\n") == ["One.\nTwo.\nThree."]
    assert document_parts("...", 99) == ["..."]


def test_what_cannot_be_opened_says_so_in_one_line(classifier, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refused(spec: str) -> str:
        with pytest.raises(InputError) as caught:
            open_judge(spec)
        message = str(caught.value)
        assert "\n" not in message and len(message) < 700
        return message

    assert all(name in refused("minicheck:flan-t5") for name in published_names())
    assert "did you mean minicheck:flan-t5-large?" in refused("minicheck:flan-t5-larg")
    assert "did you mean hhem?" in refused("hhemm") and "did you mean factcg?" in refused("fact:cg")
    assert "cannot be had from the hub" in refused("minicheck:deberta")
    assert "give minicheck:deberta=FOLDER" in refused("minicheck:deberta")
    assert "cannot be had from the hub" in refused("nli:owner/model")
    assert "bespoke-7b=URL#MODEL" in refused("minicheck:bespoke-7b")
    assert "no such folder" in refused(f"factcg={tmp_path}/nowhere")
    assert "is not asked through a server" in refused("factcg=http://localhost:1/v1#m")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "cannot be opened as this judge" in refused(f"factcg={empty}")
    config = json.loads((classifier / "config.json").read_text())
    (classifier / "config.json").write_text(json.dumps(config | {"id2label": {0: "a", 1: "b", 2: "c"}}))
    assert "\n" not in refused(f"factcg={classifier}")


def test_code_beside_the_weights_is_never_run(classifier, tmp_path):
    config = json.loads((classifier / "config.json").read_text())
    code = {"auto_map": {"AutoConfig": "mine.Config", "AutoModelForSequenceClassification": "mine.Model"}}
    (classifier / "config.json").write_text(json.dumps(config | code | {"model_type": "mine"}))
    (classifier / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(InputError, match="cannot be opened"):
        open_published(f"factcg={classifier}")
    assert not (tmp_path / "ran").exists()


def test_the_table_is_whole_and_every_row_is_a_judge_of_two_ways(tmp_path, monkeypatch):
    assert len({row.name for row in PUBLISHED}) == len(PUBLISHED)
    for row in PUBLISHED:
        assert row.licence and row.source and row.hub.count("/") == 1 and 0 <= row.supported < len(row.answers)
        assert is_published(row.name) and published_row(row.name.upper()) is row
        kind = kind_of_judge(row.name)
        assert kind is JUDGE_KINDS["published"] and kind.ways == 2 and kind.signature(row.name) == row.name
    assert [row.name for row in PUBLISHED if not row.is_free] == ["minicheck:bespoke-7b"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hhem").mkdir()
    assert not is_published("hhem") and not is_published("owner/hhem")


def test_answers_are_scored_and_judges_compared_by_name(classifier):
    import fence_nb as f
    from fence_nb.domains.examples import ANSWER, PAGE, example_claims, example_lm

    spec = f"minicheck:roberta={classifier}"
    scored = f.score([ANSWER], documents=[PAGE], model=example_lm(), judge=spec)
    assert len(scored.claims) == 4 and not scored.failures
    assert {judgment.judge for judgment in f.judge(example_claims(), [PAGE], model=spec).judgments.values()} == {
        "minicheck:roberta"
    }
    compared = f.compare_judges(example_claims(), [PAGE], models=[spec, example_lm()], probs=False)
    single, pairs = compared.tables()
    assert compared.ways == 2 and pairs.title.endswith("supported or not")
    assert [row[0] for row in single.rows] == [spec, "example"] and len(compared.rows()) == 8
    assert "kappa" in compared._repr_html_()
