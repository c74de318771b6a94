// The Anthropic SDK for Node.

import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";
import * as c from "./checking.mjs";
import { all, holds, raised, same } from "./checking.mjs";

const Person = z.object({ name: z.string(), age: z.number(), tags: z.array(z.string()) });
const names = Object.keys(c.TOOL_RESULTS);
const TOOLS = names.map((name) => ({ name, description: `The ${name}.`, input_schema: c.PLACE }));
const THINKING = { type: "enabled", budget_tokens: 1024 };

function client(cell, options = {}) {
  return new Anthropic({ baseURL: cell.url, apiKey: cell.key, authToken: null, maxRetries: 0, timeout: 20_000, ...options });
}

function asked(cell, content = c.QUESTION, options = {}) {
  return { model: cell.model, max_tokens: 2048, messages: [{ role: "user", content }], ...options };
}

const ask = (cell, content, options) => client(cell).messages.create(asked(cell, content, options));
const textOf = (message) => message.content.filter((one) => one.type === "text").map((one) => one.text).join("");

function checked(cell, message) {
  cell.answered(textOf(message));
  same(["message", "assistant", "end_turn"], [message.type, message.role, message.stop_reason]);
  holds(message.usage.input_tokens > 0 && message.usage.output_tokens > 0, message.usage);
}

function uses(message) {
  same("tool_use", message.stop_reason);
  return message.content.filter((one) => one.type === "tool_use");
}

function results(calls) {
  const content = calls.map((one) => ({ type: "tool_result", tool_use_id: one.id, content: c.TOOL_RESULTS[one.name] }));
  return { role: "user", content };
}

function retry(fault, kind) {
  return async (cell) => {
    const body = asked(cell, c.QUESTION, { model: cell.faulty });
    await cell.broken(fault, null, () => raised(kind, () => client(cell).messages.create(body)));
    await cell.broken(fault, 1, async () =>
      cell.answered(textOf(await client(cell, { maxRetries: 2 }).messages.create(body))),
    );
  };
}

const CHECKS = {
  async models(cell) {
    const listed = await all(client(cell).models.list());
    holds(listed.some((one) => one.id === cell.model), "the route is not in the list");
    same(cell.model, (await client(cell).models.retrieve(cell.model)).id);
  },
  async chat(cell) {
    const system = [{ type: "text", text: "Be short.", cache_control: { type: "ephemeral" } }];
    checked(cell, await ask(cell, c.QUESTION, { system }));
  },
  async stream(cell) {
    const stream = client(cell).messages.stream(asked(cell));
    const events = await all(stream);
    same(["message_start", "message_stop"], [events[0].type, events.at(-1).type]);
    checked(cell, await stream.finalMessage());
  },
  async tools(cell) {
    const first = [{ role: "user", content: c.TOOL_QUESTION }];
    const message = await ask(cell, null, { messages: first, tools: TOOLS });
    const calls = uses(message);
    same([["get_weather", c.CITY]], calls.map((one) => [one.name, one.input]));
    const messages = [...first, { role: "assistant", content: message.content }, results(calls)];
    cell.told(textOf(await ask(cell, null, { messages, tools: TOOLS })), "sunny ☀");
  },
  async tools_stream(cell) {
    const first = [{ role: "user", content: c.TOOLS_QUESTION }];
    const stream = (messages) => client(cell).messages.stream(asked(cell, null, { messages, tools: TOOLS })).finalMessage();
    const message = await stream(first);
    const calls = uses(message);
    same(names, calls.map((one) => one.name));
    same([c.CITY, c.CITY], calls.map((one) => one.input));
    cell.told(textOf(await stream([...first, { role: "assistant", content: message.content }, results(calls)])), "sunny ☀", "noon");
  },
  async structured(cell) {
    const output_config = { format: zodOutputFormat(Person) };
    same(c.PERSON, (await client(cell).messages.parse(asked(cell, "Who?", { output_config }))).parsed_output);
  },
  async image(cell) {
    const source = { type: "base64", media_type: "image/png", data: c.IMAGE };
    const message = await ask(cell, [{ type: "text", text: c.QUESTION }, { type: "image", source }]);
    cell.answered(textOf(message), c.QUESTION, " (with 1 image)");
  },
  async multibyte(cell) {
    cell.answered(textOf(await ask(cell, c.MULTIBYTE)), c.MULTIBYTE);
    cell.answered(await client(cell).messages.stream(asked(cell, c.MULTIBYTE)).finalText(), c.MULTIBYTE);
  },
  async headers(cell) {
    const { data, response, request_id } = await ask(cell).withResponse();
    holds(response.headers.get("x-understudy-target"), "no header x-understudy-target");
    same([response.headers.get("request-id"), data._request_id], [request_id, request_id]);
  },
  async unauthenticated(cell) {
    const error = await raised(Anthropic.AuthenticationError, () =>
      client(cell, { apiKey: "wrong" }).messages.create(asked(cell)),
    );
    same("authentication_error", error.error.error.type);
    holds(error.requestID, "no request id");
  },
  async unknown_model(cell) {
    const error = await raised(Anthropic.NotFoundError, () => ask(cell, c.QUESTION, { model: "no-such-model" }));
    same(["error", "not_found_error"], [error.error.type, error.error.error.type]);
  },
  async invalid(cell) {
    const error = await raised(Anthropic.BadRequestError, () => ask(cell, c.QUESTION, { tool_choice: 7 }));
    same("invalid_request_error", error.error.error.type);
  },
  async context_length(cell) {
    await cell.broken("context_length", null, () =>
      raised(Anthropic.BadRequestError, () => ask(cell, c.QUESTION, { model: cell.faulty })),
    );
  },
  retry_429: retry("http_429_bare", Anthropic.RateLimitError),
  retry_503: retry("http_503", Anthropic.InternalServerError),
  async timeout(cell) {
    const hasty = client(cell, { timeout: 400 });
    await cell.broken("hang", null, () =>
      raised(Anthropic.APIConnectionTimeoutError, () =>
        hasty.messages.create(asked(cell, c.QUESTION, { model: cell.faulty })),
      ),
    );
  },
  async cut(cell) {
    await cell.broken("cut_midstream", null, async () => {
      const stream = await ask(cell, c.LONG, { model: cell.faulty, stream: true });
      await raised(Anthropic.APIError, () => all(stream));
    });
  },
  async resume(cell) {
    const message = await client(cell).messages.stream(asked(cell, c.RECITE, { model: cell.resumed })).finalMessage();
    same([c.RECITED, "end_turn"], [textOf(message), message.stop_reason]);
  },
  async count_tokens(cell) {
    const messages = [{ role: "user", content: c.QUESTION }];
    holds((await client(cell).messages.countTokens({ model: cell.model, messages })).input_tokens > 0, "no tokens");
  },
  async thinking(cell) {
    const first = [{ role: "user", content: c.TOOL_QUESTION }];
    const options = { tools: TOOLS, thinking: THINKING };
    const message = await ask(cell, null, { messages: first, ...options });
    const thought = message.content.find((one) => one.type === "thinking");
    holds((thought?.thinking && thought.signature) || !cell.thinks, message.content);
    const messages = [...first, { role: "assistant", content: message.content }, results(uses(message))];
    cell.told(textOf(await client(cell).messages.stream(asked(cell, null, { messages, ...options })).finalMessage()), "sunny ☀");
  },
  async other_key_header(cell) {
    for (const options of [{ apiKey: null, authToken: cell.key }, { defaultHeaders: { "x-api-key": cell.key, authorization: null } }]) {
      cell.answered(textOf(await client(cell, options).messages.create(asked(cell))));
    }
  },
};

await c.main({ messages: CHECKS });
