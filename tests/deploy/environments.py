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

from tests import built_function
from tests.deploy.report import Failed

SAM_VERSION = "1.170.0"  # the one of .ci/run
EMULATOR_VERSION = "1.5.33"


def cache() -> Path:
    return Path(tempfile.gettempdir()) / f"understudy-ci-{os.getuid()}"


def python313(given: str | None) -> Path:
    """The Python 3.13 that the build uses: the one that is named, or the first that is found."""
    try:
        found = shutil.which(built_function.python313(given))
    except built_function.NotBuilt as error:
        raise Failed(str(error)) from error
    if found is None:
        raise Failed("no Python 3.13 here, the functions' runtime: install one, or name it with --python")
    return Path(found)


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
