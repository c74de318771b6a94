"""One cold start, run by cold_start.py: `python -I cold_room.py ARTIFACT ROOM`, the first event on standard input.

Writes a JSON object on standard error: `ready` (handler imported, service built) and `answered` (first event handled),
both on the system's monotonic clock, and `kb` (memory that is then resident).
"""

import importlib
import sys
import time
from pathlib import Path

sys.path.insert(0, sys.argv[1])
room = importlib.import_module(f"{sys.argv[2]}.handler")
room.service()
ready = time.monotonic()

import json  # noqa: E402 - the room has loaded it already

event = json.load(sys.stdin)
received = time.monotonic()
answer = room.handler(event, None)
answered = time.monotonic() - (received - ready)
if answer and (answer.get("statusCode", 200) != 200 or answer.get("batchItemFailures")):
    sys.exit(f"no healthy answer: {answer}")
status = Path("/proc/self/status").read_text()
memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
sys.stderr.write(json.dumps({"ready": ready, "answered": answered, "kb": memory}) + "\n")
