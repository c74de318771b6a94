// What the Node clients' scripts share: the cells on standard input, and one JSON line on standard output for each
// check: {"front", "wire", "check", "ok", "seconds", "detail"}.

import { isDeepStrictEqual, inspect } from "node:util";
import { json } from "node:stream/consumers";

export const QUESTION = "Are you there?";
export const MULTIBYTE = "Grüße aus Zürich: 你好, 👩🏽‍🚀 and 🇨🇭";
export const TOOL_QUESTION = "Ask get_weather.";
export const TOOLS_QUESTION = "Ask get_weather and get_time.";
export const TOOL_RESULTS = { get_weather: "sunny ☀", get_time: "noon" };
export const IMAGE =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
export const RECITE = "recite to 12";
export const RECITED = "[simulated] 1 2 3 4 5 6 7 8 9 10 11 12";
export const LONG = "recite to 40";
export const CITY = { city: "simulated city" };
export const PLACE = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
export const PERSON = { name: "simulated name", age: 1, tags: ["simulated tags"] };

export function same(expected, actual) {
  if (!isDeepStrictEqual(expected, actual)) {
    throw new Error(`expected ${inspect(expected)}, got ${inspect(actual)}`);
  }
}

export function holds(fact, what) {
  if (!fact) throw new Error(typeof what === "string" ? what : inspect(what));
}

/** The error that `run` rejects with, which must be of this class. */
export async function raised(kind, run) {
  let result;
  try {
    result = await run();
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error(`nothing was raised, the result is ${inspect(result)}`);
}

/** All that an async iterable gives. */
export async function all(iterable) {
  const found = [];
  for await (const one of iterable) found.push(one);
  return found;
}

class Cell {
  constructor(fields) {
    Object.assign(this, fields);
    this.baseURL = `${this.url}/v1`;
    // Whether it shows thinking with a signature; to others the wish is a hint, and they answer as they do.
    this.thinks = this.answers === "anthropic";
  }

  /** The route `faulty` has this fault while `run` runs. */
  async broken(fault, times, run) {
    await this.#set(fault, times);
    try {
      return await run();
    } finally {
      await this.#set(null, null);
    }
  }

  async #set(fault, times) {
    const body = JSON.stringify({ target: this.faulty, fault, times });
    const answer = await fetch(`${this.url}/_local/faults`, { method: "POST", body });
    holds(answer.ok, `the fault could not be set: ${answer.status}`);
  }

  /** The answer is this wire's to what was said. */
  answered(text, said = QUESTION, more = "") {
    this.#labelled(text, `You said: ${said}${more}`);
  }

  /** The answer is this wire's to these tool results. */
  told(text, ...results) {
    this.#labelled(text, `The tool answered: ${results.join("; ")}`);
  }

  #labelled(text, wanted) {
    const [label, ...rest] = (text ?? "").split("] ");
    holds(label.startsWith(`[simulated ${this.answers} provider, model `), `not ${this.answers}'s answer: ${text}`);
    same(wanted, rest.join("] "));
  }
}

/** Run the cells that standard input asks for; `fronts` has functions by front and check. */
export async function main(fronts) {
  const asked = await json(process.stdin);
  const cells = asked.cells.map((one) => new Cell({ ...one, url: asked.url, key: asked.key }));
  await Promise.all(cells.map((cell) => run(cell, fronts[cell.front] ?? {})));
}

async function run(cell, checks) {
  for (const name of cell.checks) {
    const began = performance.now();
    const detail = await tried(checks[name], cell);
    const seconds = Math.round(performance.now() - began) / 1000;
    const line = { front: cell.front, wire: cell.wire, check: name, ok: detail === null, seconds, detail: detail ?? "" };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}

/** Why the check failed, or null. */
async function tried(check, cell) {
  if (check === undefined) return "the script has no such check";
  try {
    await check(cell);
    return null;
  } catch (error) {
    const frames = (error.stack ?? "").match(/[a-z_]+\.mjs:\d+/g) ?? [];
    return `${error.name}: ${error.message} (${frames.join(", ")})`;
  }
}
