"""The error tree: each class says what follows from it, not where it arose.

PollerError
├── ConfigError            the user gave something wrong: exit code 2, nothing was done
├── ServiceError           what asking HealthOmics led to
│   ├── Transient          ask again later; also everything that we do not know
│   │   └── Throttled      ... and more slowly
│   ├── RunGone            there is no such run (any more)
│   ├── Denied             this operation, or this one run, is not ours to ask about
│   ├── BadRequest         the question itself is wrong
│   └── Blind              no access to the account at all
├── SinkError              what sending led to; anything else a sink raises means: retry
│   ├── Retry              later, perhaps not before a given time
│   ├── Rejected           never
│   └── Partial            some of a batch
└── StoreError             the record
    ├── StoreUnavailable   cannot be written or read now: stop looks and sends, try again
    └── StoreRefused       will not work without a person: too new, held by another daemon, not a record
"""

from collections.abc import Mapping
from datetime import timedelta


class PollerError(Exception):
    """Everything that this package raises on purpose."""


class ConfigError(PollerError):
    """What the user wrote cannot be used. The message is complete: place, what is wrong, what would be right."""


class ServiceError(PollerError):
    """Asking HealthOmics failed.

    Args:
        code: the service's own name of the error ("ThrottlingException"), or a word of ours ("unreadable").
        message: what the service said; free of secrets.
        operation: the API operation, "GetRun".
    """

    def __init__(self, code: str, message: str = "", *, operation: str = "") -> None:
        super().__init__(f"{operation}: {code}: {message}" if operation else f"{code}: {message}")
        self.code = code
        self.message = message
        self.operation = operation


class Transient(ServiceError):
    """Ask again later. Also everything that we do not know."""


class Throttled(Transient):
    """Ask again later and more slowly: the budget of this operation is cut."""


class RunGone(ServiceError):
    """There is no such run (any more): climb the verdict ladder."""


class Denied(ServiceError):
    """Access to one operation or one run is denied while the account itself may answer."""


class BadRequest(ServiceError):
    """The service calls the question wrong: of GetRun this id is none; of a list with a token the sweep starts over."""


class Blind(ServiceError):
    """No access to the account: pause all of it, try on a slow clock, say so."""


class SinkError(PollerError):
    """What a sink says of a send that did not go well."""


class Retry(SinkError):
    """Try again, not before `after` has passed where it is given.

    `crowded` says that the far end was asked too much at once (429, 503, Retry-After): fewer sends are then under way
    side by side. An `after` says so too.
    """

    def __init__(self, reason: str = "", *, after: timedelta | None = None, crowded: bool = False) -> None:
        super().__init__(reason or "the sink asks to try again")
        self.after = after
        self.crowded = crowded or after is not None


class Rejected(SinkError):
    """The far end will never take this event: to the dead letters at once, with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Partial(SinkError):
    """Of a batch some events failed: event id -> Retry or Rejected. Ids that are not named were acknowledged."""

    def __init__(self, failures: Mapping[str, Retry | Rejected]) -> None:
        super().__init__(f"{len(failures)} of the batch failed")
        self.failures = dict(failures)


class StoreError(PollerError):
    """The record could not do what was asked."""


class StoreUnavailable(StoreError):
    """Locked, full, read-only, gone for the moment: nothing was written; try again with backoff."""


class StoreRefused(StoreError):
    """Waiting will not mend it: newer than this version, held by another daemon, corrupt, or not a record.

    Args: `exit_code` is what a command ends with: 2 where the user must change something, 1 where another one holds it.
    """

    def __init__(self, message: str, *, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code
