"""Whose life an answer shows: that of the incarnation that we know, an older one's or a newer one's.

Pure. A uuid decides where both sides have one; a list item has none, so that its creationTime must do.
"""

from dataclasses import replace
from enum import Enum, auto

from poller.core.runs import KnownRun, Snapshot, Verdict, created_together


class Relation(Enum):
    """Whether an answer speaks of the incarnation that we know."""

    SAME = auto()
    OLDER = auto()
    NEWER = auto()
    UNSURE = auto()
    """A list item with a newer creationTime, or one that cannot be compared: only a GetRun can tell."""


def relate(known: KnownRun, snapshot: Snapshot) -> Relation:
    """Tell whose life an answer shows. The uuid decides where both sides have one, else the creationTime."""
    if known.uuid and known.uuid == snapshot.uuid:
        return Relation.SAME
    created = snapshot.created
    if created is not None and known.creation_time is not None and created != known.creation_time:
        if created < known.creation_time:
            return Relation.OLDER
        return Relation.NEWER if snapshot.full else Relation.UNSURE
    if snapshot.full:
        return Relation.NEWER if known.uuid and snapshot.uuid else Relation.SAME
    comparable = created is not None and (known.creation_time is not None or not known.looked)
    return Relation.SAME if comparable or known.verdict is Verdict.ENDED else Relation.UNSURE


def is_of(known: KnownRun, shown: Snapshot) -> bool:
    """Whether a manifest is of the incarnation that we know: by uuid, else creationTime; any where both are unknown."""
    if known.uuid is not None:
        return shown.uuid == known.uuid
    return known.creation_time is None or created_together(known.creation_time, shown.creation_time)


def identified(known: KnownRun, seen: Snapshot) -> KnownRun:
    """Take over the identity that an answer brings, and where the run belongs; what is known already stands."""
    uuid, created = known.uuid or seen.uuid, known.creation_time
    if created is None:
        created = seen.created
    workflow_id = known.workflow_id or _text(seen, "workflowId")
    version = known.workflow_version or _text(seen, "workflowVersionName")
    group_id = known.run_group_id or _text(seen, "runGroupId")
    if (
        uuid == known.uuid
        and created is known.creation_time
        and (workflow_id, version, group_id) == (known.workflow_id, known.workflow_version, known.run_group_id)
    ):
        return known
    return replace(
        known,
        uuid=uuid,
        creation_time=created,
        workflow_id=workflow_id,
        workflow_version=version,
        run_group_id=group_id,
    )


def _text(seen: Snapshot, name: str) -> str | None:
    value = seen.fields.get(name)
    return value if isinstance(value, str) and value else None
