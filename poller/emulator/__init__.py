"""An emulator of AWS HealthOmics over real HTTP, for tests and demonstrations. It imports nothing else of this package.

`server.py` holds the HTTP, `service.py` the operations, `world.py` the runs, `lives.py` what becomes of them,
`faults.py` what goes wrong, `wire.py` how it is written. How to use it: docs/emulator.md.
"""

from poller.emulator.errors import Refused
from poller.emulator.faults import Fault
from poller.emulator.lives import GONE, Life, Step
from poller.emulator.quota import SERVICE_QUOTAS
from poller.emulator.runs import RunSpec
from poller.emulator.scenario import Scenario, ScenarioError, demo_scenario, random_scenario
from poller.emulator.server import Call, Emulator
from poller.emulator.world import Transition

__all__ = [
    "GONE",
    "SERVICE_QUOTAS",
    "Call",
    "Emulator",
    "Fault",
    "Life",
    "Refused",
    "RunSpec",
    "Scenario",
    "ScenarioError",
    "Step",
    "Transition",
    "demo_scenario",
    "random_scenario",
]
