"""Where the clients live: venvs of their own and one folder of Node packages, kept between runs.

Their names say what was installed, so that another lock file makes another environment.  To renew the locks, in this
folder: `uv pip compile --universal --python-version 3.11 --no-annotate --no-header python/NAME.in -o python/NAME.txt`,
and `npm update --save-exact` in node/ (its .npmrc keeps addresses out of the lock; take the "funding" entries out).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("none", "current", "earlier", "node")
"""`earlier` has the SDKs' major versions that some frameworks still ask for."""


class NotMade(Exception):
    """An environment could not be made; says what to do."""


def cache() -> Path:
    return Path(tempfile.gettempdir()) / f"understudy-ci-{os.getuid()}"


def command(name: str, script: Path, directory: Path) -> list[str]:
    """How a client's script is run; its environment is made when it is not there.  Raises NotMade."""
    if name == "none":
        return [sys.executable, str(script)]
    if name == "node":
        # Packages are found from where the script stands, not from where it is run.
        return [_node(), str(_packages(directory) / script.name)]
    return [str(_venv(name, directory) / "bin" / "python"), str(script)]


def _venv(name: str, directory: Path) -> Path:
    lock = HERE / "python" / f"{name}.txt"
    venv = directory / f"clients-{name}-{_digest(lock)}"
    if not (venv / "complete").exists():
        shutil.rmtree(venv, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(venv)])
        _run([f"{venv}/bin/pip", "install", "-q", "--disable-pip-version-check", "-r", str(lock)])
        (venv / "complete").touch()
    return venv


def _packages(directory: Path) -> Path:
    source = HERE / "node"
    folder = directory / f"clients-node-{_digest(source / 'package-lock.json')}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in (*source.glob("*.mjs"), *source.glob("package*.json"), source / ".npmrc"):
        shutil.copy(file, folder)
    if not (folder / "complete").exists():
        npm = shutil.which("npm")
        if npm is None:
            raise NotMade("there is no npm here: install Node.js 20 or newer, or name the clients to run with --client")
        _run([npm, "ci", "--silent", "--ignore-scripts"], folder)
        (folder / "complete").touch()
    return folder


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        raise NotMade("there is no node here: install Node.js 20 or newer, or name the clients to run with --client")
    return node


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:12]


def _run(arguments: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise NotMade(f"{' '.join(arguments)}:\n{done.stdout}")
