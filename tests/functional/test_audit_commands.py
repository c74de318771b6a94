"""`understudy audit` and `understudy versions` over files and over the local stack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.aws import TABLE
from infra.local.stack import LocalStack, Options
from tests.audited import AT, DAY, Writer, changed
from tests.local_stacks import quiet
from understudy import bootstrap
from understudy.audit.query import Query
from understudy.cli import main
from understudy.store.dynamodb import DynamoTable
from understudy.store.memory import MemoryTable
from understudy.store.store import Store
from understudy.transport.logs import CloudWatchLogs, LogsError

Capture = pytest.CaptureFixture[str]


def file_of(folder: Path, lines: list[str]) -> str:
    path = folder / "audit.jsonl"
    path.write_text("\n".join(lines))
    return str(path)


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (lambda lines: lines, 0, "as written, as far as the heads that are known reach"),
        (lambda lines: [*lines[:3], changed(lines[3], target="x"), *lines[4:]], 1, f"tampered: {DAY}/aa record 4"),
        (lambda lines: [*lines[:3], *lines[4:]], 3, f"missing: {DAY}/aa record 4: it is missing"),
    ],
    ids=["as written", "changed", "missing"],
)
def test_a_file_is_verified(tmp_path: Path, capsys: Capture, spoil: Any, code: int, said: str) -> None:
    """The first flaw by name, and an exit code for whoever runs it by night."""
    assert code == main(["audit", "verify", file_of(tmp_path, spoil(Writer().written(6).lines))])
    assert said in capsys.readouterr().out


def test_many_flaws_are_counted(tmp_path: Path, capsys: Capture) -> None:
    """No more than twenty of a sort are listed."""
    lines = [line for n in range(30) for line in Writer(f"{n:02d}").written(3).lines if '"seq":2' not in line]
    assert 3 == main(["audit", "verify", file_of(tmp_path, lines)])
    assert "missing: and 10 more" in capsys.readouterr().out


def test_a_day_is_whole_whatever_comes_along_of_others(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies are kept by the hour of their delivery, so those of a day bring some of its neighbours' records."""
    before = Writer("aa", "2026-12-09").written(40)
    asked = Writer("aa", DAY, before.head).written(30)
    after = Writer("aa", "2026-12-11", asked.head).written(50)
    store = Store(MemoryTable())
    for one in (before, asked, after):
        store.note_head(one.head, AT)
    monkeypatch.setattr(bootstrap, "operator_store", lambda table: store)
    path = file_of(tmp_path, [*before.lines[-2:], *asked.lines, *after.lines[:3]])
    assert 0 == main(["audit", "verify", path, "--day", DAY, "--table", "t"]), capsys.readouterr().out
    path = file_of(tmp_path, [*before.lines[-2:], *asked.lines[:-1], *after.lines[:3]])
    assert 3 == main(["audit", "verify", path, "--day", DAY, "--table", "t"])


@pytest.mark.parametrize("text", ["", "date,cost\n2026-01-01,3\n", '{"message": "hello"}\n'])
def test_a_file_without_records_is_no_audit(tmp_path: Path, capsys: Capture, text: str) -> None:
    """A wrong path must not pass for an audit that is whole."""
    assert 1 == main(["audit", "verify", file_of(tmp_path, [text])])
    assert "there is no audit record in" in capsys.readouterr().err


def test_a_day_wants_a_table(tmp_path: Path, capsys: Capture) -> None:
    """Without one nobody knows what a day must have; a day that is none is refused."""
    path = file_of(tmp_path, Writer().written(1).lines)
    assert 1 == main(["audit", "verify", path, "--day", DAY])
    assert "needs --table or --local" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["audit", "verify", path, "--day", "2026-13-01"])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["--request-id", "r2"], ["r2"]),
        (["--key", "app"], ["r1", "r2"]),
        (["--key", "abcd12"], ["r1", "r2"]),
        (["--key", "zzzz"], []),
        (["--target", "lead"], ["r1", "r3"]),
        (["--target", "denied-one"], ["r2"]),
        (["--since", "2026-12-10T11"], ["r2", "r3"]),
        (["--since", "2026-12-10T10:30", "--until", "2026-12-10T11"], ["r2"]),
        (["--until", "2026-12-10"], ["r1", "r2", "r3"]),
    ],
)
def test_records_are_found(tmp_path: Path, capsys: Capture, asked: list[str], found: list[str]) -> None:
    """By request, client, whoever answered, was asked or was denied, and time; each once."""
    writer, client = Writer(), {"name": "app", "key": "abcd12345678"}
    writer.write(at="2026-12-10T10:00:00.000Z", client=client, target="lead")
    denied = [{"target": "denied-one", "rule": "no_training", "reason": "x"}]
    writer.write(at="2026-12-10T11:00:00.000Z", client=client, denied=denied)
    writer.write(at="2026-12-10T12:00:00.000Z", client=None, attempts=[{"target": "lead"}])
    path = file_of(tmp_path, [*writer.lines, *writer.lines])
    assert 0 == main(["audit", "show", path, "--json", *asked])
    assert found == [json.loads(line)["request_id"] for line in capsys.readouterr().out.splitlines()]
    assert 0 == main(["audit", "show", path, *asked])
    assert len(found) == len(capsys.readouterr().out.splitlines())


def test_the_query_is_for_logs_insights(capsys: Capture) -> None:
    """It can be copied, and what is asked for cannot end its quotes."""
    assert 0 == main(["audit", "show", "--query", "--request-id", 'a"b'])
    words = 'fields @message | filter message = "audit" and record.request_id = "a\\"b" | sort @timestamp asc'
    assert f"{words} | limit 10000" == capsys.readouterr().out.strip()
    assert 'record.client.name = "app"' in Query(key="app", target="lead").insights()


class Logs:
    """CloudWatch Logs that answers what it was given, page by page."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def _next(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        return self.answers.pop(0)

    filter_log_events = start_query = get_query_results = _next


def test_a_log_group_is_read_to_its_last_page() -> None:
    """And nothing but the audit's lines is asked for."""
    logs = Logs(
        {"events": [{"message": "a"}], "nextToken": "t"},
        {"events": [], "nextToken": "u"},
        {"events": [{"message": "b"}]},
    )
    assert ["a", "b"] == list(CloudWatchLogs(lambda _: logs, lambda _: None).lines("g", 1.0, 2.5))
    assert [None, "t", "u"] == [asked.get("nextToken") for asked in logs.asked]
    assert {('{ $.message = "audit*" }', 1000, 2500)} == {
        (a["filterPattern"], a["startTime"], a["endTime"]) for a in logs.asked
    }


def test_a_query_is_waited_for() -> None:
    """Its lines when it is complete; an error that says how it ended otherwise."""
    row = [{"field": "@message", "value": "line"}, {"field": "@ptr", "value": "x"}]
    waits: list[float] = []
    logs = Logs({"queryId": "q"}, {"status": "Running"}, {"status": "Complete", "results": [row]})
    assert ["line"] == list(CloudWatchLogs(lambda _: logs, waits.append).query("g", "q", 1.0, 2.0))
    assert [1.0] == waits
    failed = Logs({"queryId": "q"}, {"status": "Failed"})
    with pytest.raises(LogsError, match="ended as Failed"):
        list(CloudWatchLogs(lambda _: failed, waits.append).query("g", "q", 1.0, 2.0))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("audited")
    options = Options(port=0, api_key="us-test", config=quiet(folder), audit_file=folder / "audit.jsonl")
    stack = LocalStack(options, on_alert=lambda alert: None)
    stack.start()
    yield stack
    stack.stop()
    assert (folder / "audit.jsonl").exists()


def run(stack: LocalStack, capsys: Capture, *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main([*words, "--local", "--local-url", stack.url])
    return code, capsys.readouterr().out


def test_the_local_stack_keeps_its_audit_in_a_file(stack: LocalStack, capsys: Capture) -> None:
    """Requests, refusals and control changes are there, as written; a changed change in the table is named."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "my secret plan"}]}
    answers = [
        httpx.post(
            f"{stack.base_url}/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}, timeout=15
        )
        for key in ("us-test", "us-wrong")
    ]
    assert [200, 401] == [answer.status_code for answer in answers]
    assert 0 == run(stack, capsys, "drain", "lead", "--because", "a look", "--by", "ann")[0]
    code, said = run(stack, capsys, "audit", "verify")
    assert (0, True) == (code, said.startswith("4 records in 2 segments"))
    request_id = answers[0].headers["x-understudy-request-id"]
    code, said = run(stack, capsys, "audit", "show", "--request-id", request_id, "--json")
    record = json.loads(said)
    assert ("local", "ok", "chat") == (record["client"]["name"], record["outcome"], record["route"])
    changes = run(stack, capsys, "audit", "show", "--target", "lead")[1].splitlines()
    assert [True] == [line.endswith("drain lead by ann") for line in changes if "drain" in line]
    assert (0, True) == (run(stack, capsys, "audit", "seal")[0], "0 segments" in run(stack, capsys, "audit", "seal")[1])
    table = DynamoTable(TABLE)
    item = table.query("audit", prefix="change#")[0]
    spoilt = {**item.body, "record": {**item.body["record"], "by": "somebody else"}}
    table.put(type(item)(item.key, spoilt, rev=item.rev))
    code, said = run(stack, capsys, "audit", "verify")
    assert (1, True) == (code, "tampered: changes record 1: its content is not what was written" in said)
    assert "secret plan" not in stack._audit.read_text()


def test_versions_are_shown(stack: LocalStack, capsys: Capture) -> None:
    """Of a target that was asked, those that were reported; a target that is not there is refused."""
    code, said = run(stack, capsys, "versions", "lead")
    assert (0, True) == (code, said.startswith("lead: simulated-gpt of "))
    assert 1 == run(stack, capsys, "versions", "nobody")[0]
