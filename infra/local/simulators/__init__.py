"""Simulated LLM providers that can be broken on purpose.

They speak the providers' real wire formats over real loopback sockets, and say in every answer that they
are simulated (header `x-simulated: true`, text beginning with `[simulated ...]`).
"""

from infra.local.simulators.faults import FAULTS
from infra.local.simulators.provider import SimulatedProvider
from infra.local.simulators.seen import SeenRequest

__all__ = ["FAULTS", "SeenRequest", "SimulatedProvider"]
