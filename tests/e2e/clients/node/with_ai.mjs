// Vercel's AI SDK: text, tools and objects over its OpenAI, OpenAI-compatible and Anthropic providers.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, Output, RetryError, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import * as c from "./checking.mjs";
import { holds, raised, same } from "./checking.mjs";

const Person = z.object({ name: z.string(), age: z.number(), tags: z.array(z.string()) });
const place = z.object({ city: z.string() });
const TOOLS = Object.fromEntries(
  Object.entries(c.TOOL_RESULTS).map(([name, result]) => [
    name,
    tool({ description: `The ${name}.`, inputSchema: place, execute: async () => result }),
  ]),
);

function provider(cell, apiKey = cell.key) {
  const options = { baseURL: cell.baseURL, apiKey };
  if (process.env.UNDERSTUDY_CLIENT === "ai-openai-compatible") {
    const all = { ...options, name: "router", includeUsage: true, supportsStructuredOutputs: true };
    const made = createOpenAICompatible(all);
    return { model: (name) => made.chatModel(name), embedder: (name) => made.embeddingModel(name) };
  }
  if (cell.front === "messages") return { model: createAnthropic(options) };
  const made = createOpenAI(options);
  const model = (name) => (cell.front === "chat" ? made.chat(name) : made.responses(name));
  return { model, embedder: (name) => made.embedding(name) };
}

function asked(cell, { name = cell.model, key, ...options } = {}) {
  const prompt = options.messages ? {} : { prompt: c.QUESTION };
  return { model: provider(cell, key).model(name), maxRetries: 0, maxOutputTokens: 2048, ...prompt, ...options };
}

const ask = (cell, options) => generateText(asked(cell, options));

/** The text of a stream and its result; raises what the stream says went wrong. */
async function streamed(cell, options) {
  const result = streamText(asked(cell, { onError: () => {}, ...options }));
  let text = "";
  for await (const part of result.fullStream) {
    if (part.type === "text-delta") text += part.text;
    if (part.type === "start-step") text = "";
    if (part.type === "error") throw part.error;
  }
  return { text, usage: await result.usage, finishReason: await result.finishReason, steps: await result.steps };
}

function used({ inputTokens, outputTokens, totalTokens }) {
  holds(inputTokens > 0 && outputTokens > 0, `${inputTokens} and ${outputTokens} tokens`);
  same(inputTokens + outputTokens, totalTokens);
}

const called = (steps) => steps.flatMap((step) => step.toolCalls.map((one) => [one.toolName, one.input]));

function refused(status, options = {}) {
  return async (cell) => {
    const given = typeof options === "function" ? options(cell) : options;
    same(status, (await raised(APICallError, () => ask(cell, given))).statusCode);
  };
}

function broken(fault, times, check) {
  return (cell) => cell.broken(fault, times, () => check(cell));
}

const onFaulty = (options) => (cell) => ({ name: cell.faulty, ...options });

function retry(fault, status) {
  return async (cell) => {
    await broken(fault, null, refused(status, onFaulty()))(cell);
    // It waits 2 s by itself; the errors it retries are what is tried here.
    await cell.broken(fault, 1, async () => cell.answered((await ask(cell, { name: cell.faulty, maxRetries: 1 })).text));
  };
}

const CHECKS = {
  async chat(cell) {
    const done = await ask(cell, { system: "Be short." });
    cell.answered(done.text);
    same("stop", done.finishReason);
    used(done.usage);
  },
  async stream(cell) {
    const done = await streamed(cell);
    cell.answered(done.text);
    same("stop", done.finishReason);
    used(done.usage);
  },
  async tools(cell) {
    const done = await ask(cell, { prompt: c.TOOL_QUESTION, tools: TOOLS, stopWhen: stepCountIs(3) });
    same([["get_weather", c.CITY]], called(done.steps));
    cell.told(done.text, "sunny ☀");
  },
  async tools_stream(cell) {
    const done = await streamed(cell, { prompt: c.TOOLS_QUESTION, tools: TOOLS, stopWhen: stepCountIs(3) });
    same([["get_weather", c.CITY], ["get_time", c.CITY]], called(done.steps));
    cell.told(done.text, "sunny ☀", "noon");
  },
  async structured(cell) {
    same(c.PERSON, (await ask(cell, { prompt: "Who?", output: Output.object({ schema: Person }) })).output);
  },
  async image(cell) {
    const content = [{ type: "text", text: c.QUESTION }, { type: "image", image: c.IMAGE, mediaType: "image/png" }];
    cell.answered((await ask(cell, { messages: [{ role: "user", content }] })).text, c.QUESTION, " (with 1 image)");
  },
  async multibyte(cell) {
    cell.answered((await ask(cell, { prompt: c.MULTIBYTE })).text, c.MULTIBYTE);
    cell.answered((await streamed(cell, { prompt: c.MULTIBYTE })).text, c.MULTIBYTE);
  },
  async headers(cell) {
    const { headers } = (await ask(cell)).response;
    holds(headers["x-request-id"] && headers["x-understudy-target"], headers);
  },
  unauthenticated: refused(401, { key: "wrong" }),
  unknown_model: refused(404, { name: "no-such-model" }),
  invalid: refused(400, { tools: { "no name!": TOOLS.get_time } }),
  context_length: broken("context_length", null, refused(400, onFaulty())),
  retry_429: retry("http_429_bare", 429),
  retry_503: retry("http_503", 503),
  async timeout(cell) {
    const abortSignal = AbortSignal.timeout(400);
    await cell.broken("hang", null, () => raised(DOMException, () => ask(cell, { name: cell.faulty, abortSignal })));
  },
  async cut(cell) {
    await cell.broken("cut_midstream", null, async () => {
      try {
        const done = await streamed(cell, { name: cell.faulty, prompt: c.LONG });
        holds(done.finishReason === "error", `the stream ends with ${done.finishReason}`);
      } catch (error) {
        holds(!(error instanceof RetryError), error);
      }
    });
  },
  async resume(cell) {
    const done = await streamed(cell, { name: cell.resumed, prompt: c.RECITE });
    same([c.RECITED, "stop"], [done.text, done.finishReason]);
  },
  async embeddings(cell) {
    const model = provider(cell).embedder(cell.embeddings);
    const { embeddings, usage } = await embedMany({ model, values: [c.QUESTION, c.MULTIBYTE], maxRetries: 0 });
    same(2, embeddings.length);
    holds(embeddings[0].length > 0 && usage.tokens > 0, usage);
  },
  async thinking(cell) {
    const anthropic = { thinking: { type: "enabled", budgetTokens: 1024 } };
    const options = { prompt: c.TOOL_QUESTION, tools: TOOLS, stopWhen: stepCountIs(3), providerOptions: { anthropic } };
    const done = await ask(cell, options);
    holds(done.steps[0].reasoningText || !cell.thinks, done.steps[0].content);
    cell.told(done.text, "sunny ☀");
  },
};

await c.main({ chat: CHECKS, responses: CHECKS, messages: CHECKS });
