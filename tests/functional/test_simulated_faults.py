"""Faults for a number of requests, faults that shape limits, money, streams and prefixes, and answers to compare."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from infra.local.simulators import SimulatedProvider
from infra.local.stack import LocalStack, Options
from tests.local_stacks import quiet
from tests.simulated import PATHS, Client, before_silence, events, started
from understudy.cli import main

PREFIX_REFUSED = "This model does not support assistant message prefill."
RECITED = "[simulated] 1 2 3 4 5 6 7 8 9 10"


@pytest.fixture(params=PATHS)
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    yield from started(request.param)


def statuses(client: Client, count: int, **more: Any) -> list[int]:
    return [client.post(**more).status_code for _ in range(count)]


def test_a_fault_may_strike_a_number_of_requests(client: Client) -> None:
    """After `times` requests for an answer the model is healthy; other models and other paths use none of them up."""
    client.provider.set_fault("m", "http_503", times=2)
    client.http.get(f"http://127.0.0.1:{client.provider.port}/v1/models", headers=client.headers)
    assert [200, 503] == [*statuses(client, 1, model="other"), *statuses(client, 1)]
    assert {"m": "http_503"} == client.provider.faults
    assert ([503, 200, 200], {}) == (statuses(client, 3), client.provider.faults)
    assert [None, "http_503", "http_503", None, None] == [seen.fault for seen in client.provider.requests[1:]]


def test_a_fault_of_every_model_may_strike_a_number_of_requests(client: Client) -> None:
    """What is set for `*` is used up by whichever models are asked, but not by those with a fault of their own."""
    client.provider.set_fault("*", "http_503", times=2)
    client.provider.set_fault("own", "http_500", times=1)
    asked = [client.post(model=model).status_code for model in ("own", "a", "b", "a", "own")]
    assert [500, 503, 503, 200, 200] == asked


def test_a_fault_that_is_set_again_counts_anew(client: Client) -> None:
    """Setting a fault without a number makes it last, whatever was left of the earlier one."""
    client.provider.set_fault("m", "http_503", times=1)
    client.provider.set_fault("m", "http_503")
    assert [503] * 3 == statuses(client, 3)


@pytest.mark.parametrize("times", [0, -1])
def test_a_fault_strikes_at_least_once(times: int) -> None:
    """A number below 1 is refused, and nothing is set."""
    provider = SimulatedProvider("openai")
    with pytest.raises(ValueError, match="at least 1"):
        provider.set_fault("m", "http_500", times=times)
    assert {} == provider.faults


def test_a_brownout_strikes_three_of_ten(client: Client) -> None:
    """The same three of every ten requests get HTTP 500, counted from when the fault was set."""
    client.post()
    client.provider.set_fault("m", "brownout")
    ten = [500, 200, 200, 500, 200, 200, 500, 200, 200, 200]
    assert ten * 2 == statuses(client, 20)


RATE = ((429, "rate_limit_exceeded"), (429, "rate_limit_error"))
LIMITS = [
    ("retry_after", {"retry-after": "2"}, *RATE),
    ("http_429_bare", {}, *RATE),
    ("quota", {}, (429, "insufficient_quota"), (400, "Your credit balance is too low")),
]


@pytest.mark.parametrize(("fault", "hints", "of_openai", "of_anthropic"), LIMITS)
def test_limits_and_money_are_the_providers_own(
    client: Client, fault: str, hints: dict[str, str], of_openai: tuple[int, str], of_anthropic: tuple[int, str]
) -> None:
    """A short hint, no hint at all, or no credit: status, words and header are the provider's, streamed or not."""
    client.provider.set_fault("m", fault)
    status, word = client.pick(of_openai, of_anthropic)
    for stream in (False, True):
        response = client.post(stream=stream)
        assert (status, True) == (response.status_code, word in json.dumps(response.json()["error"]))
        named = {name: value for name, value in response.headers.items() if "retry" in name or "ratelimit" in name}
        assert hints == named


@pytest.mark.parametrize("stream", [False, True])
def test_a_body_that_is_no_json(client: Client, stream: bool) -> None:
    """HTTP 200 says JSON, the body is none, and it is labelled all the same."""
    client.provider.set_fault("m", "malformed_json")
    response = client.post(stream=stream)
    assert (200, "application/json", "true") == (
        response.status_code,
        response.headers["content-type"],
        response.headers["x-simulated"],
    )
    assert "[simulated]" in response.text
    with pytest.raises(json.JSONDecodeError):
        response.json()


def test_the_answer_under_another_content_type(client: Client) -> None:
    """The bytes are those of the healthy answer; only the content type is wrong."""
    healthy = [client.post(stream=stream).content for stream in (False, True)]
    client.provider.set_fault("m", "wrong_content_type")
    struck = [client.post(stream=stream) for stream in (False, True)]
    assert healthy == [response.content for response in struck]
    assert {(200, "text/plain; charset=utf-8")} == {(one.status_code, one.headers["content-type"]) for one in struck}


def test_tokens_that_drip(client: Client) -> None:
    """Each token comes `drip_delay` after the one before; a whole answer takes as long as all its tokens."""
    client.provider.drip_delay = 0.05
    client.provider.set_fault("m", "slow_drip")
    begun = time.monotonic()
    with client.raw(stream=True, max_tokens=4) as connection:
        received, times = b"", []
        for word in (b"[simulated ", b"provider, ", b"model "):
            while word not in received:
                received += connection.recv(65536)
            times.append(time.monotonic() - begun)
    assert [True] * 3 == [0.05 * place <= at for place, at in zip((1, 3, 4), times, strict=True)]
    begun = time.monotonic()
    assert 200 == client.post(max_tokens=4).status_code
    assert time.monotonic() - begun >= 0.2


def test_an_error_in_the_middle_of_a_stream(client: Client) -> None:
    """Half of the words, then the wire's own error event, then the stream ends without a stop reason."""
    client.provider.set_fault("m", "error_midstream")
    received = client.stream()
    assert (client.says("count to "), []) == client.streamed(received)
    assert client.pick("server_error", "overloaded_error") == received[-1]["error"]["type"]
    assert client.pick("server_error", "overloaded_error") == client.post().json()["error"]["type"]


def test_an_end_in_the_middle_of_a_stream(client: Client) -> None:
    """Half of the words, no stop reason and no closing marker, and yet HTTP ends as it should."""
    client.provider.set_fault("m", "end_midstream")
    response = client.post(stream=True)
    assert (client.says("count to "), []) == client.streamed(events(response.text))
    assert (False, False) == ("[DONE]" in response.text, "_stop" in response.text)
    with client.raw(stream=True) as connection:
        assert before_silence(connection).endswith(b"\r\n0\r\n\r\n")
    with pytest.raises(json.JSONDecodeError):
        client.post().json()


def test_a_prefix_that_is_refused(client: Client) -> None:
    """A conversation that ends with the beginning of the answer gets HTTP 400; any other is answered."""
    client.provider.set_fault("m", "refuse_prefill")
    user, begun = {"role": "user", "content": "recite to 10"}, {"role": "assistant", "content": "[simulated] 1 2"}
    marked = client.pick({**begun, "prefix": True}, begun)
    refused = [
        client.post(messages=[user, last], stream=stream) for last in (begun, marked) for stream in (False, True)
    ]
    assert [400] * 4 == [response.status_code for response in refused]
    assert {True} == {response.json()["error"]["message"].startswith(PREFIX_REFUSED) for response in refused}
    assert {"invalid_request_error"} == {response.json()["error"]["type"] for response in refused}
    assert RECITED == client.text(client.post(messages=[user, begun, user]))
    assert RECITED == client.text(client.post(messages=[user]))


def test_what_is_recited_is_the_same_everywhere(client: Client) -> None:
    """The text names neither wire nor model, says that it is simulated, and streams alike."""
    assert {RECITED} == {client.text(client.post(text="Please RECITE to 10.", model=model)) for model in ("m", "n")}
    assert RECITED == client.streamed(client.stream(text="recite to 10"))[0]


@pytest.mark.parametrize("cut", range(len("[simulated]"), len(RECITED)))
def test_what_is_recited_is_continued_from_any_place(cut: int) -> None:
    """A prefix and its continuation are the whole, wherever another model broke off."""
    for client in started("openai"):
        begun = {"role": "assistant", "content": RECITED[:cut], "prefix": True}
        answer = client.text(client.post(messages=[{"role": "user", "content": "recite to 10"}, begun]))
        assert RECITED == RECITED[:cut] + answer


def test_what_is_recited_is_continued_on_the_other_wire() -> None:
    """A prefix without its last space, as that wire demands it, is continued too."""
    for client in started("anthropic"):
        begun = {"role": "assistant", "content": "[simulated] 1 2 3"}
        answer = client.text(client.post(messages=[{"role": "user", "content": "recite to 10"}, begun]))
        assert " 4 5 6 7 8 9 10" == answer


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    config = quiet(tmp_path_factory.mktemp("stack"))
    stack = LocalStack(Options(port=0, api_key="us-test", config=config), on_alert=lambda alert: None)
    stack.start()
    for simulator in stack.simulators.values():
        simulator.token_delay = 0
    yield stack
    stack.stop()


def served_by(stack: LocalStack) -> str:
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": "Bearer us-test"}
    answer = httpx.post(f"{stack.base_url}/chat/completions", json=body, headers=headers, timeout=15)
    return answer.headers["x-understudy-target"]


def test_the_command_breaks_a_target_for_a_number_of_requests(
    stack: LocalStack, capsys: pytest.CaptureFixture[str]
) -> None:
    """`understudy break TARGET FAULT --times N` strikes N calls; without it the fault lasts until it is healed."""
    local = ["--local-url", stack.url]
    assert 0 == main(["break", "lead", "http_500", "--times", "2", *local])
    assert "lead: http_500, for 2 requests\n" == capsys.readouterr().out
    # The first request uses both up, one call and its retry; after that nothing is wrong with the lead any more.
    assert "understudy" == served_by(stack)
    assert {} == stack.simulators["openai"].faults
    assert 0 == main(["break", "lead", "malformed_json", *local])
    assert {"simulated-gpt": "malformed_json"} == stack.simulators["openai"].faults
    assert 0 == main(["heal", "lead", *local])
    assert {} == stack.simulators["openai"].faults
    assert "lead: malformed_json\nlead: healthy again\n" == capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lead", "http_500", "--times", "0"], "a fault strikes at least 1 request, not 0"),
        (["lead", "http_50"], "there is no fault 'http_50'; there are: http_500"),
        (["nobody", "http_500"], "there is no target 'nobody'"),
    ],
)
def test_a_fault_that_cannot_be_set_says_so(
    stack: LocalStack, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number, a fault or a target that cannot be gives exit code 1 and names what can."""
    assert 1 == main(["break", *arguments, "--local-url", stack.url])
    assert words in capsys.readouterr().err
