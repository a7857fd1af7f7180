"""The run manifest: what HealthOmics leaves in CloudWatch Logs of a run that ended, read without trusting its form.

Stream `manifest/run/<id>/<uuid>` of the group `/aws/omics/WorkflowLog`: one JSON object for each log event, the run
first, then its tasks; which is which, the ARN says. Its form is shown by examples only (user guide,
"getinfo-about-runs"), so whatever is missing, new, cut off or of another type is passed over, and what is left counts.
Members get the names that GetRun has for them. Pure.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from poller.core.events import stamp
from poller.core.runs import Json, Snapshot
from poller.core.statuses import ENDS
from poller.healthomics.moments import TIMES_OF_A_RUN, moment_of
from poller.healthomics.parse import json_of, members_kept

GROUP: Final = "/aws/omics/WorkflowLog"
_OF_RUN: Final = re.compile(r":run/(?P<id>\d{1,18})$")
_NAMED_BY_ARN: Final = {"workflow": "workflowId", "runGroup": "runGroupId", "batch": "batchId", "runCache": "cacheId"}
"""Members that a manifest gives as an ARN, and GetRun as the id at its end."""
_NOT_KEPT: Final = frozenset({"parameterTemplate", "main", *_NAMED_BY_ARN})
"""Of the workflow and not of the run; or kept under GetRun's name."""
_TEXTS: Final = frozenset(
    {
        "arn", "uuid", "name", "status", "failureReason", "statusMessage", "outputUri", "runOutputUri", "workflowId",
        "workflowName", "workflowVersionName", "runGroupId", "batchId", "cacheId",
    }
)  # fmt: skip
"""Members that events repeat: what is no text there is left out."""


def stream_prefix(run_id: str) -> str:
    """What the streams of all incarnations of a run id begin with; the uuid follows."""
    return f"manifest/run/{run_id}/"


def stream_of(run_id: str, uuid: str) -> str:
    """The stream of one incarnation's manifest."""
    return stream_prefix(run_id) + uuid


def run_of(
    lines: Iterable[str],
    run_id: str,
    stream: str,
    *,
    asked_at: datetime,
    answered_at: datetime,
    include: tuple[str, ...] = (),
) -> Snapshot | None:
    """What a manifest says of its run: its line of that run that shows an end, else the last one; None without any.

    The stream's name gives the uuid where the line has none; a line with another uuid is another incarnation's. The
    snapshot is a partial one: what only GetRun shows (tags, for one) is not in it.
    """
    uuid = stream.removeprefix(stream_prefix(run_id)) or None
    found: Snapshot | None = None
    for line in lines:
        if found is not None and found.status in ENDS:
            break
        fields = _fields_of(line, run_id, uuid, include)
        if fields is None:
            continue
        times = {name: _moment(fields.get(name)) for name in TIMES_OF_A_RUN}
        known_times = {name: stamp(moment) for name, moment in times.items() if moment is not None}
        found = Snapshot(
            run_id=run_id,
            status=fields["status"],
            full=False,
            asked_at=asked_at,
            answered_at=answered_at,
            uuid=fields.get("uuid"),
            creation_time=times["creationTime"],
            start_time=times["startTime"],
            stop_time=times["stopTime"],
            fields={name: value for name, value in fields.items() if name not in TIMES_OF_A_RUN} | known_times,
        )
    return found


def newest_first(streams: Iterable[Mapping[str, Any]], run_id: str, created: datetime | None) -> list[str]:
    """The names of a run id's manifest streams, as DescribeLogStreams gives them, the one written last first.

    `created` leaves out the streams that were last written before that moment: an earlier incarnation's.
    """
    prefix = stream_prefix(run_id)
    dated: list[tuple[float, str]] = []
    for stream in streams:
        name = stream.get("logStreamName")
        if not isinstance(name, str) or not name.startswith(prefix) or name == prefix:
            continue
        times = [stream.get(key) for key in ("creationTime", "lastEventTimestamp", "lastIngestionTime")]
        written = max((time / 1000 for time in times if isinstance(time, int | float)), default=0.0)
        if created is None or not written or written >= created.timestamp():
            dated.append((written, name))
    return [name for _, name in sorted(dated, reverse=True)]


def _fields_of(line: str, run_id: str, uuid: str | None, include: tuple[str, ...]) -> dict[str, Json] | None:
    """A line's members by GetRun's names, without what privacy leaves out; None if it is not of this incarnation."""
    try:
        members = json_of(line)
    except ValueError:
        return None
    if not isinstance(members, dict):
        return None
    arn = members.get("arn")
    match = _OF_RUN.search(arn) if isinstance(arn, str) else None
    if match is None or match["id"] != run_id:
        return None
    fields = {name: value for name, value in members_kept(members, include).items() if name not in _NOT_KEPT}
    for name, ours in _NAMED_BY_ARN.items():
        named = members.get(name)
        if isinstance(named, str) and named:
            fields.setdefault(ours, named.rpartition("/")[2])
    for name in _TEXTS & fields.keys():
        if not isinstance(fields[name], str):
            del fields[name]
    tags = fields.get("tags")
    if tags is not None and not (isinstance(tags, dict) and all(isinstance(value, str) for value in tags.values())):
        del fields["tags"]
    if not fields.get("status"):
        return None
    fields["status"] = fields["status"].upper()
    if uuid is not None and fields.setdefault("uuid", uuid) != uuid:
        return None
    return fields


def _moment(value: Json) -> datetime | None:
    """A time of the manifest, None if it is none: one that cannot be read must not hide how the run ended."""
    with suppress(ValueError):
        return None if value is None else moment_of(value)
    return None
