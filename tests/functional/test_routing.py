"""Real proxy events through the real handler, moto and simulated providers on real sockets."""

import json
import time
from collections.abc import Iterator
from string import Template

import httpx
import pytest
import yaml

from infra.local.stack import LocalStack
from tests.local_stacks import local_stack
from understudy.catalog import HealthSettings
from understudy.health.item import Health

DOCUMENT = """
schema: 1
defaults:
  limits: {first_token_s: 1.2, stall_s: 1.2, request_s: 12, backoff_s: 0.01}
providers:
  a: {wire: openai, base_url: "${openai_url}", simulated: true,
      auth: {header: Authorization, scheme: Bearer, secret: "env:UNDERSTUDY_SIMULATED_KEY"}}
  b: {wire: anthropic, base_url: "${anthropic_url}", simulated: true,
      auth: {header: x-api-key, scheme: "", secret: "env:UNDERSTUDY_SIMULATED_KEY"}}
  keyless: {wire: openai, base_url: "${openai_url}",
            auth: {header: Authorization, scheme: Bearer, secret: "env:NO_SUCH_SECRET_IS_SET"}}
targets:
${targets}
  a-none: {provider: keyless, model: m}
  b-local: {provider: b, model: eu, data: {jurisdictions: [eu], retention_days: 0, trains_on_data: false}}
routes:
${routes}
  secretless: {targets: [a-none, b-eu-twin]}
  european: {targets: [a-0, b-local], constraints: {jurisdictions: [eu], no_training: true}}
  weighted: {targets: [{target: a-w, order: 1, weight: 3}, {target: b-w, order: 1, weight: 1}]}
  only-b: {targets: [b-only]}
  assured: {targets: [a-assured, b-assured], assured: true}
  rerouted: {targets: [a-26, b-26], reroute_refusals: true}
  drops: {targets: [b-only], may_drop: [seed]}
health: {probe: {period_s: 86400}, quality: {sets: []}, drift: {prompts: 0}}
"""
HIDDEN = [
    # fault, calls that the lead gets
    ("http_500", 2),
    ("http_503", 2),
    ("http_529", 2),
    ("http_429", 1),  # its Retry-After of 30 s is above the cap
    ("http_401", 1),
    ("hang", 1),
    ("reset", 2),
    ("slow_first_token", 1),
    ("garbage", 2),
    ("error_first_event", 2),
    ("empty_answer", 2),
    ("model_not_found", 1),
]
HALF = ["cut_midstream", "stall_midstream", "truncated_json"]
PAIRS = [
    *map(str, (0, *range(22, 30))),
    *(f"{fault}-{lead}-{mode}" for fault, _ in HIDDEN for lead in "ab" for mode in ("whole", "stream")),
    *(f"{fault}-{mode}" for fault in HALF for mode in ("whole", "stream")),
]


def document() -> str:
    """Many routes of a lead and an understudy each, so that one test's broken lead is nobody else's."""
    names = [*PAIRS, "w", "assured"]
    targets = [f"  a-{n}: {{provider: a, model: a-{n}}}\n  b-{n}: {{provider: b, model: b-{n}}}" for n in names]
    targets += ["  b-only: {provider: b, model: only}", "  b-eu-twin: {provider: b, model: twin}"]
    routes = [f"  r{n}: {{targets: [a-{n}, b-{n}]}}\n  s{n}: {{targets: [b-{n}, a-{n}]}}" for n in PAIRS]
    return Template(DOCUMENT).safe_substitute(targets="\n".join(targets), routes="\n".join(routes))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A local stack with the document above; its simulators answer without delay."""
    with local_stack(tmp_path_factory.mktemp("config"), document()) as stack:
        # Nobody but the tests asks: a sweep's probe that meets a broken lead would be a failure more than they count.
        for target in yaml.safe_load(document())["targets"]:
            stack.store.put_health(Health(target, last_ok_at=time.time()))
        for simulator in stack.simulators.values():
            simulator.first_token_delay = 5
        yield stack


def post(stack: LocalStack, body: object, *, key: str = "us-test", path: str = "chat/completions") -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{stack.base_url}/{path}", content=content, headers=headers, timeout=15)


def ask(
    stack: LocalStack, route: str, *, stream: bool = False, text: str = "count to 9", **more: object
) -> httpx.Response:
    message = {"role": "user", "content": text}
    return post(stack, {"model": route, "messages": [message], "stream": stream, **more})


def told(answer: httpx.Response) -> str:
    """The text of an answer, streamed or not."""
    if "event-stream" not in answer.headers["content-type"]:
        return answer.json()["choices"][0]["message"]["content"]
    pieces = [choice["delta"].get("content") or "" for event in events(answer) for choice in event.get("choices", ())]
    return "".join(pieces)


def events(answer: httpx.Response) -> list[dict]:
    data = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(piece) for piece in data if piece != "[DONE]"]


def calls(stack: LocalStack, target: str) -> int:
    """Calls that callers caused; the control plane probes what was broken when it likes."""
    asked = [seen for sim in stack.simulators.values() for seen in list(sim.requests) if seen.model == target]
    return sum(HealthSettings().probe_prompt not in json.dumps(seen.body) for seen in asked)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("lead", ["a", "b"])
@pytest.mark.parametrize(("fault", "tries"), HIDDEN, ids=[fault for fault, _ in HIDDEN])
def test_a_fault_before_the_first_token_stays_unseen(
    stack: LocalStack, fault: str, tries: int, lead: str, stream: bool
) -> None:
    """Every failure class is answered by the understudy, and the lead is asked as often as its class allows."""
    pair = f"{fault}-{lead}-{'stream' if stream else 'whole'}"
    name, other = (f"a-{pair}", "b") if lead == "a" else (f"b-{pair}", "a")
    wire = {"a": "openai", "b": "anthropic"}
    stack.simulators[wire[lead]].set_fault(name, fault)
    before = calls(stack, name)
    answer = ask(stack, f"{'r' if lead == 'a' else 's'}{pair}", stream=stream)
    stack.simulators[wire[lead]].set_fault(name, None)
    assert (200, f"{other}-{pair}") == (answer.status_code, answer.headers["x-understudy-target"])
    assert told(answer).startswith(f"[simulated {wire[other]} provider")
    assert told(answer).endswith("9")
    assert tries == calls(stack, name) - before


@pytest.mark.parametrize("fault", HALF)
def test_a_whole_answer_is_never_half(stack: LocalStack, fault: str) -> None:
    """A caller that does not stream gets the understudy's whole answer when the lead breaks off."""
    stack.simulators["openai"].set_fault(f"a-{fault}-whole", fault)
    answer = ask(stack, f"r{fault}-whole")
    assert (200, f"b-{fault}-whole") == (answer.status_code, answer.headers["x-understudy-target"])
    assert told(answer).endswith("9")


def test_an_assured_stream_is_never_half(stack: LocalStack) -> None:
    """On an assured route a streaming caller is given nothing before it is whole, so a cut stays unseen."""
    stack.simulators["openai"].set_fault("a-assured", "cut_midstream")
    answer = ask(stack, "assured", stream=True)
    assert told(answer).endswith("9")
    assert "data: [DONE]\n\n" == answer.text[-14:]


@pytest.mark.parametrize("fault", ["cut_midstream", "stall_midstream"])
def test_a_cut_stream_never_looks_complete(stack: LocalStack, fault: str) -> None:
    """A stream that breaks off after its first byte ends with an error event: no stop reason, no end marker."""
    stack.simulators["openai"].set_fault(f"a-{fault}-stream", fault)
    answer = ask(stack, f"r{fault}-stream", stream=True, text="count to 60")
    last = events(answer)[-1]
    assert ("stream_broken", False) == (last["error"]["code"], "[DONE]" in answer.text)
    assert [] == [c for e in events(answer)[:-1] for c in e["choices"] if c.get("finish_reason")]


@pytest.mark.parametrize("fault", ["missing_done", "malformed_event"])
@pytest.mark.parametrize("lead", ["a", "b"])
def test_a_blemished_stream_is_completed(stack: LocalStack, fault: str, lead: str) -> None:
    """A missing end marker or one unreadable event does not cost the answer."""
    wire = {"a": "openai", "b": "anthropic"}[lead]
    name, route = (f"{lead}-22", "r22" if lead == "a" else "s22")
    stack.simulators[wire].set_fault(name, fault)
    answer = ask(stack, route, stream=True)
    stack.simulators[wire].set_fault(name, None)
    assert (200, name) == (answer.status_code, answer.headers["x-understudy-target"])
    assert answer.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("fault", "lead", "status", "code"),
    [
        ("refuse_content", "a", 400, "content_filter"),
        ("context_length", "a", 400, "context_length_exceeded"),
        ("context_length", "b", 400, "context_length_exceeded"),
    ],
)
def test_the_callers_own_fault_is_given_back(stack: LocalStack, fault: str, lead: str, status: int, code: str) -> None:
    """A refusal or a too long prompt is asked once, given back in OpenAI's shape, and no other provider is asked."""
    wire = {"a": "openai", "b": "anthropic"}[lead]
    other = f"{'b' if lead == 'a' else 'a'}-23"
    stack.simulators[wire].set_fault(f"{lead}-23", fault)
    before = (calls(stack, f"{lead}-23"), calls(stack, other))
    answer = ask(stack, "r23" if lead == "a" else "s23")
    stack.simulators[wire].set_fault(f"{lead}-23", None)
    assert (status, code) == (answer.status_code, answer.json()["error"]["code"])
    assert (before[0] + 1, before[1]) == (calls(stack, f"{lead}-23"), calls(stack, other))


def test_a_route_may_agree_to_ask_another_after_a_refusal(stack: LocalStack) -> None:
    """A route that opts in gets the next target's answer; one that does not gets the refusal."""
    stack.simulators["openai"].set_fault("a-26", "refuse_content")
    before = calls(stack, "a-26")
    answer = ask(stack, "rerouted")
    assert (200, "b-26", before + 1) == (
        answer.status_code,
        answer.headers["x-understudy-target"],
        calls(stack, "a-26"),
    )
    assert (400, "content_filter") == (ask(stack, "r26").status_code, ask(stack, "r26").json()["error"]["code"])
    stack.simulators["openai"].set_fault("a-26", None)


def test_a_missing_secret_makes_the_target_unusable_not_the_router(stack: LocalStack) -> None:
    """A target whose credential cannot be found is passed over, and an incident says so."""
    answer = ask(stack, "secretless")
    assert (200, "b-eu-twin") == (answer.status_code, answer.headers["x-understudy-target"])
    for _ in range(50):
        found = stack.store.incident("a-none", "credential")
        if found is not None:
            break
        time.sleep(0.1)
    assert found is not None
    assert "NO_SUCH_SECRET_IS_SET" in found.summary


def test_compliance_is_never_broken_by_failover(stack: LocalStack) -> None:
    """With the only compliant target down the caller gets an error, not an answer from elsewhere."""
    assert "b-local" == ask(stack, "european").headers["x-understudy-target"]
    stack.simulators["anthropic"].set_fault("eu", "http_500")
    before = calls(stack, "a-0")
    answer = ask(stack, "european")
    stack.simulators["anthropic"].set_fault("eu", None)
    assert (503, before) == (answer.status_code, calls(stack, "a-0"))
    assert "a-0: denied by jurisdictions" in answer.json()["error"]["message"]


class Context:
    """A Lambda context with this much time left."""

    def __init__(self, milliseconds: int) -> None:
        self.milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


def test_an_invocation_that_ends_soon_is_answered_before_its_end(stack: LocalStack) -> None:
    """With 2.2 s of the invocation left a silent provider costs 0.2 s, and the caller gets an answer that says so."""
    import route_request.handler as room

    stack.simulators["anthropic"].set_fault("only", "hang")
    body = json.dumps({"model": "only-b", "messages": [{"role": "user", "content": "x"}]})
    event = {
        "httpMethod": "POST",
        "path": "/chat/completions",
        "headers": {"Authorization": "Bearer us-test"},
        "body": body,
    }
    began = time.monotonic()
    answer = room.handler(event, Context(2200))
    stack.simulators["anthropic"].set_fault("only", None)
    assert (504, True) == (answer["statusCode"], time.monotonic() - began < 1.1)
    assert "the deadline of the whole request" in json.loads(answer["body"])["error"]["message"]
    assert 0 == room.service()._outcomes._breakers["b-only"].consecutive


def test_weights_share_the_traffic(stack: LocalStack) -> None:
    """Targets of one order get traffic by weight: 3 to 1."""
    served = [ask(stack, "weighted").headers["x-understudy-target"] for _ in range(40)]
    assert 19 <= served.count("a-w") <= 39


BAD = [
    (b"{", 400, "invalid_json"),
    (b"", 400, "invalid_json"),
    (b"[" * 100_000, 400, None),
    (b'"text"', 400, "invalid_request"),
    (b"\xff\xfe", 400, None),
    ({"model": "r24"}, 400, "invalid_type"),
    ({"model": "r24", "messages": "hi"}, 400, "invalid_type"),
    ({"model": "r24", "messages": [{"role": "user", "content": 7}]}, 400, "invalid_type"),
    ({"model": "r24", "messages": [{"role": "user", "content": "x"}], "temperature": "hot"}, 400, "invalid_type"),
    ({"model": "none", "messages": [{"role": "user", "content": "x"}]}, 404, "model_not_found"),
    ({"model": "only-b", "messages": [{"role": "user", "content": "x"}], "seed": 1}, 400, "unsupported_parameter"),
    ({"model": "only-b", "messages": [{"role": "user", "content": "x"}], "foo": 1}, 400, "unsupported_parameter"),
    ({"model": "r24", "messages": [{"role": "user", "content": "x"}], "foo": 1}, 400, None),
    (b'{"model":"r24","messages":[{"role":"user","content":"\\ud800"}]}', 400, None),
    (b'{"x":"' + b"a" * (6 * 1024 * 1024) + b'"}', 413, "request_too_large"),
    (b"a" * (10 * 1024 * 1024 + 1), 413, "request_too_large"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD, ids=[f"{i}" for i in range(len(BAD))])
def test_bad_input_gets_an_error_in_openai_shape(
    stack: LocalStack, body: object, status: int, code: str | None
) -> None:
    """Whatever is sent, the answer is the right status and `{"error": {message, type, param, code}}`."""
    answer = post(stack, body)
    assert status == answer.status_code
    error = answer.json()["error"]
    assert {"message", "type", "param", "code"} == set(error)
    if code is not None:
        assert code == error["code"]


@pytest.mark.parametrize("key", ["", "wrong", "us-tes", "us-test2"])
def test_a_missing_or_wrong_key_is_refused(stack: LocalStack, key: str) -> None:
    """Only the exact key is accepted; the refusal does not repeat what was sent."""
    answer = post(stack, {"model": "r24", "messages": [{"role": "user", "content": "x"}]}, key=key)
    assert (401, "invalid_api_key") == (answer.status_code, answer.json()["error"]["code"])
    assert key == "" or key not in answer.json()["error"]["message"].split()


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "nope", 404), ("GET", "chat/completions", 405), ("DELETE", "models", 404)]
)
def test_unknown_places_are_said_so(stack: LocalStack, method: str, path: str, status: int) -> None:
    """Unknown endpoints and wrong methods get an error object too."""
    answer = httpx.request(method, f"{stack.base_url}/{path}", headers={"authorization": "Bearer us-test"})
    assert (status, True) == (answer.status_code, "message" in answer.json()["error"])


def test_a_route_may_agree_to_lose_a_field(stack: LocalStack) -> None:
    """What `may_drop` names is left out for a wire that has no place for it."""
    assert 200 == ask(stack, "drops", seed=7).status_code


def test_tools_cross_the_wires(stack: LocalStack) -> None:
    """A tool call made through the understudy reads like the lead's own, and its result is taken back."""
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
    answer = ask(stack, "only-b", text="weather please", tools=[tool], tool_choice="required")
    choice = answer.json()["choices"][0]
    assert ("tool_calls", "weather") == (
        choice["finish_reason"],
        choice["message"]["tool_calls"][0]["function"]["name"],
    )
    assert ["city"] == list(json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]))
    history = [
        {"role": "user", "content": "weather please"},
        choice["message"],
        {"role": "tool", "tool_call_id": choice["message"]["tool_calls"][0]["id"], "content": "12 degrees"},
    ]
    again = post(stack, {"model": "only-b", "messages": history, "tools": [tool]})
    assert "12 degrees" in again.json()["choices"][0]["message"]["content"]


def test_usage_comes_when_asked_for(stack: LocalStack) -> None:
    """A streaming caller gets exactly one usage chunk, last, when it asks, and none when it does not."""
    asked = events(ask(stack, "r25", stream=True, stream_options={"include_usage": True}))
    assert ([], 1) == (asked[-1]["choices"], sum(bool(event.get("usage")) for event in asked))
    assert 0 == sum(bool(event.get("usage")) for event in events(ask(stack, "r25", stream=True)))
