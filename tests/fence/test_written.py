"What a generator wrote: what gets into a text, and what does not."

import pytest

from fence_nb.fence.written import candidate_text, continued_text, next_sentence, rewritten_sentence
from fence_nb.judging.prompts import VerdictError
from fence_nb.models.interface import Reply

OLD = "The bridge was opened in 1911."
CRITIQUE = "The documents say 1913."
NEW = "The bridge was opened in 1913."


@pytest.mark.parametrize(
    "text",
    [
        NEW,
        f"  {NEW}\n",
        f'"{NEW}"',
        f"**{NEW}**",
        f"- {NEW}",
        f"1. {NEW}",
        f"```\n{NEW}\n```",
        f"Corrected sentence: {NEW}",
        f"Sure, here is the corrected sentence: {NEW}",
        f"Certainly!\nHere is the sentence:\n\n{NEW}",
        f"Hier ist der berichtigte Satz:\n{NEW}",
        f"{NEW}\n\nExplanation: the year was wrong.",
        f"{NEW}\n(I changed the year.)",
    ],
)
def test_a_sentence_in_plain_sight_is_taken(text):
    assert rewritten_sentence(Reply(text), OLD, CRITIQUE) == NEW


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "empty"),
        (" \n", "empty"),
        ("...", "empty"),
        ("Sure!", "unparsed"),
        ("Of course, I would love to.", "unparsed"),
        ("I am sorry, but I cannot help with this.", "refused"),
        ("As an AI, I have no opinion on bridges.", "unparsed"),
        (f"Sentence: {OLD}\nCritique: {CRITIQUE}\nCorrect the sentence.", "unparsed"),
        (CRITIQUE, "unparsed"),
        ("The sentence is wrong about the year.", "unparsed"),
        (f"{NEW}\n\nIt is long.\n\nIt is high.", "unparsed"),
        (f'{{"sentence": "{NEW}"}}', "unparsed"),
        ("User: and now?", "unparsed"),
        (f"{NEW} " + "It is a fine bridge indeed. " * 12, "unparsed"),
    ],
)
def test_talk_does_not_replace_a_sentence(text, reason):
    with pytest.raises(VerdictError) as caught:
        rewritten_sentence(Reply(text), OLD, CRITIQUE)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "old, new",
    [
        ("Okay, the band, was formed in Velm.", "Okay, the band, was formed in Marn."),
        ("- He was born in Velm.", "- He was born in Marn."),
        ('"Zor" was his first song.', '"Mor" was his first song.'),
        ("He served a sentence of two years.", "He served a sentence of ten years."),
        ("Here are his books: Zor and Mor.", "Here are his books: Zor and Vell."),
        ("He was a baker.", "I am not sure what he was."),
        ("He was a baker.", "I cannot say what he was."),
        ("他出生在北京。", "他出生在上海。"),
    ],
)
def test_what_a_sentence_may_say(old, new):
    assert rewritten_sentence(Reply(new), old, "It is otherwise.") == new


BEFORE = "Lena Ort was born in Torin. She built bridges.\n\nShe moved to Zor in 1925."
PROMPT = "Tell me about the life of Lena Ort."


@pytest.mark.parametrize(
    "text, kept",
    [
        (" She died there.", " She died there."),
        ("\nShe built two more bridges.", "\nShe built two more bridges."),
        (f"{BEFORE} She died there.", " She died there."),
        ("She moved to Zor in 1925. She died there.", " She died there."),
        ("She was born to be a builder.", "She was born to be a builder."),
    ],
)
def test_a_beginning_that_comes_back_is_taken_off(text, kept):
    assert continued_text(Reply(text), BEFORE, PROMPT) == kept


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "empty"),
        (BEFORE, "empty"),
        (PROMPT, "unparsed"),
        ("Sure! Lena Ort was an engineer.", "unparsed"),
        ("Lena Ort was born in Torin in 1901. She built bridges.", "unparsed"),
        ("She died there.\nUser: thanks\nAssistant: you are welcome", "unparsed"),
        ("I'm an AI assistant. How can I help?", "unparsed"),
        ("I'm sorry, but I can't assist with that.", "refused"),
    ],
)
def test_a_new_turn_is_no_continuation(text, reason):
    for read in (continued_text, next_sentence):
        with pytest.raises(VerdictError) as caught:
            read(Reply(text), BEFORE, PROMPT)
        assert caught.value.reason == reason


def test_a_guess_is_whole_where_its_first_sentence_is():
    assert next_sentence(Reply("She died there. She was old and", False), BEFORE) == "She died there."
    for cut in (Reply("She died there", False), Reply("", False, thought="Hm")):
        with pytest.raises(VerdictError, match="cut"):
            next_sentence(cut, BEFORE)


def test_a_candidate_is_any_answer_but_none():
    assert candidate_text(Reply("I do not know.\n"), PROMPT) == "I do not know."
    assert candidate_text(Reply("Sure! She built bridges."), PROMPT) == "Sure! She built bridges."
    for reply, reason in [
        (Reply(""), "empty"),
        (Reply(PROMPT), "unparsed"),
        (Reply("She built", False), "cut"),
        (Reply("", False, "down"), "failed"),
        (Reply("No.", refused=True), "refused"),
    ]:
        with pytest.raises(VerdictError) as caught:
            candidate_text(reply, PROMPT)
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    "sentence, reply, new",
    [
        ("- The bridge was opened in 1911.", NEW, f"- {NEW}"),
        ("2) The bridge was opened in 1911.", NEW, f"2) {NEW}"),
        ("> The bridge was opened in 1911.", NEW, f"> {NEW}"),
        ("- The bridge was opened in 1911.", f"* {NEW}", f"* {NEW}"),
        ("| Bridge | 1911 |", "| Bridge | 1913 |", "| Bridge | 1913 |"),
        (f"**Opening.** {OLD}", NEW, f"**Opening.** {NEW}"),
        ("- **Opened:** 1911 in Velm", "Opened: 1913 in Velm", "- Opened: 1913 in Velm"),
        (OLD, f"Revised: {NEW}", NEW),
        (OLD, f"{NEW} I changed the year.", NEW),
    ],
)
def test_an_item_stays_an_item_and_a_report_is_no_text(sentence, reply, new):
    assert rewritten_sentence(Reply(reply), sentence, CRITIQUE) == new


@pytest.mark.parametrize(
    "sentence, reply",
    [
        ("| Bridge | 1911 |", NEW),
        ("| Bridge | 1911 |", "Bridge | 1913"),
        (OLD, "none"),
        (OLD, "No change needed."),
        (OLD, "Label: Supported"),
        (OLD, "The bridge was opened in ~~1911~~ 1913."),
        (OLD, "The bridge was opened in 1911 -> 1913."),
    ],
)
def test_what_is_no_sentence_takes_no_place(sentence, reply):
    with pytest.raises(VerdictError):
        rewritten_sentence(Reply(reply), sentence, CRITIQUE)


@pytest.mark.parametrize(
    "before, reply, rest",
    [
        ("桥于1911年开放。它很长。\n", "桥于1911年开放。它很长。\n它通向城市。", "它通向城市。"),
        ("पुल 1911 में खुला। वह लंबा है।\n", "पुल 1911 में खुला। वह लंबा है। वह नदी पर है।", "वह नदी पर है।"),
        (f"{OLD}\n", f"**{OLD}**\n\nIt is long.", "It is long."),
    ],
)
def test_an_echo_in_any_script_is_taken_off(before, reply, rest):
    assert continued_text(Reply(reply), before) == rest


@pytest.mark.parametrize(
    "reply",
    [
        "It looks like your text was cut off.",
        "Continuing where I stopped:\n\nIt is long.",
        "What would you like to know?",
    ],
)
def test_chat_about_the_text_is_no_continuation(reply):
    with pytest.raises(VerdictError):
        continued_text(Reply(reply), f"{OLD}\n")


@pytest.mark.parametrize("text", ["User: and now?", f"{NEW}\n\nUser: And who built it?\nAssistant: Ada Vell."])
def test_turns_of_its_own_are_no_answer_to_train_on(text):
    with pytest.raises(VerdictError):
        candidate_text(Reply(text), "When was it opened?")
    assert candidate_text(Reply(text), "Go on:\nUser: hello") == text
