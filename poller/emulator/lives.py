"""What becomes of a run: a life is a script of statuses, each with the seconds spent in it.

Pure: chance comes in as a `random.Random`. A script may hold anything, also what the service would never do (a status
that no model knows, an end after an end), since that is what clients have to survive. Usual durations:
docs/emulator.md.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

ENDS: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
STATUSES: Final = frozenset({"PENDING", "STARTING", "RUNNING", "STOPPING", "DELETED"}) | ENDS
# Not a status of the service: from this step on no operation finds the run any more (evicted, or deleted for good).
GONE: Final = "GONE"
RANDOM: Final = "random"  # in place of a life's name: drawn by chance


# The codes of the User Guide page workflows-run-errors that random lives draw from, with a sentence in its style.
FAILURES: Final[tuple[tuple[str, str], ...]] = (
    ("RUN_TASK_FAILED", ""),  # the sentence names the failed task, which is known only later
    ("OUT_OF_MEMORY_ERROR", "The task ran out of memory. Increase the memory of the task and run it again."),
    ("IMPORT_FAILED", "Unable to import s3://emulated-inputs/sample.fastq.gz: the file is missing or not readable."),
    (
        "EXPORT_FAILED",
        "Unable to export the outputs of the run: check the output bucket and the permissions of the role.",
    ),
    ("SERVICE_ERROR", "The service had a transient fault. Run the workflow again."),
    ("WORKFLOW_RUN_FAILED", "Workflow run failed. Review the CloudWatch Logs engine log stream."),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One status of a life.

    `seconds`: how long it lasts, before the emulator's speed is applied; without meaning in the last step.
    `fields`: members of the GetRun answer from this step on, also such as no model knows; None leaves a member out.
    """

    status: str
    seconds: float = 0.0
    fields: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.status:
            raise ValueError("a step needs a status")
        if not 0 <= self.seconds < 1e10:
            raise ValueError(f"a step cannot last {self.seconds} seconds")


@dataclass(frozen=True, slots=True)
class Life:
    """The steps of a run, in order. The first is what StartRun leaves behind, normally PENDING."""

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("a life needs at least one step")
        if self.steps[0].status == GONE:
            raise ValueError("a life cannot begin with GONE")

    @classmethod
    def of(cls, *steps: Step | str | tuple[str, float]) -> Life:
        """A life from steps, bare statuses or (status, seconds): `Life.of(("PENDING", 2), ("RUNNING", 30),
        "COMPLETED")`.
        """
        return cls(steps_of(*steps))

    @classmethod
    def completed(
        cls,
        pending: float = 2,
        starting: float = 5,
        running: float = 20,
        stopping: float = 3,
        *,
        then: Sequence[Step] = (),
    ) -> Life:
        """The usual life with a good end; `then` is appended, such as `[Step(GONE)]`."""
        return cls((*_usual(pending, starting, running, stopping), Step("COMPLETED", 5), *then))

    @classmethod
    def failed(
        cls,
        reason: str = "RUN_TASK_FAILED",
        message: str | None = None,
        *,
        pending: float = 2,
        starting: float = 5,
        running: float = 20,
        stopping: float | None = 3,
        then: Sequence[Step] = (),
    ) -> Life:
        """A life that fails with `reason`; `stopping=None` skips STOPPING. Without `message` the emulator words it."""
        fields: dict[str, object] = {"failureReason": reason}
        if message is not None:
            fields["statusMessage"] = message
        return cls((*_usual(pending, starting, running, stopping), Step("FAILED", 5, fields), *then))

    @classmethod
    def vanished(cls, pending: float = 2, starting: float = 5, running: float = 20) -> Life:
        """A life whose metadata is evicted while the run is RUNNING: the API never shows its end."""
        return cls((*_usual(pending, starting, running, None), Step(GONE)))

    @classmethod
    def random(cls, rng: random.Random) -> Life:
        """A life as the service shows them: minutes to hours; eight in ten complete, one in twenty is cancelled."""
        pending = rng.uniform(1, 30) if rng.random() < 0.8 else rng.uniform(30, 1800)
        starting = rng.uniform(120, 720)
        running = min(rng.lognormvariate(7.4, 0.9), 6 * 3600)  # median 27 minutes
        stopping = rng.uniform(30, 310)
        draw = rng.random()
        if draw < 0.80:
            return cls.completed(pending, starting, running, stopping)
        if draw < 0.95:
            reason, message = rng.choice(FAILURES)
            return cls.failed(
                reason, message or None, pending=pending, starting=starting, running=running, stopping=stopping
            )
        if draw < 0.97:
            return cls.of(("PENDING", pending), "CANCELLED")
        return cls.of(
            ("PENDING", pending),
            ("STARTING", starting),
            ("RUNNING", running * rng.random()),
            ("STOPPING", stopping),
            "CANCELLED",
        )


def steps_of(*steps: Step | str | tuple[str, float]) -> tuple[Step, ...]:
    """Steps from steps, bare statuses or (status, seconds)."""
    return tuple(
        step if isinstance(step, Step) else Step(step) if isinstance(step, str) else Step(*step) for step in steps
    )


def _usual(pending: float, starting: float, running: float, stopping: float | None) -> tuple[Step, ...]:
    """The way to an end; a status that lasts no time is left out of it, PENDING excepted."""
    way = (Step("STARTING", starting), Step("RUNNING", running), Step("STOPPING", stopping or 0))
    return (Step("PENDING", pending), *(step for step in way if step.seconds > 0))
