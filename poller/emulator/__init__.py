"""An emulator of AWS HealthOmics over real HTTP, for tests and demonstrations. It imports nothing else of this package.

`server.py` holds the HTTP, `account.py` what a test in the same process does, `service.py` and `batch_operations.py`
the operations, `world.py` the runs, `batches.py` the batches, `lives.py` what becomes of runs, `faults.py` what goes
wrong, `wire.py` how it is written. How to use it: docs/emulator.md.
"""

from poller.emulator.batch_specs import BatchSpec
from poller.emulator.batches import BatchTransition
from poller.emulator.calls import Call
from poller.emulator.errors import Refused
from poller.emulator.faults import Fault, Outage
from poller.emulator.groups import RunGroup
from poller.emulator.lives import GONE, Life, Step
from poller.emulator.quota import SERVICE_QUOTAS, ForeignCalls
from poller.emulator.runs import FailedTask, RunSpec
from poller.emulator.samples import random_batch
from poller.emulator.scenario import Scenario, demo_scenario, random_scenario
from poller.emulator.server import Emulator
from poller.emulator.tables import ScenarioError
from poller.emulator.world import Transition

__all__ = [
    "GONE",
    "SERVICE_QUOTAS",
    "BatchSpec",
    "BatchTransition",
    "Call",
    "Emulator",
    "FailedTask",
    "Fault",
    "ForeignCalls",
    "Life",
    "Outage",
    "Refused",
    "RunGroup",
    "RunSpec",
    "Scenario",
    "ScenarioError",
    "Step",
    "Transition",
    "demo_scenario",
    "random_batch",
    "random_scenario",
]
