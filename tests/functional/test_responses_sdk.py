"""OpenAI's own library speaks the Responses API to the router: to a target that does too, and translated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from string import Template
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from infra.local.stack import LocalStack
from tests.local_stacks import local_stack

DOCUMENT = """
schema: 1
defaults: {limits: {first_token_s: 2, stall_s: 1, request_s: 10, backoff_s: 0.01}}
providers:
  a: {wire: openai, base_url: "${openai_url}", simulated: true,
      auth: {header: Authorization, scheme: Bearer, secret: "env:UNDERSTUDY_SIMULATED_KEY"}}
  b: {wire: anthropic, base_url: "${anthropic_url}", simulated: true,
      auth: {header: x-api-key, scheme: "", secret: "env:UNDERSTUDY_SIMULATED_KEY"}}
targets:
  native: {provider: a, model: native, capabilities: {responses: true}}
  beside: {provider: a, model: beside, capabilities: {responses: true}}
${leads}
  prefilled: {provider: a, model: prefilled, capabilities: {responses: true, prefill: prefix}}
  chatty: {provider: a, model: chatty}
  claude: {provider: b, model: claude}
routes:
  native: {targets: [native]}
  chat: {targets: [chatty]}
  messages: {targets: [claude]}
  pair: {targets: [native, beside]}
  riap: {targets: [beside, native]}
${routes}
"""
FAULTS = ["http_500", "http_429", "error_first_event", "garbage", "cut_midstream"]
SPARES = ["chatty", "claude", "beside", "prefilled"]
LEADS = {f"lead-{spare}": spare for spare in SPARES} | {f"lead-{fault}": "claude" for fault in FAULTS}
LEADS |= {"lead-searches": "prefilled"}
LEADS |= {"lead-alone": "lead-alone-too", "lead-alone-too": "lead-alone"}
"""Each test that breaks a target has one of its own, so that nobody's breaker is another's; with who goes on for it."""
EVERYWHERE = ["native", "chat", "messages"]
TRANSLATED = ["chat", "messages"]
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
FORECAST: Any = {
    "type": "function",
    "name": "forecast",
    "description": "What the weather will be.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Trip(BaseModel):
    city: str
    days: int


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A local stack with the document above; its simulators answer without delay."""
    leads = [f"  {name}: {{provider: a, model: {name}, capabilities: {{responses: true}}}}" for name in LEADS]
    routes = [f"  {name}: {{targets: [{name}, {spare}]}}" for name, spare in LEADS.items()]
    text = Template(DOCUMENT).safe_substitute(leads="\n".join(leads), routes="\n".join(routes))
    with local_stack(tmp_path_factory.mktemp("config"), text) as stack:
        yield stack


@pytest.fixture(scope="module")
def client(stack: LocalStack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stack.base_url, api_key="us-test", max_retries=0, timeout=10) as client:
        yield client


def seen(stack: LocalStack, model: str) -> list[Any]:
    """The paths at which a model was asked, and the bodies."""
    asked = [one for simulator in stack.simulators.values() for one in simulator.requests]
    return [(one.path, one.body) for one in asked if one.model == model]


def valid(events: list[Any]) -> None:
    """Every event is one that the library knows, and they are numbered from 0 without a gap."""
    for event in events:
        EVENT.validate_python(event.to_dict())
    assert list(range(len(events))) == [event.sequence_number for event in events]


@pytest.mark.parametrize("route", EVERYWHERE)
def test_an_answer_is_a_whole_response(client: openai.OpenAI, route: str) -> None:
    """The object has everything that the library's model demands, with the counts, and repeats what was asked."""
    answer = client.responses.create(
        model=route, instructions="Be kind.", input="count to 3", max_output_tokens=500, metadata={"a": "b"}
    )
    Response.model_validate(answer.to_dict())
    assert answer.output_text.endswith("count to 3 1 2 3")
    assert ("completed", "Be kind.", 500, {"a": "b"}) == (
        answer.status,
        answer.instructions,
        answer.max_output_tokens,
        answer.metadata,
    )
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    assert answer.id.startswith("resp_")


@pytest.mark.parametrize("route", EVERYWHERE)
def test_a_stream_says_what_the_whole_answer_says(client: openai.OpenAI, route: str) -> None:
    """The library's own accumulation of the events is the last event's response, and the text is that of the whole."""
    with client.responses.stream(model=route, input="count to 9") as stream:
        events = list(stream)
        final = stream.get_final_response()
    raw = list(client.responses.create(model=route, input="count to 9", stream=True))
    valid(raw)
    deltas = "".join(event.delta for event in raw if event.type == "response.output_text.delta")
    assert "response.created" == events[0].type
    assert (deltas, "completed") == (final.output_text, final.status)
    assert deltas.endswith("1 2 3 4 5 6 7 8 9")


@pytest.mark.parametrize("route", EVERYWHERE)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_tool_goes_round(client: openai.OpenAI, route: str, stream: bool) -> None:
    """The model calls a tool, the caller sends the model's own items back with the result, the model uses it."""
    asked: list[Any] = [{"role": "user", "content": "forecast for Bern"}]
    told: Any = {"model": route, "tools": [FORECAST], "store": False}
    if stream:
        with client.responses.stream(input=asked, **told) as events:
            first: Any = events.get_final_response()
    else:
        first = client.responses.create(input=asked, **told)
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert ("forecast", {"city": "simulated city"}) == (call.name, json.loads(call.arguments))
    asked += [item.to_dict(mode="json") for item in first.output]
    for item in asked:
        item.pop("parsed_arguments", None)
    asked.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
    second = client.responses.create(input=asked, **told)
    assert second.output_text.endswith("The tool answered: sunny")


@pytest.mark.parametrize("route", EVERYWHERE)
def test_structured_output_is_parsed(client: openai.OpenAI, route: str) -> None:
    """`parse` gives an object of the caller's own class."""
    answer = client.responses.parse(model=route, input="a trip", text_format=Trip)
    assert Trip(city="simulated city", days=1) == answer.output_parsed


@pytest.mark.parametrize("route", EVERYWHERE)
def test_an_answer_cut_by_its_limit_is_incomplete(client: openai.OpenAI, route: str) -> None:
    """A limit is told as the API tells it, streamed and whole."""
    answer = client.responses.create(model=route, input="count to 99", max_output_tokens=16)
    *_, last = client.responses.create(model=route, input="count to 99", max_output_tokens=16, stream=True)
    assert answer.incomplete_details is not None
    assert ("incomplete", "max_output_tokens", "response.incomplete") == (
        answer.status,
        answer.incomplete_details.reason,
        last.type,
    )


@pytest.mark.parametrize("route", TRANSLATED)
def test_a_tool_of_free_text_is_called_with_text(client: openai.OpenAI, route: str) -> None:
    """A custom tool without a grammar reaches models that know only functions, and its call is a custom call again."""
    tool: Any = {"type": "custom", "name": "shout", "description": "shouts"}
    answer = client.responses.create(model=route, input="shout it", tools=[tool])
    (call,) = answer.output
    assert ("custom_tool_call", "shout", "simulated input") == (call.type, call.name, call.input)
    back: Any = [{"role": "user", "content": "shout it"}, call.to_dict(mode="json")]
    back.append({"type": "custom_tool_call_output", "call_id": call.call_id, "output": "LOUD"})
    assert client.responses.create(model=route, input=back, tools=[tool]).output_text.endswith("LOUD")


# what only the target's own protocol has


def test_thinking_goes_back_to_who_thought(stack: LocalStack, client: openai.OpenAI) -> None:
    """Encrypted reasoning is given out marked and comes back bare to its target; another target is not sent it."""
    asked: list[Any] = [{"role": "user", "content": "hello"}]
    told: Any = {"store": False, "include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low"}}
    first = client.responses.create(model="pair", input=asked, **told)
    thought = first.output[0]
    assert ("reasoning", True) == (thought.type, (thought.encrypted_content or "").startswith("us1."))
    asked += [item.to_dict(mode="json") for item in first.output] + [{"role": "user", "content": "go on"}]
    # On this route another target leads, but this one made what comes back.
    again = client.responses.with_raw_response.create(model="riap", input=asked, **told)
    assert "native" == again.headers["x-understudy-target"]
    sent = seen(stack, "native")[-1][1]["input"]
    assert ["rs", "msg"] == [item["id"].partition("_")[0] for item in sent if "id" in item]
    assert "us1." not in json.dumps(sent)
    elsewhere = client.responses.with_raw_response.create(model="lead-alone", input=asked, **told)
    assert "content bound to another target" == elsewhere.headers["x-understudy-stripped"]
    kept = seen(stack, elsewhere.headers["x-understudy-target"])[-1][1]["input"]
    assert [None, None, None] == [item.get("id") for item in kept]
    translated = client.responses.create(model="messages", input=asked)
    assert translated.output_text.endswith("go on")


def test_a_conversation_goes_on_by_its_id(stack: LocalStack, client: openai.OpenAI) -> None:
    """`previous_response_id` goes bare to the target that has the response, whoever leads the route."""
    first = client.responses.create(model="pair", input="forecast for Bern", tools=[FORECAST])
    (call,) = first.output
    output: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]  # type: ignore[union-attr]
    second = client.responses.create(model="riap", input=output, previous_response_id=first.id)
    assert second.output_text.endswith("The tool answered: rain")
    assert first.id == second.previous_response_id
    with client.responses.stream(model="riap", input="count to 2", previous_response_id=second.id) as stream:
        assert stream.get_final_response().output_text.endswith("1 2")
    sent = seen(stack, "native")[-1][1]
    assert "us1." not in sent["previous_response_id"]


def test_an_id_that_nobody_on_the_route_has_is_refused(client: openai.OpenAI) -> None:
    """The error names the field: the route has no target that has the answer, or the answer was stored nowhere."""
    first = client.responses.create(model="native", input="hello")
    for route in ("chat", "messages", "lead-alone"):
        with pytest.raises(openai.BadRequestError, match="previous_response_id") as refused:
            client.responses.create(model=route, input="go on", previous_response_id=first.id)
        assert "previous_response_id" == refused.value.param
    translated = client.responses.create(model="chat", input="hello")
    with pytest.raises(openai.BadRequestError, match="stored nowhere") as refused:
        client.responses.create(model="native", input="go on", previous_response_id=translated.id)
    assert ("previous_response_id", "previous_response_not_found") == (refused.value.param, refused.value.code)


NATIVE_ONLY: dict[str, Any] = {
    "tools[0]": {"tools": [{"type": "web_search"}]},
    "background": {"background": True},
    "conversation": {"conversation": "conv_1"},
    "prompt": {"prompt": {"id": "pmpt_1"}},
    "truncation": {"truncation": "auto"},
    "input[0].content[0].file_id": {
        "input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1", "detail": "auto"}]}]
    },
}


@pytest.mark.parametrize("name", NATIVE_ONLY)
@pytest.mark.parametrize("route", TRANSLATED)
def test_what_cannot_be_translated_is_refused_by_name(client: openai.OpenAI, route: str, name: str) -> None:
    """What only the API itself has is not dropped in silence."""
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**{"model": route, "input": "hello"} | NATIVE_ONLY[name])
    assert name == refused.value.param


def test_a_providers_own_tool_is_relayed(client: openai.OpenAI) -> None:
    """A search by the provider is told event for event, and its item comes with the answer."""
    told: Any = {"model": "native", "input": "use web_search", "tools": [{"type": "web_search"}]}
    events = list(client.responses.create(stream=True, **told))
    valid(events)
    assert "response.web_search_call.searching" in [event.type for event in events]
    answer = client.responses.create(**told)
    assert ["web_search_call", "message"] == [item.type for item in answer.output]


# errors


def test_errors_are_the_librarys_own_classes(client: openai.OpenAI) -> None:
    """A wrong key, an unknown route and a wrong field are the exceptions that programs catch."""
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="us-wrong").responses.create(model="chat", input="hello")
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="nowhere", input="hello")
    wrong: Any = {"model": "chat", "input": [{"role": "tool", "content": "x"}]}
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**wrong)
    assert "input[0].role" == refused.value.param


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_before_the_first_word_is_nobodys_business(
    stack: LocalStack, client: openai.OpenAI, fault: str
) -> None:
    """A lead that fails is replaced by a target of another protocol; a whole answer hides even a cut."""
    stack.simulators["openai"].set_fault(f"lead-{fault}", fault)
    answer = client.responses.create(model=f"lead-{fault}", input="count to 3")
    assert answer.output_text.endswith("count to 3 1 2 3")
    assert "anthropic" in answer.output_text


@pytest.mark.parametrize("spare", SPARES)
def test_an_answer_goes_on_where_a_native_one_broke_off(stack: LocalStack, client: openai.OpenAI, spare: str) -> None:
    """Relayed events and those of whoever goes on are one response: one id, one item, one numbering, one text."""
    lead = f"lead-{spare}"
    stack.simulators["openai"].set_fault(lead, "cut_midstream")
    events: list[Any] = list(client.responses.create(model=lead, input="recite to 30", stream=True))
    valid(events)
    final = events[-1]
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert "[simulated] " + " ".join(map(str, range(1, 31))) == said == final.response.output_text
    assert ("response.completed", events[0].response.id) == (final.type, final.response.id)
    assert 1 == sum(event.type == "response.output_item.added" for event in events)
    (resumed,) = final.response.understudy["resumed"]
    assert (lead, spare) == (resumed["from"], resumed["to"])


def test_a_continuation_does_not_lose_what_chat_has_no_place_for(stack: LocalStack, client: openai.OpenAI) -> None:
    """Who could be asked in chat's words to go on is asked in the caller's own for the same answer, tools and all."""
    stack.simulators["openai"].set_fault("lead-searches", "cut_midstream")
    told: Any = {"input": "recite to 30", "tools": [{"type": "web_search"}], "stream": True}
    *_, last = client.responses.create(model="lead-searches", **told)
    assert last.response.output_text.endswith(" 29 30")
    path, body = seen(stack, "prefilled")[-1]
    assert ("/v1/responses", [{"type": "web_search"}]) == (path, body["tools"])


def test_an_answer_that_nobody_can_finish_is_raised(stack: LocalStack, client: openai.OpenAI) -> None:
    """A cut after the first words is an exception, and no completed response comes before it."""
    for lead in ("lead-alone", "lead-alone-too"):
        stack.simulators["openai"].set_fault(lead, "cut_midstream")
    heard: list[str] = []
    stream = client.responses.create(model="lead-alone", input="count to 30", stream=True)
    with pytest.raises(openai.APIError, match="broke off in the middle of its answer"):
        heard.extend(event.type for event in stream)
    assert "response.output_text.delta" in heard
    assert not {"response.completed", "response.incomplete", "response.failed"} & set(heard)
