"""The shape of the client matrix: nothing is left out in silence."""

import ast
import json
import re
from pathlib import Path

import pytest

from tests.e2e.clients import document, environments
from tests.e2e.clients.matrix import HERE, load
from understudy.control.document import parse
from understudy.wire import WIRES
from understudy.wire.fronts import FRONTS

MATRIX = load()
LOCKS = [HERE / "python" / "current.txt", HERE / "python" / "earlier.txt"]
WANTED = {"openai-python", "anthropic-python", "openai-node", "anthropic-node", "ai", "langchain", "llama-index"} | {
    "instructor",
    "pydantic-ai",
    "curl",
}
TRIED_BY = {"/embeddings": "embeddings", "/messages/count_tokens": "count_tokens"}


def test_every_client_has_a_cell_on_every_wire():
    """Each front of each client meets each wire, and each check of it is run or has a reason."""
    assert MATRIX.clients
    for client in MATRIX.clients:
        for front in {cell.front for cell in client.cells}:
            cells = [cell for cell in client.cells if cell.front == front]
            assert list(MATRIX.wires) == [cell.wire for cell in cells]
            for cell in cells:
                assert cell.checks, cell.name
                assert set(MATRIX.checks) == {*cell.checks, *cell.absent}
                assert len(MATRIX.checks) == len(cell.checks) + len(cell.absent)
                assert all(len(reason.split()) > 2 for reason in cell.absent.values())


def test_every_client_that_was_promised_is_there():
    """The packages that applications use most, in both languages."""
    assert WANTED <= {client.name for client in MATRIX.clients}


def test_every_wire_and_front_of_the_router_is_tried():
    """A protocol that is added to the router is added to the matrix."""
    spoken = {target["speaks"] for wire in MATRIX.wires.values() for target in wire["targets"]}
    assert set(WIRES) <= spoken
    tried = {check for cell in MATRIX.cells for check in cell.checks}
    for path in FRONTS:
        assert path in MATRIX.paths.values() or TRIED_BY[path] in tried
    assert set(MATRIX.paths) == {cell.front for cell in MATRIX.cells}


@pytest.mark.parametrize("client", MATRIX.clients, ids=lambda client: client.name)
def test_a_script_has_what_its_cells_ask_for(client):
    """Every check that is to be run stands in the script."""
    assert client.environment in environments.NAMES
    text = client.script.read_text()
    if client.script.suffix == ".py":
        tables = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Dict)]
        found = {key.value for table in tables for key in table.keys if isinstance(key, ast.Constant)}
    else:
        found = set(re.findall(r"^  (?:async )?(\w+)[(:]", text, re.MULTILINE))
    assert set() == {check for cell in client.cells for check in cell.checks} - found


def test_the_control_document_is_valid():
    """Whatever wires this checkout has, the document that the matrix runs with is one that the router takes."""
    absent = document.missing(MATRIX)
    wires = [name for name in MATRIX.wires if name not in absent]
    plan = document.Document(MATRIX, wires)
    text = re.sub(r"\$\{\w+_url\}", "http://127.0.0.1:1/v1", plan.text())
    parsed = parse(text, filename="matrix")
    for cell in (cell for cell in MATRIX.cells if cell.wire in wires):
        told = document.given(cell, MATRIX, 1)
        embeddings = {told["embeddings"]} if "embeddings" in cell.checks else set()
        assert {told["model"], told["faulty"], told["resumed"]} | embeddings <= parsed["routes"].keys()
        assert told["faulty"] in parsed["targets"]


def test_lock_files_pin_everything_and_name_no_address():
    """What is installed is the same everywhere, from whichever registry."""
    for lock in LOCKS:
        assert all(re.match(r"[\w.\[\]-]+==\S+", line) for line in lock.read_text().splitlines()), lock
    packages = json.loads((HERE / "node" / "package-lock.json").read_text())["packages"]
    assert all("integrity" in one for name, one in packages.items() if name)
    wanted = json.loads((HERE / "node" / "package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    for file in (*LOCKS, *HERE.glob("node/*.json"), HERE / "node" / ".npmrc"):
        assert "://" not in Path(file).read_text(), file
