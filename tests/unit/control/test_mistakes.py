"""What is said about the usual mistakes, word by word."""

from __future__ import annotations

import re

import pytest

from tests.unit.control.documents import changed, problems

KEY = "sk-proj-Zx81kfPq0aLmWn27Tt5Bv9Rc"

MISTAKES = {
    "dangling target": (
        "[lead, second]",
        "[laed, second]",
        "routes.chat.targets[0] (line 11, column 15): there is no target `laed`. Fix: did you mean `lead`?",
    ),
    "dangling provider": (
        "provider: alpha, model: big",
        "provider: omega, model: big",
        "targets.lead.provider (line 7, column 10): there is no provider `omega`. Fix: choose one of `alpha`.",
    ),
    "unknown field": (
        "schema: 1",
        "schema: 1\ndefaults: {limits: {stall: 5}}",
        "defaults.limits.stall (line 2, column 21): there is no field `stall` here. Fix: did you mean `stall_s`?",
    ),
    "missing field": (
        "    wire: openai\n",
        "",
        "providers.alpha.wire (line 3, column 3): is missing. Fix: write `wire: openai`.",
    ),
    "unknown wire": (
        "wire: openai",
        "wire: opneai",
        "providers.alpha.wire (line 4, column 5): there is no wire `opneai`. Fix: did you mean `openai`?",
    ),
    "unknown schema": (
        "schema: 1",
        "schema: 2",
        "schema (line 1, column 1): this software does not know schema 2. Fix: write `schema: 1`.",
    ),
    "plain http": (
        "https://alpha",
        "http://alpha",
        "providers.alpha.base_url (line 5, column 5): `http://alpha.example/v1` is not encrypted. "
        "Fix: use `https://`; plain http is for loopback hosts only.",
    ),
    "plain http of a status page": (
        "    wire: openai\n",
        "    wire: openai\n    status_page: http://status.example/summary.json\n",
        "providers.alpha.status_page (line 5, column 5): `http://status.example/summary.json` is not encrypted. "
        "Fix: use `https://`; plain http is for loopback hosts only.",
    ),
    "shortest wait above the longest": (
        "schema: 1",
        "schema: 1\ndefaults: {limits: {stall_s: 3, stall_min_s: 4}}",
        "defaults.limits.stall_min_s (line 2, column 33): stall_min_s (4) is longer than stall_s (3). "
        "Fix: set it to 3 or less.",
    ),
    "open times that fall": (
        "schema: 1",
        "schema: 1\nhealth: {breaker: {open_steady_s: 61}}",
        "health.breaker.open_steady_s (line 2, column 20): open_steady_s (61) is longer than open_max_s (60). "
        "Fix: set `open_steady_s` to 60 or less.",
    ),
    "a budget of nothing": (
        "schema: 1",
        'schema: 1\ndefaults: {limits: {max_cost_usd: "0.00"}}',
        "defaults.limits.max_cost_usd (line 2, column 21): `0.00` is not a budget. "
        'Fix: write US dollars for one request, such as "0.05".',
    ),
    "a prefill that the wire does not have": (
        "wire: openai\n    base_url: https://alpha.example/v1\ntargets:\n  lead: {provider: alpha, model: big}",
        "wire: anthropic\n    base_url: https://alpha.example/v1\ntargets:\n"
        "  lead: {provider: alpha, model: big, capabilities: {prefill: prefix}}",
        "targets.lead.capabilities.prefill (line 7, column 54): `prefix` does not exist on the wire `anthropic`. "
        "Fix: write `message`, or `none`.",
    ),
    "bare boolean as text": (
        "model: big}",
        "model: big, data: {jurisdictions: [no]}}",
        "targets.lead.data.jurisdictions[0] (line 7, column 62): expected text, but YAML reads the bare word "
        '`no` as a boolean. Fix: quote it: "no".',
    ),
    "bare boolean as target": (
        "[lead, second]",
        "[lead, on]",
        "routes.chat.targets[1] (line 11, column 21): expected the name of a target, but YAML reads the bare "
        'word `on` as a boolean. Fix: quote it: "on".',
    ),
    "bare boolean as name": (
        "  second:",
        "  no:",
        'targets.no (line 8, column 3): the name `no` is read by YAML as a boolean, not as text. Fix: quote it: "no".',
    ),
    "number as text": (
        "model: big",
        "model: 4.10",
        "targets.lead.model (line 7, column 27): expected text, but YAML reads the bare word `4.10` as a "
        'number. Fix: quote it: "4.10".',
    ),
    "text as boolean": (
        "wire: openai",
        'wire: openai\n    simulated: "yes"',
        "providers.alpha.simulated (line 5, column 5): expected true or false, found `yes`. "
        "Fix: write `true` or `false`, without quotes.",
    ),
    "unit in a number": (
        "schema: 1",
        "schema: 1\ndefaults: {limits: {stall_s: 5s}}",
        "defaults.limits.stall_s (line 2, column 21): expected a number, found `5s`. "
        "Fix: write seconds as a plain number, such as 5.",
    ),
    "out of range": (
        "schema: 1",
        "schema: 1\ndefaults: {limits: {attempts_per_request: 11}}",
        "defaults.limits.attempts_per_request (line 2, column 21): must be at most 10, found `11`. "
        "Fix: write at most 10; the default is 4.",
    ),
    "duplicate name": (
        "  second:",
        "  lead:",
        "targets.lead (line 8, column 3): `lead` is written twice, first on line 7. Fix: rename or remove one of them.",
    ),
    "target twice": (
        "[lead, second]",
        "[lead, {target: lead}]",
        "routes.chat.targets[1].target (line 11, column 22): the target `lead` is on this route already, as "
        "targets[0]. Fix: name each target once; retries are set in `limits`.",
    ),
    "idle weight": (
        "[lead, second]",
        "[lead, {target: second, weight: 3}]",
        "routes.chat.targets[1].weight (line 11, column 38): weight has no effect: no other target of this "
        "route has order 2. Fix: remove it, or give another target the same `order`.",
    ),
    "idle weight of a strategy": (
        "[lead, second]",
        "[lead, {target: second, weight: 3}]\n    strategy: fastest",
        "routes.chat.targets[1].weight (line 11, column 38): weight has no effect: the strategy `fastest` draws "
        "nothing. Fix: remove it.",
    ),
    "floor without its strategy": (
        "[lead, second]",
        "[lead, second]\n    min_quality: 0.8",
        "routes.chat.min_quality (line 12, column 5): min_quality has no effect: it belongs to the strategy "
        "`cheapest`. Fix: remove it, or write `strategy: cheapest`.",
    ),
    "ceiling without its strategy": (
        "[lead, second]",
        '[lead, second]\n    strategy: cheapest\n    max_price_per_million: "3"',
        "routes.chat.max_price_per_million (line 13, column 5): max_price_per_million has no effect: it belongs to the "
        "strategy `best`. Fix: remove it, or write `strategy: best`.",
    ),
    "unknown canary": (
        "[lead, second]",
        "[lead, second]\n    canary: {target: secondd, share: 0.1}",
        "routes.chat.canary.target (line 12, column 14): there is no target `secondd`. Fix: did you mean `second`?",
    ),
    "score of nothing": (
        "schema: 1",
        "schema: 1\nhealth: {score: {availability: 0, latency: 0, quality: 0, cost: 0}}",
        "health.score (line 2, column 10): every weight is 0. Fix: give one of them a weight above 0.",
    ),
    "no targets": (
        "[lead, second]",
        "[]",
        "routes.chat.targets (line 11, column 5): the route has no targets. "
        "Fix: name at least one target, such as `targets: [lead, understudy]`.",
    ),
    "first token after the end": (
        "schema: 1",
        "schema: 1\ndefaults: {limits: {first_token_s: 200}}",
        "defaults.limits.first_token_s (line 2, column 21): first_token_s (200) is longer than request_s "
        "(120). "
        "Fix: set `first_token_s` to 120 or less, or raise `request_s`.",
    ),
    "request too short on one route": (
        "[lead, second]",
        "[lead, second]\n    limits: {request_s: 8}",
        "routes.chat.limits.request_s (line 12, column 14): first_token_s (10) is longer than request_s (8). "
        "Fix: set `first_token_s` to 8 or less, or raise `request_s`.",
    ),
    "unmet constraints": (
        "[lead, second]",
        "[lead, second]\n    constraints: {jurisdictions: [eu], max_retention_days: 0, no_training: true}",
        "routes.chat.constraints (line 12, column 5): no target of this route meets them: lead "
        "(jurisdictions: "
        "not declared, max_retention_days: retention not declared, no_training: training not declared); "
        "second (jurisdictions: not declared, max_retention_days: retention not declared, no_training: "
        "training "
        "not declared). Fix: declare the facts under `data` of a target that meets them, or relax the "
        "constraints.",
    ),
    "unquoted price": (
        "model: big}",
        'model: big, price: {input_per_million: 2.50, output_per_million: "10"}}',
        "targets.lead.price.input_per_million (line 7, column 47): expected text, but YAML reads the "
        "bare word "
        '`2.50` as a number. Fix: quote it: "2.50".',
    ),
    "falling ramp": (
        "schema: 1",
        "schema: 1\nhealth: {breaker: {ramp: [0.5, 0.1]}}",
        "health.breaker.ramp (line 2, column 20): the steps must rise. Fix: write [0.1, 0.5].",
    ),
    "credential as fixed header": (
        "wire: openai",
        "wire: openai\n    headers: {X-Api-Key: abc}",
        "providers.alpha.headers.X-Api-Key (line 5, column 15): the header `X-Api-Key` carries a credential. "
        "Fix: write it under `auth` of this provider.",
    ),
    "line break in a header": (
        "wire: openai",
        'wire: openai\n    headers: {X-Team: "a\\r\\nb: c"}',
        "providers.alpha.headers.X-Team (line 5, column 15): this is not a header value. Fix: use 1 to 1024 "
        "visible ASCII characters, without line breaks and without spaces at the ends.",
    ),
    "credential field": (
        "wire: openai",
        "wire: openai\n    api_key: abc",
        "providers.alpha.api_key (line 5, column 5): there is no field `api_key` here; a credential goes "
        "under "
        "`auth`. Fix: write `auth: {header: Authorization, scheme: Bearer, secret: env:NAME}`.",
    ),
    "alias": (
        "{provider: alpha, model: big}",
        "&a {provider: alpha, model: big}",
        "targets.lead (line 7, column 9): uses a YAML anchor or alias. Fix: write the value out in each place.",
    ),
    "tab": (
        "    wire: openai",
        "\twire: openai",
        "<document> (line 4, column 1): is not valid YAML: while scanning for the next token, found "
        "character "
        "'\\t' that cannot start any token. Fix: indent with spaces, not with tabs.",
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_each_mistake_is_told_with_its_place_and_its_fix(text: str, old: str, new: str, expected: str) -> None:
    """The usual mistakes are told in these very words, and bring no second problem with them."""
    found = problems(changed(text, old, new))
    # Renaming or breaking a name leaves what pointed to it dangling; that is a problem of its own.
    own = [problem for problem in found if "there is no target `second`" not in problem]
    assert [expected] == own


PASTED = [
    KEY,
    f"env:{KEY}",
    "a1" * 20,
    "Zx81kfPq0aLmWn27Tt5Bv9RcQq44KdMz90",
    "hunter2",
    "AKIAABCDEFGHIJKLMNOPQ",
]


@pytest.mark.parametrize("secret", PASTED)
@pytest.mark.parametrize(
    "place",
    ["auth: {header: Authorization, scheme: Bearer, secret: SECRET}", "auth: SECRET", "auth: {secret: [SECRET]}",
     "auth: {header: H, scheme: SECRET, secret: SECRET}", "auth: {header: {SECRET: 1}, scheme: '', "
     "secret: 1}",
     "headers: {authorization: SECRET}", "headers: {x-team: [SECRET]}", "headers: SECRET",
     "base_url: https://user:SECRET@h/", "base_url: https://h/?key=SECRET"],
)  # fmt: skip
def test_pasted_keys_are_refused_and_never_repeated(text: str, place: str, secret: str) -> None:
    """Wherever a credential is put by mistake near a provider, the message does not show it."""
    pasted = re.sub(r"\n    base_url.*", "", text) if place.startswith("base_url") else text
    found = problems(changed(pasted, "wire: openai", "wire: openai\n    " + place.replace("SECRET", secret)))
    assert found
    assert secret not in "\n".join(found)
    assert KEY not in "\n".join(found)


@pytest.mark.parametrize(
    "line",
    [f"# {KEY}", f"notes: {KEY}", f"{KEY}: 1", f"alerts: {{link: 'https://x/{KEY}'}}", f"defaults: [{KEY}]"],
)
def test_keys_are_found_anywhere_in_the_text(text: str, line: str) -> None:
    """A key in a comment, a name or an unrelated value is refused too, because the source is stored."""
    found = problems(f"{text}{line}\n")
    told = [problem for problem in found if "this looks like a key itself (not shown here)" in problem]
    expected = 1
    assert expected == len(told)
    assert "line 12" in told[0]
    assert KEY not in "\n".join(found)


def test_a_pasted_secret_is_told_what_to_do(text: str) -> None:
    """The message about a literal key names the three forms that are accepted."""
    auth = f"auth: {{header: Authorization, scheme: Bearer, secret: {KEY}}}"
    expected = (
        "providers.alpha.auth.secret (line 5, column 59): this looks like a key itself (not shown here), "
        "and a "
        "control document never holds one. Fix: store the key elsewhere (a new one if this file was "
        "shared) and "
        "write a reference: `env:NAME`, `ssm:/path` or `secretsmanager:id#field`."
    )
    assert [expected] == problems(changed(text, "wire: openai", f"wire: openai\n    {auth}"))


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (
            "auth: {header: Authorization, scheme: Bearer, secret: 48151623}",
            "providers.alpha.auth.secret (line 5, column 51): this is not a reference to a secret. "
            "Fix: write a reference: `env:NAME`, `ssm:/path` or `secretsmanager:id#field`.",
        ),
        (
            "auth: 48151623",
            "providers.alpha.auth (line 5, column 5): expected a mapping, found a number (not shown). "
            "Fix: write `name: value` lines below it.",
        ),
        (
            "headers: {x-team: 48151623}",
            "providers.alpha.headers.x-team (line 5, column 15): expected text, but YAML reads the bare value "
            "(not shown) as a number. Fix: quote it.",
        ),
    ],
)
def test_a_pasted_number_is_not_repeated(text: str, place: str, expected: str) -> None:
    """A credential of digits only, which YAML reads as a number, is not shown either."""
    assert [expected] == problems(changed(text, "wire: openai", f"wire: openai\n    {place}"))
