"""The house rules that a program can check: who imports whom, and how large things get."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "functions"
ROOMS = sorted(p.parent.name for p in FUNCTIONS.glob("*/handler.py"))

# Lower layers first; a module may import its own layer and those before it.
LAYERS = [
    {"errors", "metrics", "__init__"},
    {"facts", "audit", "jurisdictions", "prices"},
    {"chat", "catalog", "detectors", "keys", "settings"},
    {"wire"},
    {"compliance", "golden", "pricing", "health", "incidents"},
    {"routing"},
    {"control"},
    {"store_ports"},
    {"ports"},
    {"store", "transport", "alerts", "pii", "telemetry", "runtime"},
    {"services"},
    {"bootstrap"},
    {"explain", "status"},
    {"commands"},
    {"cli"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# What some rooms of the core must not know, beside the order.
FORBIDDEN = {
    "detectors": {"chat", "catalog", "keys", "settings"},
    "golden": {"compliance", "incidents", "pricing", "wire"},
    "wire": {"catalog", "keys", "settings"},
    "routing": {"wire", "incidents"},
    "health": {"incidents", "pricing", "compliance", "wire"},
    "incidents": {"health", "wire"},
    "control": {"routing", "wire", "incidents", "health"},
    "services": {"store", "transport", "alerts", "pii", "telemetry", "settings"},
    "store": {"transport", "alerts", "wire", "routing"},
    "transport": {"store", "alerts", "wire", "routing"},
    "alerts": {"store", "transport", "wire", "routing"},
    "pii": {"store", "transport", "alerts", "wire", "routing", "runtime", "telemetry"},
}
SDK_ROOMS = {"store", "transport", "alerts", "bootstrap"}
LAMBDA_SIDE = {
    "audit",
    "errors",
    "catalog",
    "facts",
    "prices",
    "chat",
    "detectors",
    "wire",
    "health",
    "routing",
    "compliance",
    "pricing",
    "incidents",
}


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere, absolute names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def core_room(path: Path) -> str:
    return path.relative_to(FUNCTIONS / "understudy").parts[0].removesuffix(".py")


def core_imports(path: Path) -> set[str]:
    return {
        name.split(".")[1] for name in imports(path) if name.startswith("understudy.") and name.split(".")[1] in RANK
    }


@pytest.mark.parametrize("path", sources("functions/understudy"), ids=lambda p: str(p.relative_to(FUNCTIONS)))
def test_imports_point_down(path: Path) -> None:
    """No module of the core imports a layer above its own, or one it must not know."""
    room = core_room(path)
    above = {name for name in core_imports(path) if RANK[name] > RANK[room] or name in FORBIDDEN.get(room, ())}
    assert set() == above


@pytest.mark.parametrize("path", sources("functions"), ids=lambda p: str(p.relative_to(FUNCTIONS)))
def test_sdks_stay_at_the_edge(path: Path) -> None:
    """boto3 and httpx are imported only where the outside world is touched."""
    used = {name.split(".")[0] for name in imports(path)} & {"boto3", "botocore", "httpx"}
    inside = path.is_relative_to(FUNCTIONS / "understudy") and core_room(path) in SDK_ROOMS
    assert set() == (set() if inside else used)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_do_not_know_each_other(room: str) -> None:
    """A room's handler imports the core only, and is at most 60 lines of code."""
    path = FUNCTIONS / room / "handler.py"
    assert set() == {name for name in imports(path) if name.split(".")[0] in set(ROOMS)}
    assert max(60, len(path.read_text().splitlines())) == 60


def test_the_environment_has_one_reader() -> None:
    """Settings reads the environment, the command line for its own defaults, the runtime what Lambda tells it."""
    readers = {str(p.relative_to(FUNCTIONS)) for p in sources("functions") if "os.environ" in p.read_text()}
    assert {f"understudy/{name}.py" for name in ("settings", "commands/router", "runtime/lambda_loop")} == readers


def test_the_runtime_loop_can_be_deleted() -> None:
    """Our Lambda runtime knows the standard library and how answers are given, and nobody but the wrapper knows it."""
    runtime = FUNCTIONS / "understudy" / "runtime"
    parts = sorted(runtime.glob("lambda_*.py"))
    names = {f"understudy.runtime.{path.stem}" for path in parts}
    used = {name for path in parts for name in imports(path) if name.split(".")[0] not in sys.stdlib_module_names}
    known = {part for part in used if not any(part.startswith(f"{name}.") for name in names)}
    gateway = "understudy.runtime.gateway"
    answer = {gateway, f"{gateway}.Answer", f"{gateway}.takes_pieces"}
    assert names - {"understudy.runtime.lambda_loop"} | answer == known
    assert set() == {str(path) for path in sources("functions") if path not in parts and imports(path) & names}


def test_the_core_reads_no_clock_and_no_chance() -> None:
    """The pure part takes time and randomness as arguments."""
    impure = {"time", "secrets", "uuid", "socket", "threading", "subprocess"}
    found = {
        str(path.relative_to(FUNCTIONS)): sorted(imports(path) & impure)
        for path in sources("functions/understudy")
        if core_room(path) in LAMBDA_SIDE and imports(path) & impure
    }
    assert {} == found


@pytest.mark.parametrize("path", sources("functions", "infra/local"), ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path) -> None:
    """Files have at most 400 lines, functions at most 50."""
    text = path.read_text()
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno + 1 > 50
    ]
    assert ([], 400) == (long, max(400, len(text.splitlines())))


def test_vendors_are_rows() -> None:
    """No vendor is named in code outside the file of its protocol, the schema's list of protocols and the registry."""
    vendors = ("anthropic", "gemini", "bedrock", "mistral", "groq")
    allowed = {"wire", "control"}
    naming = {
        str(path.relative_to(FUNCTIONS))
        for path in sources("functions")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.lower() in vendors
        and core_room(path) not in allowed
    }
    assert set() == naming
