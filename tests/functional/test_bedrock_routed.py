"""Bedrock behind the whole router: signed calls, binary streams and every fault, as an OpenAI caller meets them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from infra.local.simulators import FAULTS
from infra.local.stack import LocalStack
from tests.local_stacks import local_stack

MODEL = "eu.example.large-v1:0"
SIGNED = f"""
schema: 1
defaults:
  limits: {{first_token_s: 2, first_token_min_s: 2, stall_s: 1, stall_min_s: 1, request_s: 10, backoff_s: 0.01}}
providers:
  signed: {{wire: bedrock, base_url: "${{bedrock_url}}", simulated: true,
            sigv4: {{service: bedrock, region: eu-central-1}}}}
  keyed: {{wire: bedrock, base_url: "${{bedrock_url}}", simulated: true,
           auth: {{header: Authorization, scheme: Bearer, secret: "env:UNDERSTUDY_SIMULATED_KEY"}}}}
  other: {{wire: openai, base_url: "${{openai_url}}", simulated: true,
           auth: {{header: Authorization, scheme: Bearer, secret: "env:UNDERSTUDY_SIMULATED_KEY"}}}}
targets:
  lead: {{provider: signed, model: "{MODEL}", capabilities: {{reasoning_control: budget}}}}
  key: {{provider: keyed, model: "arn:aws:bedrock:us-east-1::foundation-model/example.large-v1:0"}}
  whole: {{provider: signed, model: whole, capabilities: {{streaming: false}}}}
TARGETS
  spare: {{provider: other, model: spare}}
routes:
  bedrock: {{targets: [lead]}}
  both: {{targets: [lead, spare]}}
  keyed: {{targets: [key]}}
  whole: {{targets: [whole]}}
ROUTES
"""
STRUCK = [
    fault for fault in FAULTS if fault not in ("slow_drip", "slow_first_token", "brownout", "refuse_prefill", "swapped")
]
# What is the caller's own, or what an answer may be: nobody else is asked.
KEPT = {"context_length": 400, "refuse_content": 200, "missing_done": 200, "malformed_event": 200}
KEPT |= dict.fromkeys(("worse", "dearer"), 200)
# Whoever had a part of the answer gets the rest of it, or is told.
CUT = {"cut_midstream", "stall_midstream", "end_midstream", "error_midstream", "truncated_json"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A local stack with a target of its own for each fault; its simulators answer without delay."""
    names = [f"{fault}-{way}" for fault in STRUCK for way in ("whole", "stream")]
    targets = [f'  t-{name}: {{provider: signed, model: "{name}:0"}}' for name in names]
    routes = [f"  r-{name}: {{targets: [t-{name}, spare]}}" for name in names]
    text = SIGNED.replace("TARGETS", "\n".join(targets)).replace("ROUTES", "\n".join(routes))
    with local_stack(tmp_path_factory.mktemp("config"), text) as stack:
        yield stack


def ask(
    stack: LocalStack, route: str, *, stream: bool = False, text: str = "count to 8", **more: Any
) -> httpx.Response:
    body = {"model": route, "messages": [{"role": "user", "content": text}], "stream": stream, **more}
    return httpx.post(
        f"{stack.base_url}/chat/completions", json=body, headers={"authorization": "Bearer us-test"}, timeout=15
    )


def said(answer: httpx.Response) -> tuple[str, str | None]:
    """The text and the stop reason, streamed or not."""
    if "text/event-stream" not in answer.headers["content-type"]:
        choice = answer.json()["choices"][0]
        return choice["message"]["content"], choice["finish_reason"]
    data = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ") and line != "data: [DONE]"]
    choices = [choice for one in map(json.loads, data) for choice in one.get("choices", ())]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return text, next((choice["finish_reason"] for choice in choices if choice["finish_reason"]), None)


def labelled(model: str) -> str:
    return f"[simulated bedrock provider, model {model}] You said: count to 8 1 2 3 4 5 6 7 8"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_signed_call_is_answered(stack: LocalStack, stream: bool) -> None:
    """The rooms' own credentials sign, the frames are read, and the answer has an id, a model and its counts."""
    answer = (
        ask(stack, "bedrock", stream=stream, stream_options={"include_usage": True})
        if stream
        else ask(stack, "bedrock")
    )
    assert (200, (labelled(MODEL), "stop")) == (answer.status_code, said(answer))
    first = json.loads(answer.text.splitlines()[0][6:]) if stream else answer.json()
    assert (True, MODEL) == (first["id"].startswith("chatcmpl-"), first["model"])
    assert '"prompt_tokens":3,"completion_tokens":18' in answer.text
    seen = stack.simulators["bedrock"].requests[-1]
    assert ("/model/eu.example.large-v1%3A0/converse-stream", True) == (seen.path, "authorization" in seen.headers)


def test_an_api_key_of_the_service_is_sent_as_any_key(stack: LocalStack) -> None:
    """A provider with `auth` is not signed; a model given by its ARN is found."""
    answer = ask(stack, "keyed")
    assert labelled("arn:aws:bedrock:us-east-1::foundation-model/example.large-v1:0") == said(answer)[0]


def test_a_target_that_cannot_stream_is_asked_for_the_whole(stack: LocalStack) -> None:
    """A caller that streams gets the whole answer as a stream."""
    answer = ask(stack, "whole", stream=True)
    assert (labelled("whole"), "stop") == said(answer)
    assert "/model/whole/converse" == stack.simulators["bedrock"].requests[-1].path


def test_tools_go_there_and_back(stack: LocalStack) -> None:
    """A call and its result, with an id of another provider's; without tools the history is declared."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "forecast", "parameters": parameters}}]
    choice = ask(stack, "bedrock", text="use forecast", tools=tools).json()["choices"][0]
    call = choice["message"]["tool_calls"][0]
    assert ("tool_calls", {"city": "simulated city"}) == (
        choice["finish_reason"],
        json.loads(call["function"]["arguments"]),
    )
    history = [
        {"role": "user", "content": "use forecast"},
        {**choice["message"], "tool_calls": [{**call, "id": "an id/of another's"}]},
        {"role": "tool", "tool_call_id": "an id/of another's", "content": ""},
    ]
    for more in ({"tools": tools}, {"tools": tools, "tool_choice": "none"}, {}):
        answer = ask(stack, "bedrock", messages=history, **more)
        assert (200, True) == (answer.status_code, "The tool answered: (no output)" in said(answer)[0])
    # Asked where no tool may be called, this model does nothing but call one all the same: another target answers.
    again = [*history, {"role": "assistant", "content": "done"}, {"role": "user", "content": "use forecast"}]
    answer = ask(stack, "both", messages=again)
    assert ("spare", "stop", False) == (
        answer.headers["x-understudy-target"],
        said(answer)[1],
        "tool_calls" in answer.text,
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", STRUCK)
def test_a_fault_never_looks_like_an_answer(stack: LocalStack, fault: str, stream: bool) -> None:
    """Before the first token another target answers; after it the answer is whole, or the caller is told."""
    name = f"{fault}-{'stream' if stream else 'whole'}"
    model = f"{name}:0"
    stack.simulators["bedrock"].set_fault(model, fault)
    answer = ask(stack, f"r-{name}", stream=stream)
    stack.simulators["bedrock"].set_fault(model, None)
    if fault in KEPT:
        assert (KEPT[fault], f"t-{name}") == (
            answer.status_code,
            answer.headers.get("x-understudy-target", f"t-{name}"),
        )
        if fault == "context_length":
            assert "context_length_exceeded" == answer.json()["error"]["code"]
        elif fault == "refuse_content":
            assert "content_filter" == said(answer)[1]
        else:
            assert (labelled(model), "stop") == said(answer)
    elif fault in CUT and stream:
        # Another model says something else, so it cannot go on: the error is the last event.
        assert (None, '"error"', False) == (
            said(answer)[1],
            '"error"' if '"error"' in answer.text else "",
            "[DONE]" in answer.text,
        )
    else:
        assert (200, "spare", "stop") == (answer.status_code, answer.headers["x-understudy-target"], said(answer)[1])
