"""What the sinks of AWS share: as whom they ask, requests of up to ten entries, and what AWS's errors mean.

A batch API answers for each entry by itself, so one request can go well and badly at once. Which of its entries failed
is `Partial`; that nothing is known of any of them is the failure of all.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, NoRegionError
from pydantic import Field

from poller.core.errors import Partial, Rejected, Retry
from poller.core.events import Event
from poller.core.values import ROLE_ARN
from poller.ports.sinks import Toolbox
from poller.sinks.formats import FormattedSettings

KIB: Final = 1024
MOST_ENTRIES: Final = 10
"""Entries of one request: SNS PublishBatch, SQS SendMessageBatch and EventBridge PutEvents all take ten."""

_MENDABLE: Final = re.compile(
    r"AccessDenied|Authoriz|Security|Credential|Token|Signature|Kms|Throttl|TooMany|Limit|Quota|Unavailable"
    r"|NotFound|NonExistent|DoesNotExist|Disabled|OptIn|Account",
    re.IGNORECASE,
)
"""Words in the codes of errors that pass, or that a person mends, whoever's fault AWS calls them."""
_CROWDED: Final = re.compile(r"Throttl|TooManyRequests|SlowDown|Unavailable", re.IGNORECASE)
_DENIED: Final = re.compile(r"AccessDenied|AuthorizationError", re.IGNORECASE)

Failures = Mapping[str, Retry | Rejected]
"""Event id -> why it was not taken; the others were."""


class AwsSinkSettings(FormattedSettings, hide_input_in_errors=True):
    """What every sink of AWS can be told: where, as whom, and in which form."""

    region: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+$",
        examples=["us-east-1"],
        description="Region to send to; without it the one in the ARN or URL.",
    )
    profile: str | None = Field(None, min_length=1, description="Profile of the AWS configuration to send with.")
    role_arn: str | None = Field(
        None,
        pattern=ROLE_ARN,
        examples=["arn:aws:iam::123456789012:role/publisher"],
        description="Role to assume with those credentials.",
    )
    endpoint_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/@]+(/\S*)?$",
        examples=["http://127.0.0.1:5000"],
        description="Another address of the service: an emulator, a VPC endpoint.",
    )


class Entry(NamedTuple):
    """An event as it stands in a request, and its bytes as the service counts them."""

    event: Event
    request: Mapping[str, Any]
    size: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a service takes, in bytes: one entry, and all entries of a request that has more than one."""

    service: str
    entry: int
    request: int


Ask = Callable[[Sequence[Entry]], Awaitable[Failures]]
"""Makes one request. Raises: botocore's errors if nothing is known of any of its entries."""


async def client_of(settings: AwsSinkSettings, tools: Toolbox, service: str, *, region: str | None = None) -> Any:
    """The client of a sink; `region` is the one that its target names.

    Raises: Retry if there is none; botocore's errors if there is no such profile.
    """
    try:
        return await tools.aws_client(
            service,
            region=settings.region or region,
            profile=settings.profile,
            role_arn=settings.role_arn,
            endpoint_url=settings.endpoint_url,
        )
    except NoRegionError as error:
        raise Retry(
            "no region: the target names none; set region in the sink's table, AWS_DEFAULT_REGION, or the profile's"
        ) from error


async def send_entries(
    events: Sequence[Event], entry_of: Callable[[Event], Entry], limits: Limits, never: frozenset[str], ask: Ask
) -> None:
    """Send in as few requests as the limits allow; a request that is refused whole is made again entry by entry.

    Args: `entry_of` may raise Rejected, which is that event's alone; `never` are codes of whole requests that no retry
    mends, as `bare_code` gives them.
    Raises: Retry or Rejected of a single event, Partial of several.
    """
    failures: dict[str, Retry | Rejected] = {}
    fitting = []
    for event in events:
        try:
            fitting.append(_fitting(entry_of(event), limits))
        except Rejected as problem:
            failures[event.id] = problem
    for request in _requests(fitting, limits):
        failures |= await _sent(request, never, ask)
    if failures and len(events) == 1:
        raise failures[events[0].id]
    if failures:
        raise Partial(failures)


async def look(what: str, asking: Awaitable[object]) -> str | None:
    """For a probe: ask for the target's attributes. Says so where that is denied, since sending may still be allowed.

    Args: `what` is the permission that is tried. Raises: botocore's errors for everything else.
    """
    try:
        await asking
    except ClientError as error:
        if not _DENIED.search(bare_code(error)):
            raise
        return f"{what} is denied, so the target could not be looked at; sending may be allowed all the same"
    return None


def failure_of(code: str, message: str, *, poison: bool) -> Retry | Rejected:
    """What the failure of one entry means; `poison` says that it is about this entry alone."""
    text = f"{code}: {message}".rstrip(": ")
    return Rejected(text) if poison else Retry(text, crowded=bool(_CROWDED.search(code)))


def is_mendable(code: str) -> bool:
    """Whether an error passes, or is mended by a person: access, a missing target, a key, too much at once."""
    return bool(_MENDABLE.search(code))


def bare_code(error: ClientError) -> str:
    """The code of an error without the service's prefix and suffix: InvalidParameter, BatchRequestTooLong."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code.rpartition(".")[2].removesuffix("Exception")


def _fitting(entry: Entry, limits: Limits) -> Entry:
    """The entry. Raises: Rejected if it is larger than the service takes."""
    if entry.size > limits.entry:
        raise Rejected(
            f"the message has {entry.size:,} bytes, {entry.size - limits.entry:,} more than the {limits.entry:,} that "
            f"{limits.service} takes"
        )
    return entry


def _requests(entries: Sequence[Entry], limits: Limits) -> Iterator[list[Entry]]:
    """In order: as many entries as fit; one that is larger than a request of several goes alone."""
    request: list[Entry] = []
    for entry in entries:
        full = len(request) == MOST_ENTRIES or sum(one.size for one in request) + entry.size > limits.request
        if request and full:
            yield request
            request = []
        request.append(entry)
    if request:
        yield request


async def _sent(request: Sequence[Entry], never: frozenset[str], ask: Ask) -> dict[str, Retry | Rejected]:
    """Make a request, and say which of its entries failed, and how."""
    try:
        return dict(await ask(request))
    except ClientError as error:
        failure = _meaning(error, never)
    except BotoCoreError as error:
        failure = Retry(f"{type(error).__name__}: {error}")
    if isinstance(failure, Rejected) and len(request) > 1:
        singly: dict[str, Retry | Rejected] = {}
        for entry in request:
            singly |= await _sent([entry], never, ask)
        return singly
    return {entry.event.id: failure for entry in request}


def _meaning(error: ClientError, never: frozenset[str]) -> Retry | Rejected:
    """A request that was refused whole. A parameter that is wrong for all of them, the target, is a person's."""
    said = str(error.response.get("Error", {}).get("Message", "")).lower()
    about_the_target = any(word in said for word in ("topicarn", "queueurl", "eventbusname", "endpointid"))
    if bare_code(error) in never and not about_the_target:
        return Rejected(str(error))
    return Retry(str(error), crowded=bool(_CROWDED.search(bare_code(error))))
