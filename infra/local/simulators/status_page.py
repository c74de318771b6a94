"""The simulated provider's own status page: it follows the faults that a real one would tell of.

Source: the public API of Atlassian Statuspage, `/api/v2/summary.json`.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from infra.local.simulators.replies import Reply, json_reply

PATH = "/api/v2/summary.json"
WELL = ("none", "All Systems Operational")
TOLD = {"brownout": ("minor", "[simulated] Elevated Error Rates")} | dict.fromkeys(
    ("http_500", "http_503", "http_529", "hang", "reset"), ("major", "[simulated] Partial System Outage")
)
"""What the page says of a fault; of all others it says nothing: they concern one account, or nobody there knows."""


def page(faults: Collection[str], changed_at: float) -> Reply:
    """The page while these faults are in force; `changed_at` in epoch seconds."""
    # Of the two words the worse one comes first.
    indicator, description = min((TOLD[fault] for fault in faults if fault in TOLD), default=WELL)
    changed = datetime.fromtimestamp(changed_at, UTC).isoformat()
    body: dict[str, Any] = {
        "page": {"id": "simulated", "name": "Simulated", "updated_at": changed},
        "status": {"indicator": indicator, "description": description},
        "components": [],
        "incidents": [],
        "scheduled_maintenances": [],
    }
    return json_reply(200, body)
