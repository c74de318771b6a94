// The OpenAI SDK for Node, chat completions and responses.

import OpenAI, { APIConnectionTimeoutError } from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import * as c from "./checking.mjs";
import { all, holds, raised, same } from "./checking.mjs";

const Person = z.object({ name: z.string(), age: z.number(), tags: z.array(z.string()) });
const names = Object.keys(c.TOOL_RESULTS);
const CHAT_TOOLS = names.map((name) => ({ type: "function", function: { name, parameters: c.PLACE } }));
const TOOLS = names.map((name) => ({ type: "function", name, parameters: c.PLACE, strict: true }));

function client(cell, options = {}) {
  return new OpenAI({ baseURL: cell.baseURL, apiKey: cell.key, maxRetries: 0, timeout: 20_000, ...options });
}

const user = (content) => [{ role: "user", content }];

function chat(cell, text = c.QUESTION, options = {}) {
  return client(cell).chat.completions.create({ model: cell.model, messages: user(text), ...options });
}

function respond(cell, input = c.QUESTION, options = {}) {
  return client(cell).responses.create({ model: cell.model, input, ...options });
}

function usage(given, made, total) {
  holds(given > 0 && made > 0, `${given} and ${made} tokens`);
  same(given + made, total);
}

const words = (chunks) => chunks.map((one) => one.choices[0]?.delta.content ?? "").join("");
const deltas = (events) => events.filter((one) => one.type === "response.output_text.delta").map((one) => one.delta).join("");

// Chat completions

const CHAT = {
  async models(cell) {
    const listed = await all(client(cell).models.list());
    holds(listed.some((one) => one.id === cell.model), "the route is not in the list");
    same(cell.model, (await client(cell).models.retrieve(cell.model)).id);
  },
  async chat(cell) {
    const done = await chat(cell);
    cell.answered(done.choices[0].message.content);
    same("stop", done.choices[0].finish_reason);
    usage(done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens);
  },
  async stream(cell) {
    const chunks = await all(await chat(cell, c.QUESTION, { stream: true, stream_options: { include_usage: true } }));
    cell.answered(words(chunks));
    const used = chunks.at(-1).usage;
    usage(used.prompt_tokens, used.completion_tokens, used.total_tokens);
  },
  async tools(cell) {
    const asked = user(c.TOOL_QUESTION);
    const { message, finish_reason } = (await chat(cell, null, { messages: asked, tools: CHAT_TOOLS })).choices[0];
    same("tool_calls", finish_reason);
    same([["get_weather", c.CITY]], message.tool_calls.map((one) => [one.function.name, JSON.parse(one.function.arguments)]));
    const messages = [...asked, message, ...chatResults(message.tool_calls)];
    cell.told((await chat(cell, null, { messages, tools: CHAT_TOOLS })).choices[0].message.content, "sunny ☀");
  },
  async tools_stream(cell) {
    const asked = user(c.TOOLS_QUESTION);
    const options = { model: cell.model, messages: asked, tools: CHAT_TOOLS };
    const message = await client(cell).chat.completions.stream(options).finalMessage();
    same(names, message.tool_calls.map((one) => one.function.name));
    same([c.CITY, c.CITY], message.tool_calls.map((one) => JSON.parse(one.function.arguments)));
    const messages = [...asked, message, ...chatResults(message.tool_calls)];
    cell.told(words(await all(await chat(cell, null, { messages, tools: CHAT_TOOLS, stream: true }))), "sunny ☀", "noon");
  },
  async structured(cell) {
    const response_format = zodResponseFormat(Person, "person");
    const asked = { model: cell.model, messages: user("Who?"), response_format };
    same(c.PERSON, (await client(cell).chat.completions.parse(asked)).choices[0].message.parsed);
  },
  async image(cell) {
    const image_url = { url: `data:image/png;base64,${c.IMAGE}` };
    const done = await chat(cell, [{ type: "text", text: c.QUESTION }, { type: "image_url", image_url }]);
    cell.answered(done.choices[0].message.content, c.QUESTION, " (with 1 image)");
  },
  async multibyte(cell) {
    cell.answered((await chat(cell, c.MULTIBYTE)).choices[0].message.content, c.MULTIBYTE);
    cell.answered(words(await all(await chat(cell, c.MULTIBYTE, { stream: true }))), c.MULTIBYTE);
  },
  async headers(cell) {
    const { data, response, request_id } = await chat(cell).withResponse();
    headersShown(response, request_id, data._request_id);
  },
  async cut(cell) {
    await cell.broken("cut_midstream", null, async () => {
      const stream = await chat(cell, c.LONG, { model: cell.faulty, stream: true });
      await raised(OpenAI.APIError, () => all(stream));
    });
  },
  async resume(cell) {
    const chunks = await all(await chat(cell, c.RECITE, { model: cell.resumed, stream: true }));
    same(c.RECITED, words(chunks));
    same("stop", chunks.at(-1).choices[0].finish_reason);
  },
  async embeddings(cell) {
    const one = await client(cell).embeddings.create({ model: cell.embeddings, input: c.QUESTION });
    holds(one.data[0].embedding.every((value) => Number.isFinite(value)) && one.usage.total_tokens > 0, one);
    const two = await client(cell).embeddings.create({ model: cell.embeddings, input: [c.QUESTION, c.MULTIBYTE] });
    same([0, 1], two.data.map((each) => each.index));
    same(one.data[0].embedding.length, two.data[1].embedding.length);
  },
};

function chatResults(calls) {
  return calls.map((one) => ({ role: "tool", tool_call_id: one.id, content: c.TOOL_RESULTS[one.function.name] }));
}

function headersShown(response, ...ids) {
  holds(response.headers.get("x-understudy-target"), "no header x-understudy-target");
  for (const id of ids) same(response.headers.get("x-request-id"), id);
}

// Responses

const RESPONSES = {
  async chat(cell) {
    const done = await respond(cell, c.QUESTION, { instructions: "Be short." });
    cell.answered(done.output_text);
    same("completed", done.status);
    usage(done.usage.input_tokens, done.usage.output_tokens, done.usage.total_tokens);
  },
  async stream(cell) {
    const events = await all(await respond(cell, c.QUESTION, { stream: true }));
    cell.answered(deltas(events));
    same(["response.created", "response.completed"], [events[0].type, events.at(-1).type]);
    const used = events.at(-1).response.usage;
    usage(used.input_tokens, used.output_tokens, used.total_tokens);
  },
  async tools(cell) {
    const asked = user(c.TOOL_QUESTION);
    const done = await respond(cell, asked, { tools: TOOLS });
    const calls = callsIn(done);
    same([["get_weather", c.CITY]], calls.map((one) => [one.name, JSON.parse(one.arguments)]));
    cell.told((await respond(cell, [...asked, ...done.output, ...outputs(calls)], { tools: TOOLS })).output_text, "sunny ☀");
  },
  async tools_stream(cell) {
    const asked = user(c.TOOLS_QUESTION);
    const done = await client(cell).responses.stream({ model: cell.model, input: asked, tools: TOOLS }).finalResponse();
    const calls = callsIn(done).map(({ call_id, name, arguments: given }) => ({
      type: "function_call", call_id, name, arguments: given,
    }));
    same(names, calls.map((one) => one.name));
    same([c.CITY, c.CITY], calls.map((one) => JSON.parse(one.arguments)));
    const input = [...asked, ...calls, ...outputs(calls)];
    cell.told(deltas(await all(await respond(cell, input, { tools: TOOLS, stream: true }))), "sunny ☀", "noon");
  },
  async structured(cell) {
    const text = { format: zodTextFormat(Person, "person") };
    same(c.PERSON, (await client(cell).responses.parse({ model: cell.model, input: "Who?", text })).output_parsed);
  },
  async image(cell) {
    const image = { type: "input_image", image_url: `data:image/png;base64,${c.IMAGE}`, detail: "auto" };
    const done = await respond(cell, user([{ type: "input_text", text: c.QUESTION }, image]));
    cell.answered(done.output_text, c.QUESTION, " (with 1 image)");
  },
  async multibyte(cell) {
    cell.answered((await respond(cell, c.MULTIBYTE)).output_text, c.MULTIBYTE);
    cell.answered(deltas(await all(await respond(cell, c.MULTIBYTE, { stream: true }))), c.MULTIBYTE);
  },
  async headers(cell) {
    const { data, response, request_id } = await respond(cell).withResponse();
    headersShown(response, request_id, data._request_id);
  },
  async cut(cell) {
    await cell.broken("cut_midstream", null, async () => {
      let kinds;
      try {
        kinds = (await all(await respond(cell, c.LONG, { model: cell.faulty, stream: true }))).map((one) => one.type);
      } catch (error) {
        holds(error instanceof OpenAI.APIError, error);
        return;
      }
      holds(["error", "response.failed"].includes(kinds.at(-1)), `the stream ends with ${kinds.at(-1)}`);
      holds(!kinds.includes("response.completed"), "the stream says that it is complete");
    });
  },
  async resume(cell) {
    const events = await all(await respond(cell, c.RECITE, { model: cell.resumed, stream: true }));
    same(c.RECITED, deltas(events));
    same("response.completed", events.at(-1).type);
  },
};

const callsIn = (done) => done.output.filter((one) => one.type === "function_call");
const outputs = (calls) =>
  calls.map((one) => ({ type: "function_call_output", call_id: one.call_id, output: c.TOOL_RESULTS[one.name] }));

// Both

async function ask(cell, options = {}, body = {}) {
  if (cell.front === "responses") {
    const asked = { model: cell.model, input: c.QUESTION, ...body };
    return (await client(cell, options).responses.create(asked)).output_text;
  }
  const asked = { model: cell.model, messages: user(c.QUESTION), ...body };
  return (await client(cell, options).chat.completions.create(asked)).choices[0].message.content;
}

function retry(fault, kind) {
  return async (cell) => {
    const body = { model: cell.faulty };
    await cell.broken(fault, null, () => raised(kind, () => ask(cell, {}, body)));
    await cell.broken(fault, 1, async () => cell.answered(await ask(cell, { maxRetries: 2 }, body)));
  };
}

const BOTH = {
  async unauthenticated(cell) {
    const error = await raised(OpenAI.AuthenticationError, () => ask(cell, { apiKey: "wrong" }));
    holds(error.requestID, "no request id");
  },
  async unknown_model(cell) {
    same("model_not_found", (await raised(OpenAI.NotFoundError, () => ask(cell, {}, { model: "no-such-model" }))).code);
  },
  async invalid(cell) {
    same("temperature", (await raised(OpenAI.BadRequestError, () => ask(cell, {}, { temperature: "hot" }))).param);
  },
  async context_length(cell) {
    const error = await cell.broken("context_length", null, () =>
      raised(OpenAI.BadRequestError, () => ask(cell, {}, { model: cell.faulty })),
    );
    same("context_length_exceeded", error.code);
  },
  retry_429: retry("http_429_bare", OpenAI.RateLimitError),
  retry_503: retry("http_503", OpenAI.InternalServerError),
  async timeout(cell) {
    await cell.broken("hang", null, () =>
      raised(APIConnectionTimeoutError, () => ask(cell, { timeout: 400 }, { model: cell.faulty })),
    );
  },
};

await c.main({ chat: { ...BOTH, ...CHAT }, responses: { ...BOTH, ...RESPONSES } });
