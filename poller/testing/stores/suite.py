"""All promises of a record together."""

from poller.testing.stores.cancelling import CancellingPromises
from poller.testing.stores.claiming import ClaimPromises
from poller.testing.stores.cohorts import CohortPromises
from poller.testing.stores.diagnoses import DiagnosisPromises
from poller.testing.stores.forgetting import ForgettingPromises
from poller.testing.stores.model import ModelPromises
from poller.testing.stores.operating import OperatingPromises
from poller.testing.stores.reading import ReadingPromises
from poller.testing.stores.rounds import RoundPromises
from poller.testing.stores.routes import RoutePromises
from poller.testing.stores.scopes import ScopePromises
from poller.testing.stores.stays import StayPromises


class StoreConformance(
    RoundPromises,
    StayPromises,
    ReadingPromises,
    ScopePromises,
    ClaimPromises,
    RoutePromises,
    OperatingPromises,
    CohortPromises,
    DiagnosisPromises,
    ForgettingPromises,
    CancellingPromises,
    ModelPromises,
):
    """The promises of a record while it is open."""
