"""Which sockets the processes of a group have, read from /proc: all of them must be on loopback, at both ends."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import struct
from pathlib import Path

PROC = Path("/proc")
LISTEN = "0A"
UNSPECIFIED = ("0.0.0.0", "::")


def known() -> bool:
    """Whether this system can tell (Linux)."""
    return (PROC / "net/tcp").exists()


def members(group: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for entry in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, ProcessLookupError, ValueError):
            # pid (command) state parent group ...; the command may hold anything, even a parenthesis.
            state, _, pgrp = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state not in ("Z", "X"):
                found.append(int(entry.name))
    return found


def outside(group: int) -> list[str]:
    """Every TCP or UDP socket of the group with an end that is not on loopback, as text."""
    inodes = set().union(*(_inodes(pid) for pid in members(group)))
    return sorted(text for name in ("tcp", "tcp6", "udp", "udp6") for text in _foreign(PROC / "net" / name, inodes))


def listening(group: int) -> list[str]:
    """Where the group listens for TCP connections."""
    inodes = set().union(*(_inodes(pid) for pid in members(group)))
    return sorted(
        f"{host}:{port}"
        for name in ("tcp", "tcp6")
        for (host, port), _, state in _sockets(PROC / "net" / name, inodes)
        if state == LISTEN
    )


def _inodes(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                match = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
                if match:
                    found.add(match[1])
    return found


def _sockets(table: Path, inodes: set[str]) -> list[tuple[tuple[str, int], tuple[str, int], str]]:
    if not table.exists():
        return []
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    return [(_address(row[1]), _address(row[2]), row[3]) for row in rows if row[9] in inodes]


def _foreign(table: Path, inodes: set[str]) -> list[str]:
    found = []
    for local, remote, state in _sockets(table, inodes):
        unconnected = remote[0] in UNSPECIFIED
        if not _loopback(local[0]) or not (unconnected or _loopback(remote[0])):
            kind = "listens on" if state == LISTEN else "uses"
            found.append(f"{table.name} {kind} {local[0]}:{local[1]} (peer {remote[0]}:{remote[1]})")
    return found


def _loopback(host: str) -> bool:
    address = ipaddress.ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _address(text: str) -> tuple[str, int]:
    """`0100007F:1F90` as host and port: words of four bytes in the machine's own order."""
    host, port = text.split(":")
    raw = b"".join(struct.pack("=I", int(host[i : i + 8], 16)) for i in range(0, len(host), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw), int(port, 16)
