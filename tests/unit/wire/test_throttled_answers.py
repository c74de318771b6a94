"""A rate limit that no other target could make good reaches the caller's SDK as one."""

import pytest

from understudy.errors import NoTargetAnswered, Overloaded, RateLimited
from understudy.wire.fronts.errors import error_answer


@pytest.mark.parametrize(
    ("last", "status", "kind"),
    [
        (Overloaded("busy", status=429), 429, "rate_limit_error"),
        (RateLimited("busy", status=429, retry_after=3.0), 429, "rate_limit_error"),
        (Overloaded("busy", status=503), 503, "server_error"),
        (None, 503, "server_error"),
    ],
)
def test_a_rate_limit_reaches_the_caller_as_one(last, status, kind):
    """A provider's 429 is a 429 to the caller, also where it did not say for how long."""
    answer = error_answer(NoTargetAnswered("chat", (), last))
    assert (status, kind) == (answer[0], answer[1]["error"]["type"])
