"""What the sinks of AWS share: how events are put into requests, and what each failure of a request means."""

from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from poller.core.errors import Partial, Rejected, Retry
from poller.core.events import Event
from poller.core.samples import sample_event
from poller.sinks.aws_sinks import (
    AwsSinkSettings,
    Entry,
    Failures,
    Limits,
    client_of,
    failure_of,
    is_mendable,
    look,
    send_entries,
)
from poller.sinks.toolbox import Tools
from tests.unit.sinks.aws_rig import refused

LIMITS = Limits("the service", entry=1000, request=300)
NEVER = frozenset({"TooLong"})


async def send(sizes: Sequence[int], service: "Service") -> None:
    """Send an event for each size in bytes; one below 0 cannot be put into its format."""

    def entry_of(event: Event) -> Entry:
        size = sizes[int(event.run_id or "") - 1]
        if size < 0:
            raise Rejected("template: it fails")
        return Entry(event, {}, size)

    events = [sample_event(run_id=str(place)) for place in range(1, len(sizes) + 1)]
    await send_entries(events, entry_of, LIMITS, NEVER, service)


class Service:
    """Takes what it is asked to, but for the runs that it refuses: alone, or by refusing the whole request."""

    def __init__(self, refuses: dict[str, Any] | None = None) -> None:
        self.refuses = refuses or {}
        self.requests: list[list[str]] = []

    async def __call__(self, request: Sequence[Entry]) -> Failures:
        names = [str(entry.event.run_id) for entry in request]
        self.requests.append(names)
        failures = {}
        for name, entry in zip(names, request, strict=True):
            failure = self.refuses.get(name)
            if isinstance(failure, Retry | Rejected):
                failures[entry.event.id] = failure
            elif failure is not None:
                raise failure
        return failures


async def failures(sizes: Sequence[int], service: Service) -> dict[str, Retry | Rejected]:
    with pytest.raises(Partial) as caught:
        await send(sizes, service)
    runs = {sample_event(run_id=str(place)).id: str(place) for place in range(1, len(sizes) + 1)}
    return {runs[event_id]: failure for event_id, failure in caught.value.failures.items()}


@pytest.mark.parametrize(
    ("sizes", "requests"),
    [
        ([100, 100, 100], [3]),
        ([100, 100, 101], [2, 1]),
        ([10] * 21, [10, 10, 1]),
        ([300, 1], [1, 1]),
        ([50, 900, 50], [1, 1, 1]),
        ([1000], [1]),
        ([], []),
    ],
)
async def test_as_few_requests_as_the_limits_allow_in_order(sizes: list[int], requests: list[int]) -> None:
    service = Service()
    await send(sizes, service)
    assert [len(request) for request in service.requests] == requests
    assert [name for request in service.requests for name in request] == [str(n + 1) for n in range(len(sizes))]


async def test_what_is_too_large_is_rejected_with_figures_and_takes_nothing_with_it() -> None:
    service = Service()
    wrong = await failures([10, 1001, 10], service)
    assert service.requests == [["1", "3"]]
    assert isinstance(wrong.pop("2"), Rejected)
    assert not wrong
    with pytest.raises(Rejected, match="the message has 2,500 bytes, 1,500 more than the 1,000 that the service takes"):
        await send([2500], service)


async def test_what_cannot_be_put_into_its_format_is_rejected_and_takes_nothing_with_it() -> None:
    service = Service()
    wrong = await failures([10, -1, 10], service)
    assert service.requests == [["1", "3"]]
    assert wrong.keys() == {"2"}
    assert isinstance(wrong["2"], Rejected)
    with pytest.raises(Rejected, match="template: it fails"):
        await send([-1], service)


async def test_of_a_batch_only_what_failed_is_named() -> None:
    wrong = await failures([1, 1, 1], Service({"1": Retry("later"), "3": Rejected("never")}))
    assert {name: type(failure) for name, failure in wrong.items()} == {"1": Retry, "3": Rejected}


async def test_a_single_event_fails_with_its_own_failure() -> None:
    for failure in (Retry("later"), Rejected("never")):
        with pytest.raises(type(failure)) as caught:
            await send([1], Service({"1": failure}))
        assert caught.value is failure


async def test_a_request_that_fails_whole_is_tried_again_whole_and_those_beside_it_are_not() -> None:
    service = Service({"2": EndpointConnectionError(endpoint_url="http://127.0.0.1:1")})
    wrong = await failures([150, 150, 150], service)
    assert service.requests == [["1", "2"], ["3"]]
    assert wrong.keys() == {"1", "2"}
    assert all(isinstance(failure, Retry) for failure in wrong.values())
    assert str(wrong["1"]).startswith("EndpointConnectionError: Could not connect")


async def test_a_request_that_is_refused_for_good_is_made_again_entry_by_entry() -> None:
    """One poison entry has the whole batch refused; the others are not dead for it."""
    service = Service({"2": refused("AWS.Service.TooLongException", "one of them is too long")})
    wrong = await failures([1, 1, 1], service)
    assert service.requests == [["1", "2", "3"], ["1"], ["2"], ["3"]]
    assert wrong.keys() == {"2"}
    assert isinstance(wrong["2"], Rejected)
    assert "one of them is too long" in wrong["2"].reason


@pytest.mark.parametrize("target", ["TopicArn", "QueueUrl", "EventBusName", "'entries.1.member.eventBusName'"])
async def test_a_target_that_is_wrong_is_tried_again(target: str) -> None:
    """Also where AWS calls it a wrong parameter: it is wrong for every event, and a person mends it."""
    with pytest.raises(Retry):
        await send([1], Service({"1": refused("TooLong", f"Invalid: {target}")}))


@pytest.mark.parametrize(
    ("code", "crowded"), [("ThrottlingException", True), ("Throttled", True), ("InternalError", False), ("", False)]
)
async def test_too_much_at_once_is_said_to_the_dispatcher(code: str, crowded: bool) -> None:
    for one in (refused(code), failure_of(code, "no", poison=False)):
        with pytest.raises(Retry) as caught:
            await send([1], Service({"1": one}))
        assert caught.value.crowded is crowded


@pytest.mark.parametrize(
    "code",
    [
        "AccessDenied", "AuthorizationError", "NotAuthorizedForSourceException", "KMS.DisabledException",
        "KmsAccessDenied", "RequestThrottled", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist",
        "NotFound", "ExpiredToken", "InvalidSecurity", "SignatureDoesNotMatch", "ServiceUnavailable",
        "InvalidAccountIdException", "InvalidClientTokenId",
    ],
)  # fmt: skip
def test_what_passes_or_a_person_mends(code: str) -> None:
    assert is_mendable(code)


@pytest.mark.parametrize("code", ["InvalidMessageContents", "InvalidParameterValue", "MalformedDetail", "InvalidInput"])
def test_what_nobody_mends(code: str) -> None:
    assert not is_mendable(code)


async def test_a_look_that_is_denied_is_a_remark_and_any_other_failure_is_one() -> None:
    async def looked(error: ClientError | None) -> None:
        if error is not None:
            raise error

    assert await look("sqs:Look", looked(None)) is None
    for code in ("AccessDenied", "AccessDeniedException", "AuthorizationError"):
        note = await look("sqs:Look", looked(refused(code)))
        assert note is not None
        assert note.startswith("sqs:Look is denied")
    with pytest.raises(ClientError, match="NotFound"):
        await look("sqs:Look", looked(refused("NotFound")))


async def test_a_target_that_names_no_region_says_where_to_set_one(tools: Tools, aws_credentials: None) -> None:
    settings = AwsSinkSettings(name="bus", type="eventbridge")
    with pytest.raises(Retry, match="set region in the sink's table"):
        await client_of(settings, tools, "events")
    await client_of(settings, tools, "events", region="eu-west-1")
