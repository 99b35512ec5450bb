"What a model wrote, without what it only thought."

import pytest

from fence_nb.models.interface import Reply, read_reply, thought_spans

ANSWER = "Ada Vell was born in Torin."
MENTIONED = ["HTML knows no <think> tag. Zor is a town.", "Models end a thought with `</think>`. Zor is a town."]


@pytest.mark.parametrize(
    "before, after",
    [
        ("<think>", "</think>"),
        ("<think>\n- Ada Vell was born in Marn.\n", "\n</think>\n\n"),
        ("<Thinking>", "</Thinking>"),
        ("[THINK]", "[/THINK]"),
        ("◁think▷", "◁/think▷"),
        ("<|begin_of_thought|>", "<|end_of_thought|>\n"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        ("", "</think>"),
        ("", "[/THINK] "),
        ("<scratchpad>", "</scratchpad>"),
        ("<|thinking|>", "<|/thinking|>"),
        ("<think>", "</think><answer>"),
    ],
)
def test_thoughts_of_every_spelling(before, after):
    closing = "</answer>" if after.endswith("<answer>") else ""
    reply = read_reply(f"{before}Marn? No, the page says otherwise.{after}{ANSWER}{closing}")
    assert reply.text == ANSWER and reply.reason == "" and "the page says otherwise" in reply.thought


def test_two_thoughts_and_text_between():
    reply = read_reply("<think>a</think>One. <think>b</think>Two.")
    assert reply.text == "One. Two." and reply.finished


@pytest.mark.parametrize("text", ["<think>Marn or", "[THINK] still", "<think>a</think>", "<think>a</think> \n"])
def test_nothing_but_a_thought_is_cut(text):
    assert read_reply(text).reason == "cut" and read_reply(text).text == ""


def test_a_thought_that_begins_after_the_answer_and_never_ends():
    reply = read_reply(f"{ANSWER}\n<think>Was it")
    assert reply.text == ANSWER and reply.reason == "cut"


@pytest.mark.parametrize("end", ["<|im_end|>", "</s>", "<|eot_id|>\n", "<end_of_turn>", "<|end|><|return|>"])
def test_end_tokens_are_no_words(end):
    assert read_reply(ANSWER + end).text == ANSWER


@pytest.mark.parametrize(
    "text", [ANSWER, "", "a < b and c > d", "I think > you", " two  blanks \n", "<b>think</b>", *MENTIONED]
)
def test_other_text_is_left_alone(text):
    assert read_reply(text) == Reply(text) and thought_spans(text) == []


def test_reasons():
    assert Reply("", False, "tiny: status 500").reason == "failed"
    assert read_reply("I cannot help.", refused=True).reason == "refused"
    assert read_reply(ANSWER, finished=False).reason == "cut" and "--max-new-tokens" in Reply("x", False).problem
    assert read_reply("", thought="Torin?").reason == "cut" and "thought" in read_reply("", thought="Torin?").problem
    assert Reply("").reason == "" and Reply("").problem == ""
