"""A function as `sam build` builds it, and an interpreter to run it with."""

from __future__ import annotations

import platform
import subprocess
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAKE = ("make", "-s", "--no-print-directory", "-C", str(ROOT / "functions"))
ARCH = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
"""This machine's, as the template calls it."""


class NotBuilt(Exception):
    """make failed; the text is what it said."""


def make(*arguments: str) -> str:
    """What make writes on standard output.  Raises NotBuilt."""
    done = subprocess.run([*MAKE, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise NotBuilt(done.stderr)
    return done.stdout


def build(artifact: Path, *, arch: str = ARCH, **variables: str) -> str:
    """Build into a folder; returns what make says about it.  Raises NotBuilt."""
    given = {"ARCH": arch, "ARTIFACTS_DIR": str(artifact), **variables}
    return make(f"build-{artifact.name}", *(f"{name}={value}" for name, value in given.items()))


def python313(given: str | None = None) -> str:
    """The Python 3.13 that writes the bytecode; empty where there is none.  Raises NotBuilt where another is given."""
    return make("python313", *([f"PYTHON313={given}"] if given else [])).strip()


def interpreter(folder: Path) -> Path:
    """A Python 3.13 as Lambda has it: with boto3 in its own site-packages, and nothing else."""
    subprocess.run([python313(), "-m", "venv", folder], check=True)
    lock, python = ROOT / "requirements.lock", folder / "bin" / "python"
    boto3 = next(line for line in lock.read_text().splitlines() if line.startswith("boto3=="))
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, boto3, "-c", lock], check=True, capture_output=True)
    return python


def files(artifact: Path) -> list[Path]:
    return sorted(path for path in artifact.rglob("*") if path.is_file())


def zipped(artifact: Path, file: Path) -> int:
    """Bytes of a zip of it, packed as `sam deploy` packs it."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in files(artifact):
            packed.write(path, path.relative_to(artifact))
    return file.stat().st_size
