"""What `sam build` makes of functions/: all that Lambda needs, nothing that it has, bytecode that it reads."""

import shutil
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from tests.built_function import ARCH, ROOT, NotBuilt, build, files, make, python313, zipped

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")

FUNCTIONS = ROOT / "functions"
OTHER = {"arm64": "x86_64", "x86_64": "arm64"}[ARCH]
MACHINES = {"x86_64": 62, "arm64": 183}
"""e_machine of an ELF header (EM_X86_64, EM_AARCH64)."""
HASH_UNCHECKED = 0b01
"""Flags of a .pyc that is taken as it is (PEP 552)."""
ZIP_LIMIT = 9e6
START = """
import importlib, sys
from importlib.machinery import SourceFileLoader
compiled, compile_source = [], SourceFileLoader.source_to_code
def noted(self, data, path, **options):
    compiled.append(path)
    return compile_source(self, data, path, **options)
SourceFileLoader.source_to_code = noted
sys.path.insert(0, sys.argv[1])
importlib.import_module(sys.argv[2] + ".handler").service()
sys.stderr.write(str(compiled))
"""
"""Starts a room; writes which files had to be compiled for it."""
ROOMS = sorted(path.parent.name for path in FUNCTIONS.glob("*/handler.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where artifacts are built; without an index to install from there are none."""
    folder = tmp_path_factory.mktemp("build")
    pip = ["python3", "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "0", "--timeout", "15"]
    asked = next(line.split()[0] for line in (FUNCTIONS / "requirements.txt").open() if line.startswith("h11=="))
    done = subprocess.run([*pip, "--dest", folder / "index", asked], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"pip cannot reach an index: {done.stderr.strip().splitlines()[-1]}")
    return folder


@pytest.fixture(scope="module")
def built(folder: Path) -> Path:
    """For this machine, with bytecode."""
    if not python313():
        pytest.skip("there is no Python 3.13 here to write bytecode")
    build(folder / "here" / "RouteRequest")
    return folder / "here" / "RouteRequest"


@pytest.fixture(scope="module")
def plain(folder: Path) -> tuple[Path, str]:
    """For the other processor, as if there were no Python 3.13; and what make said."""
    artifact = folder / "other" / "RouteRequest"
    return artifact, build(artifact, arch=OTHER, CANDIDATES="none", PYTHON313="")


def own_files(artifact: Path) -> set[str]:
    """What does not come from a wheel, bytecode aside."""
    tops = {path.name for path in FUNCTIONS.iterdir()}
    found = (path.relative_to(artifact) for path in files(artifact) if path.suffix != ".pyc")
    return {str(path) for path in found if path.parts[0] in tops}


@pytest.mark.parametrize(
    ("name", "variables", "wanted"),
    [("RouteRequest", ["PII=1"], True), ("RouteRequest", [], False), ("ProbeTargets", ["PII=1"], False)],
)
def test_the_library_for_personal_data_is_built_in_where_it_is_asked_for(
    name: str, variables: list[str], wanted: bool, tmp_path: Path
) -> None:
    """With PII=1, and for the data plane alone; nothing is built here, make only says what it would do."""
    said = make("-n", f"build-{name}", f"ARCH={ARCH}", f"ARTIFACTS_DIR={tmp_path / name}", *variables)
    assert wanted == ("requirements-pii.txt" in said)


class TestContent:
    """The same for every function, whatever the processor."""

    def test_own_files_are_all_there_and_nothing_else(self, plain: tuple[Path, str]) -> None:
        """Rooms, core and wrapper are copied; the Makefile and the requirements stay behind."""
        wanted = {str(path.relative_to(FUNCTIONS)) for path in files(FUNCTIONS) if path.suffix != ".pyc"}
        assert wanted - {"Makefile", "requirements.txt", "requirements-pii.txt"} == own_files(plain[0])

    def test_what_lambda_has_is_not_shipped(self, plain: tuple[Path, str]) -> None:
        """The SDK comes with the runtime; command lines and tests come with nothing."""
        unwanted = ("boto3", "botocore", "s3transfer", "urllib3", "bin", "certifi/tests")
        assert [] == [name for name in unwanted if (plain[0] / name).exists()]

    def test_licences_are_kept(self, plain: tuple[Path, str]) -> None:
        """Every wheel keeps its metadata, with the licence in it or named by it."""
        wheels = sum("==" in line for line in (FUNCTIONS / "requirements.txt").read_text().splitlines())
        assert wheels == len(list(plain[0].glob("*.dist-info/METADATA")))

    def test_everybody_may_read_it(self, plain: tuple[Path, str]) -> None:
        """Lambda runs the code as another user; programs stay programs."""
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files(plain[0])}
        assert [] == [name for name, mode in modes.items() if mode & 0o444 != 0o444]
        programs = [path.name for path in FUNCTIONS.iterdir() if path.is_file() and path.stat().st_mode & 0o100]
        assert [True] * len(programs) == [modes[name] & 0o111 == 0o111 for name in programs]

    def test_libraries_are_the_target_s(self, plain: tuple[Path, str]) -> None:
        """What is built for another processor holds libraries of that processor."""
        libraries = list(plain[0].rglob("*.so"))
        assert libraries
        machines = {struct.unpack("<H", path.read_bytes()[18:20])[0] for path in libraries}
        assert {MACHINES[OTHER]} == machines


class TestBytecode:
    """Lambda's disk is read-only: what is not shipped compiled is compiled at each cold start."""

    def test_every_module_has_it(self, built: Path) -> None:
        """One .pyc a source, that no time stamp can make stale."""
        sources = {path for path in files(built) if path.suffix == ".py"}
        compiled = {path for path in files(built) if path.suffix == ".pyc"}
        assert {p.parent / "__pycache__" / f"{p.stem}.cpython-313.pyc" for p in sources} == compiled
        assert {HASH_UNCHECKED} == {struct.unpack("<I", path.read_bytes()[4:8])[0] for path in compiled}

    def test_no_path_of_this_machine_is_in_it(self, built: Path) -> None:
        """A traceback names the file where it is in Lambda, not where it was built."""
        here = {str(path).encode() for path in (ROOT, built.parent)}
        assert [] == [path for path in built.rglob("*.pyc") if any(name in path.read_bytes() for name in here)]

    def test_functions_of_one_build_are_the_same(self, built: Path) -> None:
        """The same bytes, so that a function that did not change is not uploaded again."""
        twin = built.with_name("ProbeTargets")
        build(twin)
        contents = [{p.relative_to(root): p.read_bytes() for p in files(root)} for root in (built, twin)]
        assert contents[0] == contents[1]

    def test_the_zip_is_small(self, built: Path, tmp_path: Path) -> None:
        """At most 9 MB."""
        assert max(ZIP_LIMIT, size := zipped(built, tmp_path / "artifact.zip")) == ZIP_LIMIT, size

    def test_without_a_python_313_it_is_missed_aloud(self, plain: tuple[Path, str]) -> None:
        """The build succeeds, and one line says what it costs and how to mend it."""
        artifact, said = plain
        assert [] == list(artifact.rglob("*.pyc"))
        assert [True] == [line.startswith("WARNING: no Python 3.13 here") for line in said.splitlines()]
        assert "PYTHON313=" in said


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_start_from_the_artifact_alone(room: str, built: Path) -> None:
    """With Lambda's Python and nothing else installed every room can be built, from bytecode."""
    command = [python313(), "-I", "-S", "-B", "-c", START, built, room]
    done = subprocess.run(command, env={"AWS_REGION": "eu-west-1"}, capture_output=True, text=True)
    assert (0, "[]") == (done.returncode, done.stderr)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"ARTIFACTS_DIR": "unused"}, "Say for which processor: ARCH=arm64 or ARCH=x86_64"),
        ({"ARTIFACTS_DIR": "unused", "ARCH": "sparc"}, "Say for which processor: ARCH=arm64 or ARCH=x86_64"),
        ({"ARCH": "arm64", "ARTIFACTS_DIR": ""}, "Say where to build: ARTIFACTS_DIR="),
        ({"PYTHON313": "/nonexistent/python"}, "PYTHON313=/nonexistent/python is no Python 3.13"),
    ],
)
def test_a_build_that_cannot_be_meant_is_refused(variables: dict[str, str], words: str) -> None:
    """It fails at once, and says what to say."""
    with pytest.raises(NotBuilt, match=words):
        make("build-RouteRequest", *(f"{name}={value}" for name, value in variables.items()))


@pytest.mark.parametrize("arch", ["arm64", "x86_64"])
def test_sam_learns_the_architecture_from_a_path(arch: str, tmp_path: Path) -> None:
    """The Makefile in infra/build/ARCHITECTURE builds for that one, whatever the environment says."""
    makefile = ROOT / "infra" / "build" / arch / "Makefile"
    command = ["make", "-n", "-C", FUNCTIONS, "--makefile", makefile, "build-RouteRequest", f"ARTIFACTS_DIR={tmp_path}"]
    done = subprocess.run(command, env={"ARCH": OTHER, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    machine = {"arm64": "aarch64", "x86_64": "x86_64"}[arch]
    assert (0, True) == (done.returncode, f"--platform manylinux2014_{machine}" in done.stdout), done.stderr
