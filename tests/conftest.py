"""Settings of the whole suite."""

import os

from hypothesis import HealthCheck, settings

# A busy machine is no failure; in CI the same examples are tried each time, so that a red run can be repeated.
settings.register_profile(
    "understudy", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("understudy")
