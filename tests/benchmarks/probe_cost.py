"""What probes of one target cost a day at the shipped defaults, by kind, for models of three prices.

    python -m tests.benchmarks.probe_cost

Prompts are counted at four characters to a token, without the definitions of tools.  `at most` takes every answer as
long as it may be, as the allowance is checked before a probe; `expected` those that are right: a word for a health
check, the example of each question, a token for a drift prompt.  Health checks are those of a target without traffic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from infra.local.simulators.golden import examples
from understudy.catalog import Catalog, HealthSettings, Price, Provider, Target
from understudy.chat.request import ChatRequest, chat_request
from understudy.chat.unary import UnaryRequest
from understudy.golden.drift import PROMPTS, drift_body
from understudy.golden.item import Item, body
from understudy.golden.sets import built_in
from understudy.routing.limits import CHARACTERS
from understudy.services.probe_call import liveness
from understudy.services.spend import estimated

DAY = 86_400
PRICES = {
    "small: $0.10 in, $0.40 out": Price(Decimal("0.10"), Decimal("0.40")),
    "middle: $1 in, $5 out": Price(Decimal(1), Decimal(5)),
    "large: $5 in, $25 out": Price(Decimal(5), Decimal(25)),
}
"""US dollars for one million tokens: about those of the small, middle and large models of late 2025."""
SETTINGS = HealthSettings()


@dataclass(frozen=True)
class Line:
    """Calls of one kind a day: prompt tokens of all, answer tokens at most and as expected, dollars of both."""

    kind: str
    calls: int
    most: Decimal
    expected: Decimal


def lines(price: Price) -> Iterator[Line]:
    """By kind of probe.  Each question of a set, and each drift prompt, is asked equally often."""
    target = Target("t", Provider("p", "openai", "https://p.example/v1"), "m", price=price)
    checks = int(DAY / SETTINGS.probe_period)
    alive = liveness(target, Catalog(1, {}, {}))
    yield _line("liveness", checks, [(alive, 2)], target)
    quality = int(DAY / SETTINGS.quality.period) * SETTINGS.quality.items
    asked = [(chat_request(body(item, "m")), _tokens(item)) for item in built_in().items]
    yield _line("quality", quality, asked, target)
    drift = int(DAY / SETTINGS.drift.period) * SETTINGS.drift.prompts
    yield _line("drift", drift, [(chat_request(drift_body(prompt, "m")), 1) for prompt in PROMPTS], target)


def _line(kind: str, calls: int, asked: list[tuple[ChatRequest | UnaryRequest, int]], target: Target) -> Line:
    each = Decimal(calls) / len(asked)
    price = target.price or Price(Decimal(0), Decimal(0))
    expected = sum(
        (-(-request.size // CHARACTERS) * price.input_per_million + answer * price.output_per_million) / 1_000_000
        for request, answer in asked
    )
    return Line(kind, calls, each * estimated((request for request, _ in asked), target), each * expected)


def _tokens(item: Item) -> int:
    """Those of a right answer."""
    right = examples()[str(item.messages[-1]["content"]).strip()].right if item.messages[-1]["role"] == "user" else ""
    return max(1, -(-len(str(right)) // CHARACTERS))


def main() -> None:
    for name, price in PRICES.items():
        found = list(lines(price))
        print(f"{name} (per million tokens)")
        for line in found:
            print(
                f"  {line.kind:<9} {line.calls:5d} calls a day  ${line.expected:.4f} expected, ${line.most:.4f} at most"
            )
        expected, most = sum(one.expected for one in found), sum(one.most for one in found)
        print(f"  together  a day              ${expected:.4f} expected, ${most:.4f} at most; allowance $1")
    core = built_in()
    confirm = min(SETTINGS.quality.confirm_items, len(core.items)) / len(core.items)
    for name, price in PRICES.items():
        quality = next(line for line in lines(price) if line.kind == "quality")
        whole = quality.expected / quality.calls * len(core.items) * Decimal(confirm)
        print(f"a run that confirms an alarm, {name}: ${whole:.4f}")


if __name__ == "__main__":
    main()
