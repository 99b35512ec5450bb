"A real small model, in this process, behind a llama.cpp server and behind `transformers serve`."

import pytest

from fence_nb.core.calls import Calls
from fence_nb.core.records import InputError
from fence_nb.judging.prompts import KNOWLEDGE, LABEL, SPLIT, VERDICT, parse_verdict
from fence_nb.models.endpoint import EndpointLM
from fence_nb.models.local import is_gguf

PAGE = "Documents:\nTorin: Torin is the capital of Sael.\nClaim: Torin is the capital of Sael.\nJudge the claim."
WORDS = [" Supported", " Contradictory", " Unverified"]


def ask(text: str, *begun: str) -> list[dict]:
    return [{"role": "user", "content": text}, *({"role": "assistant", "content": part} for part in begun)]


@pytest.fixture(scope="module")
def served(llama_cpp, tmp_path_factory) -> EndpointLM:
    return EndpointLM(llama_cpp, calls=Calls(tmp_path_factory.mktemp("calls") / "calls.db"))


def test_what_a_llama_cpp_server_can_do(served):
    found = served.abilities
    assert found.constraints == ("grammar", "response_format") and found.continuation in ("field", "last")
    assert found.repeats and found.top_logprobs == 20 and found.most_samples == 2
    assert (found.context, found.parallel) == (2048, 2)
    assert found.seed == "kept" and found.at_once in ("yes", "slow")


def test_a_llama_cpp_server_keeps_to_forms(served):
    knows, split = (served.generate([ask(PAGE)], form=form, max_new_tokens=200)[0][0] for form in (KNOWLEDGE, SPLIT))
    assert knows.text in ("true", "false", "unknown") and not knows.reason
    assert split.text == "none" or all(line.startswith("- ") for line in split.text.splitlines())
    label = served.generate([ask(PAGE, "The page says so.\nLabel:")], form=LABEL, max_new_tokens=8)[0][0]
    assert f" {label.text.strip()}" in WORDS


def test_a_llama_cpp_server_goes_on(served):
    begun = "Torin is the capital of Sael, and the largest city of the country is"
    reply = served.generate([ask("Tell me of Torin.", begun)], max_new_tokens=8)[0][0]
    assert reply.text and "Tell me" not in reply.text and not reply.text.startswith("Torin is the capital")
    weights = served.label_logprobs([ask(PAGE, "The page says so.\nLabel:")], WORDS)[0]
    assert set(weights) == set(WORDS) and all(weight < 0 for weight in weights.values())


def test_a_label_is_weighed_alike_here_and_behind_a_server(served, smol):
    "The words have two tokens and more. A server that is asked for the first alone takes Unknown for Unverified."
    critiques = ["The page says so.", "The page says that Velm is the capital. This is different.", "It is not known."]
    begun = [ask(PAGE, f"{critique}\nLabel:") for critique in critiques]
    near, far = smol.label_logprobs(begun, WORDS), served.label_logprobs(begun, WORDS)
    for here, there in zip(near, far, strict=True):
        assert here[max(there, key=there.get)] > max(here.values()) - 2


def test_a_llama_cpp_server_says_what_does_not_fit(served):
    short, long = served.generate([ask("Say hello."), ask("word " * 5000)], max_new_tokens=8)
    assert short[0].text and long[0].reason == "too long" and "does not fit" in long[0].problem
    assert not served.fits(ask("word " * 5000), 8) and served.fits(ask("Say hello."), 8)


def test_more_samples_than_a_server_gives_at_once(served):
    replies = served.generate([ask("Tell me a story.")], n=5, temperature=1.0, max_new_tokens=8)[0]
    assert len({reply.text for reply in replies}) > 2 and not any(reply.error for reply in replies)


def test_a_gguf_file_is_a_model(smol, smol_file):
    assert is_gguf(smol_file) and smol.tokenizer.eos_token == "<|im_end|>" and smol.context == 8192
    reply = smol.generate([ask("Say hello.")], max_new_tokens=24)[0][0]
    assert "ello" in reply.text and "<|im" not in reply.text


def test_forms_hold_in_this_process(smol):
    engine = smol.engine
    try:
        for smol.engine in (engine, None):
            knows = smol.generate([ask(PAGE), ask("Is Torin blue?")], form=KNOWLEDGE, max_new_tokens=8)
            assert all(replies[0].text in ("true", "false", "unknown") for replies in knows)
    finally:
        smol.engine = engine
    samples = smol.generate([ask(PAGE)], n=3, temperature=1.0, form=KNOWLEDGE, max_new_tokens=8)[0]
    assert all(reply.text in ("true", "false", "unknown") for reply in samples)
    critique, label = parse_verdict(smol.generate([ask(PAGE)], form=VERDICT, max_new_tokens=512)[0][0].text)
    assert critique and label
    smol.constrained = False
    assert smol.generate([ask(PAGE)], form=KNOWLEDGE, max_new_tokens=8)[0][0].text not in ("true", "false", "unknown")
    smol.constrained = True


def test_transformers_serve_with_the_same_weights(smol_folder, serve):
    lm = EndpointLM(serve(smol_folder))
    found = lm.abilities
    assert found.continuation == "render" and found.samples_by_config and not lm.has_logprobs
    assert found.constraints == () and found.context == 8192
    assert lm.generate([ask("word " * 9000)], max_new_tokens=4)[0][0].reason == "too long"  # it would answer blanks
    with pytest.raises(InputError, match="no log-probabilities"):
        lm.label_logprobs([ask(PAGE)], WORDS)
