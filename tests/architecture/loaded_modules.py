"""What a room loads, run by test_import_budget.py in an interpreter of its own.

`python -I loaded_modules.py FUNCTIONS ROOM` with a JSON object on standard input: `absent`, the names of packages that
Lambda does not have, and `event`, a first event or null.  Writes a JSON object on standard error: `ready`, the modules
that are loaded once the room is ready, and `answered`, those that the first event brings along.
"""

import importlib
import json
import sys
from collections.abc import Sequence

functions, room_name = sys.argv[1:]
given = json.load(sys.stdin)


class Absent:
    """Finds none of the packages that are installed here and not in Lambda; httpx, say, looks for a dozen."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name.partition(".")[0] in given["absent"]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent)  # type: ignore[arg-type]
sys.path.insert(0, functions)
before = set(sys.modules)
room = importlib.import_module(f"{room_name}.handler")
room.service()
ready = set(sys.modules)
if given["event"] is not None:
    answer = room.handler(given["event"], None)
    if answer["statusCode"] != 200:
        sys.exit(f"no healthy answer: {answer}")
found = {"ready": sorted(ready - before), "answered": sorted(set(sys.modules) - ready)}
sys.stderr.write(json.dumps(found) + "\n")
