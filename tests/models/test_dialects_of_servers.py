"Doubles of servers that speak chat completions each in a way of its own."

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fence_nb.core.calls import CallError, Calls
from fence_nb.core.records import InputError
from fence_nb.judging.prompts import KNOWLEDGE, LABEL, VERDICT
from fence_nb.models.abilities import BEGUN
from fence_nb.models.dialects import (
    ModelRequest,
    check_answer,
    is_too_long,
    parse_answer,
    read_choice,
    room_left,
    token_places,
    weigh_options,
)
from fence_nb.models.endpoint import EndpointLM, key_header, read_address

WORDS = [" Supported", " Contradictory", " Unverified"]


def ask(text: str, *begun: str) -> list[dict]:
    return [{"role": "user", "content": text}, *({"role": "assistant", "content": part} for part in begun)]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        pass

    def do_GET(self) -> None:
        self.send(404, {"error": {"message": "not found"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append((self.path, body, dict(self.headers)))
        self.send(*self.server.answer(body))

    def send(self, status: int, answer: dict | bytes) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server():
    "Starts a server that answers by a function of the body."
    running = []

    def start(answer) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.answer, server.asked, server.lock = answer, [], threading.Lock()
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def opened(server, path: str = "/v1") -> EndpointLM:
    return EndpointLM(server.url + path, "org/tiny", calls=Calls(backoff=0.01, retries=2))


def said(text, finish: str = "stop", **more) -> tuple[int, dict]:
    message = text if isinstance(text, dict) else {"content": text}
    return 200, {"choices": [{"message": message, "finish_reason": finish, **more}]}


def refused(words: str, **more) -> tuple[int, dict]:
    return 400, {"error": {"message": words, **more}}


def last(body: dict) -> str:
    return body["messages"][-1]["content"]


# What comes back


@pytest.mark.parametrize(
    "message, text, thought, reason",
    [
        ({"content": "In Torin."}, "In Torin.", "", ""),
        ({"content": "In Torin.", "reasoning_content": "Marn?"}, "In Torin.", "Marn?", ""),
        ({"content": "In Torin.", "reasoning": "Marn?"}, "In Torin.", "Marn?", ""),
        (
            {"content": [{"type": "text", "text": "In "}, {"type": "output_text", "text": "Torin."}]},
            "In Torin.",
            "",
            "",
        ),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Marn?"}]}, "Torin."]},
            "Torin.",
            "Marn?",
            "",
        ),
        ({"content": None, "refusal": "I cannot."}, "I cannot.", "", "refused"),
        ({"content": [{"type": "refusal", "refusal": "I cannot."}]}, "I cannot.", "", "refused"),
        ({"content": None, "reasoning_content": "Marn? Torin?"}, "", "Marn? Torin?", "cut"),
        ({"content": None}, "", "", ""),
        ("Torin.", "Torin.", "", ""),
        (
            {"content": "<scratchpad>Marn?</scratchpad><answer>\nTorin.\n</answer>"},
            "Torin.",
            "<scratchpad>Marn?</scratchpad>",
            "",
        ),
    ],
)
def test_messages(message, text, thought, reason):
    reply = read_choice({"message": message, "finish_reason": "stop"}, ModelRequest(ask("Where?")))
    assert (reply.text, reply.thought, reply.reason) == (text, thought, reason)


@pytest.mark.parametrize(
    "finish, reason",
    [
        *[("length", "cut"), ("max_tokens", "cut"), ("content_filter", "refused"), ("stop", ""), (None, "")],
        *[("RECITATION", "refused"), ("BLOCKLIST", "refused"), ("eos_token", ""), ("end_turn", "")],
    ],
)
def test_how_replies_end(finish, reason):
    request = ModelRequest(ask("Where?"))
    assert read_choice({"message": {"content": "In"}, "finish_reason": finish}, request).reason == reason


@pytest.mark.parametrize(
    "answer, reason",
    [
        ({"error": {"code": "429", "message": "m"}}, "status 429"),
        ({"error": {"type": "overloaded_error", "message": "m"}}, "status 503"),
        ({"error": "rate limit reached"}, "status 503"),
        ({"error": {"code": 401, "message": "m"}, "choices": None}, "status 401"),
        ({"error": {"code": "model_gone", "message": "m"}}, "status 400"),
        ({"choices": [{"error": {"code": 502, "message": "m"}, "message": {"content": ""}}]}, "status 502"),
        ({"choices": None}, "wrong schema"),
        ({"choices": []}, "wrong schema"),
        ({"choices": [{"message": None}]}, "wrong schema"),
        (["choices"], "wrong schema"),
        ({"detail": "rate limited", "code": 429}, "status 429"),
        ({"code": 1302, "msg": "too many requests"}, "status 503"),
        ({"choices": [{"message": {"content": "Ada wa"}, "finish_reason": "abort"}]}, "broken"),
    ],
)
def test_errors_inside_answers(answer, reason):
    with pytest.raises(CallError) as e:
        check_answer(answer, "/chat/completions", "tiny")
    assert e.value.reason == reason


def test_streams():
    pieces = [{"delta": {"role": "assistant"}}, {"delta": {"reasoning_content": "Marn?"}}, {"delta": {"content": "In"}}]
    pieces.append({"delta": {"content": " Torin."}, "finish_reason": "length"})
    events = "".join(f"event: x\ndata: {json.dumps({'choices': [piece]})}\n\n" for piece in pieces)
    choice = parse_answer((": a comment\n\n" + events + "data: [DONE]\n").encode())["choices"][0]
    reply = read_choice(choice, ModelRequest(ask("Where?")))
    assert (reply.text, reply.thought, reply.reason) == ("In Torin.", "Marn?", "cut")
    assert parse_answer(b'data: {"error": {"code": 503}}\n')["error"]["code"] == 503
    parts = [{"delta": {"content": [{"type": "text", "text": word}]}} for word in ("In", " Torin.")]
    events = "".join(f"data: {json.dumps({'choices': [piece]})}\n\n" for piece in parts)
    choice = parse_answer((events + "data: [DONE]\n").encode())["choices"][0]
    assert read_choice(choice, ModelRequest(ask("Where?"))).text == "In Torin."
    broken = json.dumps({"choices": [{"delta": {"content": "In"}}]})
    for data in (f"data: {broken}\n\n".encode(), b"data: {\n", b"<html>"):
        with pytest.raises(ValueError):
            parse_answer(data)


@pytest.mark.parametrize(
    "words, room",
    [
        ("maximum context length is 4096 tokens, however you requested 5000 tokens (1000 in the messages)", 3096),
        ('{"type":"exceed_context_size_error","n_prompt_tokens":5031,"n_ctx":2048}', 0),
        ("prompt is too long: 210000 tokens > 200000 maximum", 0),
        ("`inputs` tokens + `max_new_tokens` must be <= 2048. Given: 512 `inputs` tokens", 1536),
        ("maximum context length is 8192 tokens, you requested 8692 (500 of text input, 8192 in the output)", 7692),
        ("The input token count (1200000) exceeds the maximum number of tokens allowed", 0),
    ],
)
def test_questions_beyond_the_context(words, room):
    refusal = CallError("tiny", "status 400", words)
    assert is_too_long(refusal) and room_left(refusal) == room
    assert not is_too_long(CallError("tiny", "status 400", "unknown field"))


# Whole servers


def test_ollama(server):
    "Takes everything, gives one reply, no log-probabilities, and begins a new turn."
    lm = opened(server(lambda body: said("Hello! How can I help?", logprobs=None)))
    assert (lm.abilities.most_samples, lm.has_logprobs, lm.abilities.continuation) == (1, False, "ask")
    assert lm.abilities.constraints == ()
    with pytest.raises(InputError, match="no log-probabilities.*--no-probs"):
        lm.label_logprobs([ask("Judge.")], WORDS)


def test_lm_studio(server):
    "Holds to a schema only, with line breaks in it; a begun reply cannot be held to one."

    def answer(body: dict) -> tuple:
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        if not schema:
            return said("Hello.")
        if last(body).startswith("Judge"):
            return said('{\n\n "critique"\n:\n "So it says.", "label": "Supported"}')
        if body["messages"][-1]["role"] == "assistant":
            return refused("prefill with a schema")
        name, value = next(iter(schema["properties"].items()))
        return said(json.dumps({name: value["enum"][0]}, indent=8))

    lm = opened(server(answer))
    assert lm.abilities.constraints == ("response_format",)
    assert lm.generate([ask("Judge.")], form=VERDICT)[0][0].text == "So it says.\nLabel: Supported"
    assert lm.generate([ask("Judge.", "So it says.\nLabel:")], form=LABEL)[0][0].text == "Supported"


@pytest.mark.parametrize("repeats", [False, True])
def test_a_server_that_goes_on(server, repeats):
    def answer(body: dict) -> tuple:
        if body["messages"][-1]["role"] != "assistant":
            return said("Hello.")
        begun = last(body)
        new = " hedge, fence" if begun == BEGUN[-1]["content"] else " In Torin."
        return said(begun * repeats + new)

    lm = opened(server(answer))
    assert (lm.abilities.continuation, lm.abilities.repeats) == ("field", repeats)
    assert lm.generate([ask("Where?", "She was born.")])[0][0].text == " In Torin."


def test_a_reasoning_model_takes_few_fields(server, caplog):
    "max_completion_tokens, no temperature but its own, no seed: each is learnt once, and samples differ all the same."
    numbers = iter(range(10_000))

    def answer(body: dict) -> tuple:
        if "max_tokens" in body:
            return refused("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", param="max_tokens")
        if body.get("temperature", 1) != 1:
            return refused("'temperature' does not support 0 with this model", param="temperature")
        if {"seed", "n", "logprobs"} & set(body):
            name = min({"seed", "n", "logprobs"} & set(body))
            return refused(f"Unsupported parameter: '{name}'", param=name)
        return said({"content": f"It is {next(numbers)}.", "reasoning_content": "Hm."})

    lm = opened(server(answer))
    assert lm.generate([ask("Where?")])[0][0].text.startswith("It is")
    samples = lm.generate([ask("Where?")], n=3, temperature=1.0)[0]
    assert len({reply.text for reply in samples}) == 3 and samples[0].thought == "Hm."
    assert (lm.dialect.token_limit, lm.dialect.seed) == ("max_completion_tokens", False)
    assert caplog.text.count("takes no temperature") == 1


def test_a_gateway_that_is_busy_inside(server):
    seen = []

    def answer(body: dict) -> tuple:
        if last(body) == "Where?":
            seen.append(1)
            if len(seen) < 3:
                return 200, {"choices": [], "error": {"code": 429, "message": "later"}}
        return said("In Torin.")

    assert opened(server(answer)).generate([ask("Where?")])[0][0].text == "In Torin."


def test_a_server_that_always_streams(server):
    def answer(body: dict) -> tuple:
        return 200, b'data: {"choices": [{"delta": {"content": "In Torin."}}]}\n\ndata: [DONE]\n\n'

    started = server(answer)
    assert opened(started).generate([ask("Where?")])[0][0].text == "In Torin."
    assert all(body["stream"] is False for _, body, _ in started.asked)


def found(lm: EndpointLM, ability: str) -> str:
    return next(row["found"] for row in lm.describe() if row["ability"] == ability)


@pytest.mark.parametrize(
    "sample, effect, words",
    [
        (lambda seed, number: f"{seed}", "kept", "one seed gives one text"),
        (lambda seed, number: f"{number}", "ignored", "cannot be drawn again"),
        (lambda seed, number: "7", "none", "samples do not differ"),
        (lambda seed, number: "", "", "not seen"),
    ],
)
def test_what_a_seed_does(server, tmp_path, sample, effect, words):
    numbers = iter(range(10_000))
    started = server(lambda body: said(sample(body["seed"], next(numbers))))
    lm = EndpointLM(started.url, "org/tiny", calls=Calls(tmp_path / "c.db"))
    assert lm.abilities.seed == effect and words in found(lm, "seed")
    again = EndpointLM(started.url, "org/tiny", calls=Calls(tmp_path / "c.db", replay=True))
    assert again.abilities.seed == effect  # the recording holds equal questions apart


@pytest.mark.parametrize("slots, answered, peak", [(8, "yes", 6), (1, "no", 1)])
def test_requests_at_once(server, slots, answered, peak):
    "A server that refuses what it cannot work on is asked one by one."
    working, most, lock = [], [], threading.Lock()

    def answer(body: dict) -> tuple:
        with lock:
            if len(working) == slots:
                return 400, {"error": {"message": "one at a time"}}
            working.append(1)
            most.append(len(working))
        threading.Event().wait(0.05)
        with lock:
            working.pop()
        return said("In Torin.")

    lm = opened(server(answer))
    assert lm.abilities.at_once == answered and found(lm, "requests at once")
    most.clear()
    assert all(replies[0].text for replies in lm.generate([ask(str(k)) for k in range(6)]))
    assert max(most) == peak


def test_a_server_with_a_queue(server):
    turn = threading.Lock()

    def answer(body: dict) -> tuple:
        with turn:
            threading.Event().wait(0.4 if last(body).startswith("Write ten") else 0)
        return said("In Torin.")

    lm = opened(server(answer))
    assert lm.abilities.at_once == "slow" and "no faster" in found(lm, "requests at once")


@pytest.mark.parametrize("always", [False, True])
def test_a_gateway_that_sends_headers_back(server, monkeypatch, tmp_path, always):
    "The key is in no file and in no reply: the question has failed, and the others go on."
    monkeypatch.setenv("OPENAI_API_KEY", "sk-echo-4711-0815")

    def answer(body: dict) -> tuple:
        status, reply = said("In Torin.")
        if always or last(body) == "Where?":
            reply["received"] = dict(started.asked[-1][2])
        return status, reply

    started = server(answer)
    calls = Calls(tmp_path / "c.db", backoff=0.01)
    if always:
        with pytest.raises(InputError, match="the answer holds your key, so nothing of it is kept") as e:
            EndpointLM(started.url + "/v1", "org/tiny", calls=calls)
        assert "4711" not in str(e.value) and "\n" not in str(e.value)
    else:
        lm = EndpointLM(started.url + "/v1", "org/tiny", calls=calls)
        echoed, whole = lm.generate([ask("Where?"), ask("When?")])
        assert echoed[0].reason == "failed" and "holds your key" in echoed[0].problem and whole[0].text == "In Torin."
    assert not any(b"4711" in file.read_bytes() for file in tmp_path.iterdir())


def way_of(body: dict) -> str:
    "How a request tells the form."
    if "response_format" in body:
        return body["response_format"]["type"]
    return next((name for name in ("structured_outputs", "guided_regex", "grammar") if name in body), "")


WAYS = ["structured_outputs", "guided_regex", "grammar", "json_schema", "json_object"]


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("refusals", range(5))
def test_the_next_way_to_tell_a_form(server, status, refusals):
    "A form that is refused in one way is told in the next, and what was refused is not tried again."
    ways = WAYS[:4]

    def answer(body: dict) -> tuple:
        way = way_of(body)
        if last(body) == "Say hello.":
            return said("Hello." if way not in ways else '{"word": "fence"}' if "json" in way else "fence")
        if way in ways[:refusals]:
            return status, {"error": {"message": f"cannot compile this grammar of {way}"}}
        return said('{"critique": "So.", "label": "Supported"}' if "json" in way else "So.\nLabel: Supported")

    started = server(answer)
    lm = EndpointLM(started.url + "/v1", "org/tiny", calls=Calls(backoff=0.001, retries=1))
    assert lm.abilities.constraints == ("structured_outputs", "guided_regex", "grammar", "response_format")
    before = len(started.asked)
    for question in ("Judge.", "Judge it."):
        assert lm.generate([ask(question)], form=VERDICT)[0][0].text == "So.\nLabel: Supported"
    asked = [way_of(body) for _, body, _ in started.asked[before:]]
    tries = [way for way in ways[:refusals] for _ in range(2 if status == 500 else 1)]
    assert asked == [*tries, *[(ways + [""])[refusals]] * 2]


def test_what_no_form_can_mend_is_a_failure(server):
    "A question that is refused without a form, too, says nothing about forms."

    def answer(body: dict) -> tuple:
        if last(body) == "Judge.":
            return refused("no such question")
        return said("Hello." if way_of(body) != "guided_regex" else "fence")

    started = server(answer)
    lm = opened(started)
    assert "no such question" in lm.generate([ask("Judge.")], form=VERDICT)[0][0].error
    before = len(started.asked)
    lm.generate([ask("Judge it.")], form=VERDICT)
    assert [way_of(body) for _, body, _ in started.asked[before:]] == ["guided_regex"]


def test_a_schema_in_the_older_way(server):
    def answer(body: dict) -> tuple:
        if way_of(body) != "json_object":
            return refused("response_format: json_schema is unknown") if "response_format" in body else said("Hello.")
        name, value = next(iter(body["response_format"]["schema"]["properties"].items()))
        return said(json.dumps({name: value.get("enum", ["So."])[0], "label": "Supported"}))

    lm = opened(server(answer))
    assert lm.abilities.constraints == ("json_object",)
    assert lm.generate([ask("Judge.")], form=LABEL)[0][0].text == "Supported"


# Words of several tokens

TOKENS = {  # a beginning of a reply -> what the model thinks comes next
    "": {" Un": 0.5, " Sup": 0.3, " Contr": 0.199, "\n": 0.001},
    " Un": {"clear": 0.7, "ver": 0.2, "known": 0.1},
    " Unver": {"ified": 1.0},
    " Sup": {"ported": 0.9, "pose": 0.1},
    " Contr": {"ad": 0.6, "ary": 0.4},
    " Contrad": {"ictory": 1.0},
}


def token_server(body: dict, keep: int = 20, new_turns: bool = False) -> tuple:
    "A model with tokens of its own, which goes on with what was begun."
    begun = last(body)
    if body["messages"][-1]["role"] != "assistant" or new_turns:
        begun = "Label:" if body.get("logprobs") else ""
    if begun == BEGUN[-1]["content"]:
        begun = "Label:" if body.get("logprobs") else begun
        if not body.get("logprobs"):
            return said(" hedge, fence")
    if not begun or not body.get("logprobs"):
        return said("Hello.")
    written, places = begun.removeprefix("Label:"), []
    for _ in range(body["max_tokens"]):
        table = {token: math.log(p) for token, p in list(TOKENS.get(written, {"<end>": 1.0}).items())[:keep]}
        token = max(table, key=table.get)
        top = [{"token": t, "logprob": p} for t, p in table.items()]
        places.append({"token": token, "logprob": table[token], "top_logprobs": top})
        written += token
    return said("x", logprobs={"content": places})


def weighed(lm: EndpointLM) -> dict[str, float]:
    weights = lm.label_logprobs([ask("Judge.", "Label:")], WORDS)[0]
    return {word.strip(): round(math.exp(weight), 3) for word, weight in weights.items()}


def test_a_word_of_several_tokens_is_weighed_whole(server):
    "Unverified has the likeliest first token, and Supported is the likeliest word."
    started = server(token_server)
    lm = opened(started)
    assert lm.abilities.continuation == "field" and lm.abilities.top_logprobs == 20
    before = len(started.asked)
    assert weighed(lm) == {"Supported": 0.27, "Unverified": 0.1, "Contradictory": 0.119}
    assert len(started.asked) - before == 4  # one for all, one for the rest of each word


def test_only_the_beginning_where_nobody_goes_on(server):
    lm = opened(server(lambda body: token_server(body, new_turns=True)))
    assert lm.abilities.continuation == "ask"
    assert weighed(lm) == {"Supported": 0.3, "Unverified": 0.1, "Contradictory": 0.199}


def test_a_word_far_behind_is_not_asked_for(server, monkeypatch):
    monkeypatch.setitem(TOKENS, "", {" Sup": 0.9999, " Un": 0.00005, " Contr": 0.00005})
    started = server(token_server)
    lm = opened(started)
    lm.describe()
    before = len(started.asked)
    assert weighed(lm)["Supported"] == 0.9 and len(started.asked) - before == 1


def test_azure(server, monkeypatch):
    "The version in the query, the whole path pasted, the key in a header of its own."
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key-123456")
    started = server(lambda body: said("In Torin."))
    lm = opened(started, "/openai/deployments/gpt/chat/completions?api-version=2024-10-21")
    assert lm.generate([ask("Where?")])[0][0].text == "In Torin."
    for path, _, headers in started.asked:
        assert path == "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
        names = {name.lower(): value for name, value in headers.items()}
        assert names["api-key"] == "azure-key-123456" and "authorization" not in names


@pytest.mark.parametrize(
    "url, base, params, secret",
    [
        ("http://h:1/v1/", "http://h:1/v1", {}, {}),
        ("http://h:1/v1/chat/completions", "http://h:1/v1", {}, {}),
        ("http://h/v1?api-version=1&key=abc", "http://h/v1", {"api-version": "1"}, {"key": "abc"}),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1", {}, {}),
    ],
)
def test_addresses(url, base, params, secret):
    address = read_address(url)
    assert (address.base, address.params, address.secret_params) == (base, params, secret)


def test_headers_of_keys():
    keys = {"OPENAI_API_KEY": "one-key-12345", "FENCE_API_HEADER": "x-gateway-key"}
    assert key_header(read_address("http://h/v1"), "OPENAI_API_KEY", keys) == {"x-gateway-key": "one-key-12345"}
    del keys["FENCE_API_HEADER"]
    assert key_header(read_address("http://h/v1"), "OPENAI_API_KEY", keys) == {"Authorization": "Bearer one-key-12345"}
    assert key_header(read_address("http://h/v1"), "OPENAI_API_KEY", {}) == {}


def first_weights(**likeliest: float) -> dict[str, float]:
    top = [{"token": token, "logprob": logprob} for token, logprob in likeliest.items()]
    places = token_places({"logprobs": {"content": [{"top_logprobs": top}]}})
    return {weight.option: weight.logprob for weight in weigh_options(WORDS, places)}


def test_a_label_is_weighed_only_by_tokens_that_tell_it():
    alone = first_weights(Sup=-0.1)
    assert alone[" Supported"] == -0.1 and alone[" Unverified"] == alone[" Contradictory"] < -2
    assert first_weights(**{"<think>": -0.1, "U": -4.0}) == {}
    assert first_weights(**{"▁Supported": -0.1, "ĠUn": -3.0, "ĠContr": 9.9}) == {
        " Supported": -0.1,
        " Unverified": -3.0,
        " Contradictory": -3.0,
    }


def test_a_begun_reply_that_is_repeated_without_its_line_break():
    begun = ask("Where?", "Torin lies on the coast.\n")
    choice = {"message": {"content": "Torin lies on the coast. Ships land there."}, "finish_reason": "stop"}
    assert read_choice(choice, ModelRequest(begun)).text == "Ships land there."


def test_an_object_without_what_the_form_wants_stays_as_it_came():
    request = ModelRequest(ask("True?"), form=KNOWLEDGE, form_field="response_format")
    choice = {"message": {"content": '{"answer": null}'}, "finish_reason": "stop"}
    assert read_choice(choice, request).text == '{"answer": null}'


def test_a_new_turn_that_takes_up_the_last_sentence_again():
    begun = ask("Where?", "Torin lies on the coast. Its harbour is old and deep.")
    choice = {"message": {"content": "Its harbour is old and deep. Ships land there."}, "finish_reason": "stop"}
    assert read_choice(choice, ModelRequest(begun, continuation="ask")).text == " Ships land there."


def test_a_reply_may_have_no_more_tokens_than_the_server_writes():
    refusal = CallError("m", "status 400", "max_tokens is too large: 9000. It supports at most 4096 completion tokens")
    assert room_left(refusal) == 4096 and not is_too_long(refusal)
