"""Where the emulator and the SAM CLI live: one venv each, since they pin different versions of botocore.

Kept between runs, in the same place as that of .ci/run.  Never the venv that runs this.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.deploy.report import Failed

SAM_VERSION = "1.170.0"  # the one of .ci/run
EMULATOR_VERSION = "1.5.33"
RUNTIME = "3.13"
"""The functions' Python.  The emulator runs them with its own interpreter."""


def cache() -> Path:
    return Path(tempfile.gettempdir()) / f"understudy-ci-{os.getuid()}"


def python313(given: str | None) -> Path:
    """A Python 3.13 that really starts: the one that was named, pyenv's, or the one on the PATH."""
    found = [given] if given else [_pyenv(), shutil.which(f"python{RUNTIME}")]
    for candidate in filter(None, found):
        asked = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            version = subprocess.run(asked, capture_output=True, text=True, timeout=30).stdout.strip()
        except OSError:
            continue
        if version == RUNTIME:
            return Path(candidate)
    raise Failed(f"no Python {RUNTIME} here, the functions' runtime: install one, or name it with --python")


def _pyenv() -> str | None:
    if not shutil.which("pyenv"):
        return None
    done = subprocess.run(["pyenv", "prefix", f"{RUNTIME}.0"], capture_output=True, text=True, timeout=30)
    return f"{done.stdout.strip()}/bin/python{RUNTIME}" if done.returncode == 0 else None


def sam(directory: Path, env: dict[str, str]) -> Path:
    """The SAM CLI."""
    return _venv(directory / f"sam-{SAM_VERSION}", sys.executable, f"aws-sam-cli=={SAM_VERSION}", env) / "sam"


def emulator(directory: Path, python: Path, env: dict[str, str]) -> Path:
    """The AWS emulator's command."""
    wanted = f"ministack[full]=={EMULATOR_VERSION}"
    return _venv(directory / f"ministack-{EMULATOR_VERSION}", str(python), wanted, env) / "ministack"


def _venv(directory: Path, python: str, wanted: str, env: dict[str, str]) -> Path:
    """The bin directory of a venv with `wanted`; one that was not finished is made anew."""
    finished = directory / "complete"
    if not finished.exists():
        shutil.rmtree(directory, ignore_errors=True)
        _run([python, "-m", "venv", str(directory)], env)
        _run([f"{directory}/bin/pip", "install", "-q", "--disable-pip-version-check", wanted], env)
        finished.touch()
    return directory / "bin"


def _run(command: list[str], env: dict[str, str]) -> None:
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(command)}:\n{done.stdout}")
