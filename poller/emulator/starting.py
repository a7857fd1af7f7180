"""What StartRun and StartRunBatch may be asked, after the constraints of their shapes, and the run that this makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from poller.emulator import wire
from poller.emulator.errors import Refused, not_valid
from poller.emulator.lives import Life
from poller.emulator.requests import DIGITS, object_in
from poller.emulator.runs import USUAL_WORKFLOW, RunSpec

LIFE_TAG: Final = "emulator:life"  # a run started with this tag lives the scenario's life of that name
SUBMISSION_TAG: Final = (
    "emulator:submission"  # the submission of a run with this tag fails for the reason that it names
)

Check = Callable[[object], bool]


def _is(kind: type, check: Callable[[Any], bool] = lambda _: True) -> Check:
    return lambda value: isinstance(value, kind) and not (kind is int and isinstance(value, bool)) and check(value)


def _one_of(*values: str) -> Check:
    return lambda value: value in values


def _up_to(longest: int) -> Check:
    return _is(str, lambda text: 1 <= len(text) <= longest)


_ID: Final = _is(str, lambda text: DIGITS.fullmatch(text) is not None)
_ARN: Final = _is(str, lambda text: text.startswith("arn:") and 5 <= len(text) <= 128)
_ACCOUNT: Final = _is(str, lambda text: re.fullmatch(r"[0-9]{12}", text) is not None)
_ANY: Final = _is(dict)
_NUMBER: Final = _is(int, lambda number: 0 <= number <= 100_000)
_TAGS: Final = _is(dict, lambda tags: len(tags) <= 50 and all(isinstance(value, str) for value in tags.values()))

# Of StartRun and of defaultRunSetting alike.
SHARED: Final[Mapping[str, Check]] = {
    "workflowId": _ID,
    "workflowType": _one_of("PRIVATE", "READY2RUN"),
    "roleArn": _ARN,
    "name": _up_to(128),
    "cacheId": _ID,
    "cacheBehavior": _one_of("CACHE_ON_FAILURE", "CACHE_ALWAYS"),
    "runGroupId": _ID,
    "priority": _NUMBER,
    "parameters": _ANY,
    "storageCapacity": _NUMBER,
    "outputUri": _up_to(750),
    "logLevel": _one_of("OFF", "FATAL", "ERROR", "ALL"),
    "retentionMode": _one_of("RETAIN", "REMOVE"),
    "storageType": _one_of("STATIC", "DYNAMIC"),
    "workflowOwnerId": _ACCOUNT,
    "workflowVersionName": _is(str, lambda text: re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9\-._]{0,63}", text) is not None),
    "networkingMode": _one_of("RESTRICTED", "VPC"),
    "configurationName": _is(str, lambda text: re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9\-._]{0,127}", text) is not None),
    "sessionPolicy": _up_to(2048),
    "engineSettings": _ANY,
    "scratchStorageMode": _one_of("LOCAL", "SHARED"),
}
START_RUN: Final[Mapping[str, Check]] = {**SHARED, "requestId": _up_to(128), "runId": _ID, "tags": _TAGS}
DEFAULT_RUN_SETTING: Final[Mapping[str, Check]] = {**SHARED, "runTags": _TAGS, "outputBucketOwnerId": _ACCOUNT}
INLINE_SETTING: Final[Mapping[str, Check]] = {
    "runSettingId": _up_to(128),
    **{member: DEFAULT_RUN_SETTING[member] for member in ("name", "outputUri", "priority", "parameters")},
    **{member: DEFAULT_RUN_SETTING[member] for member in ("outputBucketOwnerId", "runTags", "engineSettings")},
}
START_BATCH: Final[Mapping[str, Check]] = {
    "batchName": _up_to(64),
    "requestId": _up_to(128),
    "tags": _TAGS,
    "defaultRunSetting": _ANY,
    "batchRunSettings": _ANY,
}
MOST_INLINE: Final = 100
# What the run keeps of its request beside the members that RunSpec names itself.
KEPT: Final = frozenset({*wire.ECHOED, "storageCapacity", "configurationName"})


def run_asked(body: bytes) -> dict[str, Any]:
    """The StartRun request. Raises: Refused (ValidationException)."""
    return _checked(object_in(body), START_RUN, ("roleArn", "outputUri", "requestId"))


def batch_asked(body: bytes) -> tuple[dict[str, Any], Sequence[Mapping[str, Any]]]:
    """The StartRunBatch request, and the settings of its runs. Raises: Refused (ValidationException)."""
    asked = _checked(object_in(body), START_BATCH, ("requestId", "defaultRunSetting", "batchRunSettings"))
    default = _checked(asked["defaultRunSetting"], DEFAULT_RUN_SETTING, ("workflowId", "roleArn"), "defaultRunSetting.")
    if default.get("workflowType") == "READY2RUN":
        raise Refused("ValidationException", "Batch runs are not supported with READY2RUN workflows")
    given = [member for member, value in asked["batchRunSettings"].items() if value is not None]
    if len(given) != 1 or given[0] not in {"inlineSettings", "s3UriSettings"}:
        raise Refused("ValidationException", "Specify exactly one of inlineSettings or s3UriSettings")
    settings = asked["batchRunSettings"][given[0]]
    if given == ["s3UriSettings"]:
        raise Refused("ValidationException", f"Unable to read s3UriSettings {settings}: the emulator has no S3")
    place = "batchRunSettings.inlineSettings"
    if not isinstance(settings, list) or not 1 <= len(settings) <= MOST_INLINE:
        length = len(settings) if isinstance(settings, list) else settings
        raise not_valid(place, length, f"Member must have length between 1 and {MOST_INLINE}")
    seen = set()
    for number, setting in enumerate(settings, 1):
        member = f"{place}.{number}.member"
        if not isinstance(setting, dict):
            raise not_valid(member, setting, "Member must be an object")
        _checked(setting, INLINE_SETTING, ("runSettingId",), f"{member}.")
        if setting["runSettingId"] in seen:
            raise Refused("ValidationException", f"The runSettingId {setting['runSettingId']} is not unique")
        seen.add(setting["runSettingId"])
    return asked, settings


def usual_setting(account_id: str) -> dict[str, Any]:
    """A defaultRunSetting for those to whom it does not matter."""
    return {"workflowId": USUAL_WORKFLOW, **wire.usual_request(account_id)}


def spec_of(asked: Mapping[str, Any], life: Life) -> RunSpec:
    """The run that a StartRun request asks for."""
    return RunSpec(
        life=life,
        name=asked.get("name"),
        tags=asked.get("tags") or {},
        run_group_id=asked.get("runGroupId"),
        workflow_id=asked["workflowId"],
        workflow_version_name=asked.get("workflowVersionName"),
        retention_mode=asked.get("retentionMode", "RETAIN"),
        request=kept(asked),
    )


def spec_in_batch(
    default: Mapping[str, Any],
    request: Mapping[str, Any],
    setting: Mapping[str, Any],
    batch_id: str,
    life_of: Callable[[Mapping[str, str]], Life],
) -> RunSpec:
    """One run of a batch: parameters and tags are joined, of all else the run's own counts.

    `request`: what the runs keep of the default setting, made once, since they are many and most add nothing to it.
    `life_of`: the life of a run with these tags. Raises: Refused where the submission fails.
    """
    tags = default.get("runTags") or {}
    if setting.get("runTags"):
        tags = {**tags, **setting["runTags"]}
    own = kept(setting)
    if own:
        if "parameters" in own and "parameters" in request:
            own["parameters"] = {**request["parameters"], **own["parameters"]}
        request = {**request, **own}
    if SUBMISSION_TAG in tags:
        raise Refused(tags[SUBMISSION_TAG], f"The submission failed, as its tag {SUBMISSION_TAG} says")
    if "outputUri" not in request:
        raise not_valid("outputUri", None, "Member must not be null")
    return RunSpec(
        life=life_of(tags),
        name=setting.get("name") or default.get("name"),
        tags=tags,
        run_group_id=default.get("runGroupId"),
        batch_id=batch_id,
        workflow_id=default["workflowId"],
        workflow_version_name=default.get("workflowVersionName"),
        retention_mode=default.get("retentionMode") or "RETAIN",
        request=request,
    )


def kept(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a run keeps of its request."""
    return {name: value for name, value in asked.items() if name in KEPT and value is not None}


def request_of(spec: RunSpec) -> dict[str, Any]:
    """The request that would start the same run again."""
    named = {
        "name": spec.name,
        "tags": dict(spec.tags),
        "runGroupId": spec.run_group_id,
        "workflowId": spec.workflow_id,
        "workflowVersionName": spec.workflow_version_name,
        "retentionMode": spec.retention_mode,
    }
    return {**spec.request, **{member: value for member, value in named.items() if value is not None}}


def _checked(
    asked: dict[str, Any], members: Mapping[str, Check], required: Sequence[str], place: str = ""
) -> dict[str, Any]:
    for member in required:
        if asked.get(member) is None:
            raise not_valid(f"{place}{member}", None, "Member must not be null")
    for member, holds in members.items():
        if asked.get(member) is not None and not holds(asked[member]):
            raise not_valid(f"{place}{member}", asked[member], f"Member must satisfy the constraints of {member}")
    return asked
