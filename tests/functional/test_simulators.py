"""The simulated providers over real sockets: healthy answers, and every fault as a client sees it."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.simulators import FAULTS, SimulatedProvider
from tests.simulated import CREDENTIALS, FILLED, PATHS, SCHEMA, USER, Client, before_silence, drained, events, started

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=PATHS)
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    yield from started(request.param)


@pytest.fixture
def openai() -> Iterator[Client]:
    yield from started("openai")


@pytest.fixture
def anthropic() -> Iterator[Client]:
    yield from started("anthropic")


def test_answer_is_labelled_deterministic_and_streams_alike(client: Client) -> None:
    """The same request gives the same bytes, labelled as simulated, and a stream says the same."""
    first = client.post()
    expected = client.says("count to 8 1 2 3 4 5 6 7 8")
    assert (200, "true", expected) == (first.status_code, first.headers["x-simulated"], client.text(first))
    assert first.content == client.post().content
    assert (expected, [client.pick("stop", "end_turn")]) == client.streamed(client.stream())


def test_openai_stream_has_the_real_order_of_chunks(openai: Client) -> None:
    """Role first, finish reason in the last choice chunk, usage only when asked for, then [DONE]."""
    received = openai.stream(stream_options={"include_usage": True}, max_tokens=2)
    deltas = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{"content": "[simulated "}, {"content": "openai "}, {}]
    choices = [one["choices"][0] for one in received[:4]]
    assert (deltas, "length") == ([one["delta"] for one in choices], choices[-1]["finish_reason"])
    assert ([], 5) == (received[4]["choices"], received[4]["usage"]["total_tokens"])
    assert [{"done": True}] == received[5:]
    assert [] == [one for one in openai.stream() if "usage" in one]


def test_anthropic_stream_has_the_real_order_of_events(anthropic: Client) -> None:
    """Named events in the documented order, each name repeated in its data."""
    text = anthropic.post(stream=True, max_tokens=2).text
    expected = "message_start content_block_start ping content_block_delta content_block_delta "
    expected += "content_block_stop message_delta message_stop"
    assert expected == " ".join(line[7:] for line in text.splitlines() if line.startswith("event: "))
    assert expected == " ".join(one["type"] for one in events(text))
    assert ("[simulated anthropic ", ["max_tokens"]) == anthropic.streamed(events(text))


def test_connection_is_kept_alive_and_chunked_bodies_are_read(client: Client) -> None:
    """Whole and streamed answers, to whole and chunked requests, follow one another on one connection."""
    connection = http.client.HTTPConnection(*client.address, timeout=5)
    seen = set()
    for stream in (False, True, False):
        body = json.dumps(client.body(stream=stream)).encode()
        connection.request("POST", client.path, body, client.headers)
        connection.getresponse().read()
        connection.request("POST", client.path, iter([body[:9], body[9:]]), client.headers, encode_chunked=True)
        response = connection.getresponse()
        seen.add((response.status, b"[simulated " in response.read(), connection.sock.getsockname()[1]))
    assert [(200, True)] == [one[:2] for one in seen]
    connection.close()


def test_base_url_and_models_are_the_wires_own(client: Client) -> None:
    """OpenAI clients add to a base that ends in /v1, Anthropic clients bring /v1 along."""
    assert f"http://127.0.0.1:{client.provider.port}{client.pick('/v1', '')}" == client.provider.base_url
    url = client.provider.base_url + client.pick("/models", "/v1/models")
    listed = client.http.get(url, headers=client.headers).json()["data"]
    assert ["simulated-large", "simulated-small"] == [one["id"] for one in listed]


def test_stop_sequence_ends_the_answer(client: Client) -> None:
    """The answer ends before the stop sequence, and the stop reason is the provider's."""
    key = client.pick("stop", "stop_sequences")
    expected = (client.says("count to 8 1 2 3"), [client.pick("stop", "stop_sequence")])
    assert expected == client.streamed(client.stream(**{key: [" 4"]}))


def test_openai_n_gives_identical_choices(openai: Client) -> None:
    """n choices, each with the whole answer."""
    choices = openai.post(text="hi", n=2).json()["choices"]
    expected = [(0, openai.says("hi")), (1, openai.says("hi"))]
    assert expected == [(one["index"], one["message"]["content"]) for one in choices]


def test_openai_tells_how_probable_each_token_is(openai: Client) -> None:
    """Where it is asked for that, whole and streamed; always the same of one model, and other figures of another."""
    asked = {"logprobs": True, "top_logprobs": 2}
    content = openai.post(**asked).json()["choices"][0]["logprobs"]["content"]
    assert "".join(one["token"] for one in content) == openai.says("count to 8 1 2 3 4 5 6 7 8")
    assert {2} == {len(one["top_logprobs"]) for one in content}
    chunks = [one["choices"][0] for one in openai.stream(**asked) if one.get("choices")]
    assert content == [token for one in chunks if one["logprobs"] for token in one["logprobs"]["content"]]
    assert None is openai.post().json()["choices"][0]["logprobs"]
    openai.provider.set_fault("m", "swapped")
    other = openai.post(**asked).json()["choices"][0]["logprobs"]["content"]
    assert not {one["logprob"] for one in content} & {one["logprob"] for one in other}


def test_images_are_counted(client: Client) -> None:
    """Image parts are accepted and their number is in the answer."""
    source = {"type": "base64", "media_type": "image/png", "data": "AA=="}
    openai_part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    image = client.pick(openai_part, {"type": "image", "source": source})
    messages = [{"role": "user", "content": [{"type": "text", "text": "look"}, image, image]}]
    assert client.says("look (with 2 images)") == client.text(client.post(messages=messages))


def test_json_schema_is_filled(client: Client) -> None:
    """Structured output is an object with every required property of the schema."""
    openai_way = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}
    anthropic_way = {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    asked = client.pick(openai_way, anthropic_way)
    assert FILLED == json.loads(client.text(client.post(**asked)))
    assert FILLED == json.loads(client.streamed(client.stream(**asked))[0])


def test_openai_tool_call_and_its_result(openai: Client) -> None:
    """A mentioned tool is called, its arguments stream in pieces, and its result is quoted afterwards."""
    asked = {"text": "use forecast please", "tools": openai.tools()}
    choice = openai.post(**asked).json()["choices"][0]
    call = choice["message"]["tool_calls"][0]
    arguments = call["function"]["arguments"]
    assert ("tool_calls", FILLED) == (choice["finish_reason"], json.loads(arguments))
    deltas = [one["choices"][0]["delta"] for one in openai.stream(**asked) if "choices" in one]
    parts = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    pieces = [part["function"]["arguments"] for part in parts[1:]]
    assert (call["id"], arguments, True) == (parts[0]["id"], "".join(pieces), len(pieces) >= 3)
    result = {"role": "tool", "tool_call_id": call["id"], "content": "sunny"}
    answered = openai.post(tools=openai.tools(), messages=[USER, choice["message"], result])
    assert "[simulated openai provider, model m] The tool answered: sunny" == openai.text(answered)


def test_anthropic_tool_use_and_its_result(anthropic: Client) -> None:
    """A mentioned tool is used, its input streams in pieces, and its result is quoted afterwards."""
    asked = {"text": "use forecast please", "tools": anthropic.tools()}
    message = anthropic.post(**asked).json()
    use = message["content"][0]
    assert ("tool_use", "tool_use", FILLED) == (message["stop_reason"], use["type"], use["input"])
    received = [one for one in anthropic.stream(**asked) if one["type"] == "content_block_delta"]
    pieces = [one["delta"]["partial_json"] for one in received]
    assert (FILLED, True) == (json.loads("".join(pieces)), len(pieces) >= 3)
    result = {"type": "tool_result", "tool_use_id": use["id"], "content": "sunny"}
    messages = [USER, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    answered = anthropic.post(tools=anthropic.tools(), messages=messages)
    assert "[simulated anthropic provider, model m] The tool answered: sunny" == anthropic.text(answered)


def test_tool_choice_is_honoured(client: Client) -> None:
    """A tool that nobody mentions is called only when the choice demands it, a mentioned one if it may be."""
    named = client.pick({"type": "function", "function": {"name": "forecast"}}, {"type": "tool", "name": "forecast"})
    needed = client.pick("required", {"type": "any"})
    never = client.pick("none", {"type": "none"})
    asks = [("hello", named), ("hello", needed), ("hello", None), ("forecast", never)]
    texts = [client.post(text=text, tools=client.tools(), tool_choice=choice).text for text, choice in asks]
    assert [True, True, False, False] == ["simulated city" in text for text in texts]


def test_answer_begun_by_another_model_is_continued(anthropic: Client) -> None:
    """A final assistant message is continued, not repeated, also when another simulated model began it."""
    began = "[simulated openai provider, model other] You said: count to 8 1 2"
    response = anthropic.post(messages=[USER, {"role": "assistant", "content": began}])
    assert " 3 4 5 6 7 8" == anthropic.text(response)


OPENAI_REFUSALS: list[tuple[dict[str, Any], str, str | None, str | None]] = [
    ({"foo": 1}, "Unrecognized request argument supplied: foo", None, None),
    ({"model": None}, "you must provide a model parameter", None, None),
    ({"max_tokens": "5"}, "Invalid type for 'max_tokens': expected an integer", "max_tokens", "invalid_type"),
    ({"messages": []}, "Invalid 'messages': empty array.", "messages", "empty_array"),
    ({"temperature": 3}, "Invalid 'temperature': decimal above", "temperature", "decimal_above_max_value"),
    ({"stream_options": {}}, "The 'stream_options' parameter is only allowed", "stream_options", None),
]


@pytest.mark.parametrize(("more", "begins", "param", "code"), OPENAI_REFUSALS)
def test_openai_refuses_in_its_own_words(openai: Client, more: Any, begins: str, param: Any, code: Any) -> None:
    """A request that the real API refuses gets HTTP 400 in OpenAI's error shape."""
    response = openai.post(**more)
    error = response.json()["error"]
    message = error.pop("message")
    assert (400, begins) == (response.status_code, message[: len(begins)])
    assert {"type": "invalid_request_error", "param": param, "code": code} == error


USES = {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]}
BAD_ID = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call:1"}]}
BAD_ID_TOLD = "messages.0.content.0.tool_result.tool_use_id: String should match pattern '^[a-zA-Z0-9_-]+$'"
ANTHROPIC_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"foo": 1}, "foo: Extra inputs are not permitted"),
    ({"max_tokens": None}, "max_tokens: Field required"),
    ({"temperature": 1.5}, "temperature: range: 0..1"),
    ({"messages": [USES, RESULT]}, 'messages: first message must use the "user" role'),
    ({"messages": [USER, USES, USER]}, "messages.1: `tool_use` ids were found without `tool_result` blocks"),
    ({"messages": [RESULT]}, "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks"),
    ({"messages": [BAD_ID]}, BAD_ID_TOLD),
]


@pytest.mark.parametrize(("more", "begins"), ANTHROPIC_REFUSALS)
def test_anthropic_refuses_in_its_own_words(anthropic: Client, more: Any, begins: str) -> None:
    """A request that the real API refuses gets HTTP 400 in Anthropic's error shape."""
    response = anthropic.post(**more)
    error = response.json()["error"]
    assert (400, "error", "invalid_request_error", begins) == (
        *(response.status_code, response.json()["type"]),
        *(error["type"], error["message"][: len(begins)]),
    )


def test_anthropic_merges_turns_and_requires_its_version_header(anthropic: Client) -> None:
    """Consecutive messages of one role are one turn; without anthropic-version nothing is answered."""
    response = anthropic.post(messages=[USER, {"role": "user", "content": "there"}], max_tokens=10)
    assert anthropic.says("count to 8 ") == anthropic.text(response)
    del anthropic.headers["anthropic-version"]
    assert "anthropic-version: header is required" == anthropic.post().json()["error"]["message"]


def test_what_is_no_request_is_refused(client: Client) -> None:
    """Wrong keys, shapes, paths, methods and sizes get the provider's error, never a dropped connection."""
    unnamed = client.body(tools=client.tools(), tool_choice={"type": "function", "function": {}})
    shapes = [[], "x", client.body(messages=[{"role": "user", "content": [5]}]), unnamed]
    assert [400] * 4 == [client.send(shape).status_code for shape in shapes]
    base = f"http://127.0.0.1:{client.provider.port}"
    wrong = client.send(client.body(), **{"authorization": "Bearer wrong", "x-api-key": "wrong"})
    answers = [wrong, client.http.post(f"{base}/v1/nothing", json={}), client.http.get(base + client.path)]
    expected = [(401, "true"), (404, "true"), (405, "true")]
    assert expected == [(one.status_code, one.headers["x-simulated"]) for one in answers]
    with socket.create_connection(client.address, timeout=5) as connection:
        connection.sendall(f"POST {client.path} HTTP/1.1\r\ncontent-length: {2**25 + 1}\r\n\r\n".encode())
        assert b"HTTP/1.1 413 " == connection.recv(65536)[:13]


def test_misuse_is_refused() -> None:
    """A misspelt fault names all known ones; nothing but loopback is served; a port must be known."""
    provider = SimulatedProvider("openai")
    with pytest.raises(ValueError, match=r"http_50.*known: .*hang.*missing_done"):
        provider.set_fault("m", "http_50")
    with pytest.raises(ValueError, match="loopback"):
        SimulatedProvider("openai", host="0.0.0.0")
    with pytest.raises(RuntimeError, match="start"):
        _ = provider.base_url
    assert ({}, 20.0) == (provider.faults, provider.first_token_delay)


def test_fault_is_per_model_and_can_be_healed(client: Client) -> None:
    """A fault strikes its model alone, `*` strikes every model, None heals."""
    seen = []
    for model, fault in (("m", "http_500"), ("*", "http_503"), ("m", None), ("*", None)):
        client.provider.set_fault(model, fault)
        seen.append((client.post().status_code, client.post(model="other").status_code))
    assert [(500, 200), (500, 503), (503, 503), (200, 200)] == seen


STATUS_FAULTS = [
    ("http_500", 500, "server_error", "api_error"),
    ("http_503", 503, "server_error", "api_error"),
    ("http_529", 529, "server_error", "overloaded_error"),
    ("http_429", 429, "rate_limit_exceeded", "rate_limit_error"),
    ("http_401", 401, "invalid_api_key", "authentication_error"),
    ("context_length", 400, "maximum context length is", "prompt is too long:"),
    ("model_not_found", 404, "model_not_found", "not_found_error"),
]


@pytest.mark.parametrize(("fault", "status", "openai_word", "anthropic_word"), STATUS_FAULTS)
def test_status_fault_has_the_providers_error(
    client: Client, fault: str, status: int, openai_word: str, anthropic_word: str
) -> None:
    """Status and error are the provider's own, streamed or not; only 429 has a retry-after."""
    client.provider.set_fault("m", fault)
    for stream in (False, True):
        response = client.post(stream=stream)
        assert (status, "true") == (response.status_code, response.headers["x-simulated"])
        assert client.pick(openai_word, anthropic_word) in json.dumps(response.json()["error"])
        assert ("30" if status == 429 else None) == response.headers.get("retry-after")


def test_hang_reads_and_never_answers(client: Client) -> None:
    """The request is taken and logged, not one byte comes back, and the client's leaving is noticed."""
    client.provider.set_fault("m", "hang")
    with client.raw() as connection:
        assert b"" == before_silence(connection)
        seen = client.provider.requests[-1]
        assert ("hang", None, False) == (seen.fault, seen.status, seen.aborted)
    assert client.aborted().aborted


def test_reset_is_a_real_rst(client: Client) -> None:
    """The connection is reset, not closed."""
    client.provider.set_fault("m", "reset")
    with client.raw() as connection, pytest.raises(ConnectionResetError):
        drained(connection)


def test_cut_stream_ends_without_a_final_event(client: Client) -> None:
    """Half of the 18 words, no stop reason, no closing marker, no last chunk, then the connection's end."""
    client.provider.set_fault("m", "cut_midstream")
    with client.raw(stream=True) as connection:
        received = drained(connection)
    assert (client.says("count to "), []) == client.streamed(events(received))
    assert (False, False) == (b"[DONE]" in received or b"_stop" in received, received.endswith(b"0\r\n\r\n"))


def test_cut_whole_answer_is_shorter_than_its_content_length(client: Client) -> None:
    """Half of the body arrives under the content-length of the whole, which clients must notice."""
    healthy = len(client.post().content)
    client.provider.set_fault("m", "cut_midstream")
    with client.raw() as connection:
        head, _, body = drained(connection).partition(b"\r\n\r\n")
    assert (True, healthy // 2) == (b"content-length: %d\r\n" % healthy in head, len(body))


def test_stall_leaves_the_connection_open(client: Client) -> None:
    """Half of the answer, then silence on the open connection, until the client goes."""
    whole = client.post().content
    client.provider.set_fault("m", "stall_midstream")
    with client.raw(stream=True) as connection:
        assert (client.says("count to "), []) == client.streamed(events(before_silence(connection)))
    with client.raw() as connection:
        assert whole[: len(whole) // 2] == before_silence(connection).partition(b"\r\n\r\n")[2]
    assert (200, True) == (client.aborted().status, client.aborted().aborted)


def test_slow_first_token(client: Client) -> None:
    """A stream opens at once and its first token takes its time; a whole answer comes late altogether."""
    client.provider.first_token_delay = 0.4
    client.provider.set_fault("m", "slow_first_token")
    for stream in (True, False):
        begun = time.monotonic()
        with client.raw(stream=stream) as connection:
            opening = before_silence(connection)
            later = connection.recv(65536)
        assert (stream, False) == (opening.startswith(b"HTTP/1.1 200 "), b"[simulated " in opening)
        assert (True, True) == (b"[simulated " in later, time.monotonic() - begun >= 0.4)


def test_answers_that_are_none(client: Client) -> None:
    """HTTP 200 with a web page, with an error as first event or body, or with nothing but a stop reason."""
    client.provider.set_fault("m", "garbage")
    for page in (client.post(), client.post(stream=True)):
        assert (200, "text/html; charset=utf-8") == (page.status_code, page.headers["content-type"])
        assert "<!doctype html>" == page.text[:15]
    client.provider.set_fault("m", "error_first_event")
    kind = client.pick("server_error", "overloaded_error")
    assert [kind, kind] == [one["error"]["type"] for one in (client.post().json(), client.stream()[0])]
    client.provider.set_fault("m", "empty_answer")
    assert ("", ("", [client.pick("stop", "end_turn")])) == (
        client.text(client.post()),
        client.streamed(client.stream()),
    )


def test_truncated_json_arrives_on_a_clean_response(client: Client) -> None:
    """HTTP is in order, the JSON ends in the middle: the body's, or that of the last event."""
    client.provider.set_fault("m", "truncated_json")
    with pytest.raises(json.JSONDecodeError):
        client.post().json()
    received = client.stream()
    assert (1, {"bad": True}) == (received.count({"bad": True}), received[-1])


def test_unusual_streams_are_otherwise_whole(client: Client) -> None:
    """Without its closing marker, or with one unreadable event in its middle, the answer is all there."""
    whole = client.stream()
    client.provider.set_fault("m", "missing_done")
    assert whole[:-1] == client.stream()
    client.provider.set_fault("m", "malformed_event")
    received = client.stream()
    assert (1, True) == (received.count({"bad": True}), {"bad": True} not in (received[0], received[-1]))
    assert whole == [one for one in received if one != {"bad": True}]


def test_content_filter_refuses_as_the_provider_does(client: Client) -> None:
    """HTTP 400 content_filter on the OpenAI wire, stop reason refusal on the Anthropic wire."""
    client.provider.set_fault("m", "refuse_content")
    response = client.post()
    assert client.pick(400, 200) == response.status_code
    if client.wire == "openai":
        assert "content_filter" == response.json()["error"]["code"]
    else:
        assert ("refusal", ("", ["refusal"])) == (
            response.json()["stop_reason"],
            client.streamed(client.stream()),
        )


def test_every_fault_is_described_and_refusals_stay() -> None:
    """The help has one line a fault; a fault that only shapes answers leaves a wrong request refused."""
    assert [] == [name for name, text in FAULTS.items() if not text or "\n" in text]
    for client in started("openai"):
        client.provider.set_fault("*", "cut_midstream")
        assert 400 == client.post(foo=1).status_code


def test_log_has_what_was_asked_but_no_credentials(client: Client) -> None:
    """Time, path, model, body and headers are logged, for the last 10 000 requests; the key is not."""
    client.provider.api_key = "private"
    before = time.time()
    client.send(client.body(stream=True), **{"authorization": "Bearer private", "x-api-key": "private"})
    seen = client.provider.requests[-1]
    assert (client.path, "m", True, None, 200) == (
        seen.path,
        seen.model,
        seen.stream,
        seen.fault,
        seen.status,
    )
    assert (client.body(stream=True), "application/json") == (seen.body, seen.headers["content-type"])
    assert (True, False) == (before <= seen.at <= time.time(), "private" in repr(client.provider.requests))
    for number in range(10_001):
        client.provider.respond("GET", f"/{number}", {}, b"")
    log = client.provider.requests
    assert (10_000, "/1", "/10000") == (len(log), log[0].path, log[-1].path)


def test_client_that_leaves_midstream_is_noticed(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    """The request is marked aborted, and nothing is printed."""
    client.provider.token_delay = 0.02
    with client.raw(text="count to 500", stream=True) as connection:
        connection.recv(100)
    assert (True, ("", "")) == (client.aborted().aborted, tuple(capfd.readouterr()))


def test_stop_is_prompt_and_leaves_nothing(client: Client) -> None:
    """Hanging, stalled, waiting, streaming and idle connections end at once; threads and port are free."""
    for model, fault in (("h", "hang"), ("s", "stall_midstream"), ("w", "slow_first_token")):
        client.provider.set_fault(model, fault)
    client.provider.token_delay = 0.5
    connections = [client.raw(model=model, stream=True) for model in ("h", "s", "w", "m")]
    connections.append(socket.create_connection(client.address, timeout=5))
    time.sleep(0.2)
    begun = time.monotonic()
    client.provider.stop()
    assert (True, 4) == (time.monotonic() - begun < 1, len(client.provider.requests))
    assert [] == [thread.name for thread in threading.enumerate() if thread.name.startswith("simulator")]
    assert [] == [one for one in client.provider.requests if one.aborted]
    for connection in connections:
        drained(connection)
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        client.raw()
    client.provider.start()
    assert 200 == client.post().status_code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_prints_its_base_url_and_stops_cleanly(number: signal.Signals) -> None:
    """`python -m infra.local.simulators` names its base URL first and ends with status 0 on a signal."""
    command = [sys.executable, "-m", "infra.local.simulators", "--wire", "openai", "--fault", "m=http_503"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        body = {"model": "m", "messages": [USER]}
        response = httpx.post(f"{url}/chat/completions", json=body, headers=CREDENTIALS["openai"])
        process.send_signal(number)
        _, errors = process.communicate(timeout=5)
    assert (503, 0, "") == (response.status_code, process.returncode, errors)
