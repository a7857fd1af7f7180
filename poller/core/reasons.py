"""Why runs fail: what each reason code of the service means, whose it is, what to do, and whether a retry may go well.

Data, and the look-ups over it. `REASONS` has the codes that HealthOmics gives as `failureReason` of runs and tasks;
`CAUSES` has what can be read off a task's own words where its code says no more than that a task failed. Each entry
names its sources. The list of the service grows: a code that is not here is told to be unknown to this version.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

Owner = Literal["user_input", "workflow", "iam", "quota", "service", "unknown"]
"""Who can mend it: who gives the inputs and starts the run, who writes the workflow and its images, who gives
permissions, who asks for quotas, AWS."""
OWNERS: Final[tuple[Owner, ...]] = get_args(Owner)

ERRORS_PAGE: Final = "https://docs.aws.amazon.com/omics/latest/dev/workflows-run-errors.html"
GROUPS_PAGE: Final = "https://docs.aws.amazon.com/omics/latest/dev/creating-run-groups.html"
STORAGE_PAGE: Final = "https://docs.aws.amazon.com/omics/latest/dev/workflows-run-types.html"
TASKS_PAGE: Final = "https://docs.aws.amazon.com/omics/latest/dev/workflow-run-tasks.html"
DEBUG_PAGE: Final = "https://docs.aws.amazon.com/omics/latest/dev/workflows-run-debug.html"
EXECVE_PAGE: Final = "https://man7.org/linux/man-pages/man2/execve.2.html"
EXIT_STATUS_PAGE: Final = "https://www.gnu.org/software/bash/manual/html_node/Exit-Status.html"
ERRNO_PAGE: Final = "https://man7.org/linux/man-pages/man3/errno.3.html"
SIGNAL_PAGE: Final = "https://man7.org/linux/man-pages/man7/signal.7.html"
ACCESS_PAGE: Final = "https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html"
S3_ERRORS_PAGE: Final = "https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"


@dataclass(frozen=True, slots=True)
class Reason:
    """One row: a sentence for each of what it means and what to do.

    `owner` is who most likely can mend it, `other_owners` who else it may be. `retry_safe` says whether the same run,
    started again unchanged, may go well: None where the code alone does not tell.
    """

    code: str
    meaning: str
    owner: Owner
    action: str
    retry_safe: bool | None
    sources: tuple[str, ...]
    other_owners: tuple[Owner, ...] = ()


@dataclass(frozen=True, slots=True)
class Cause:
    """What words of a task mean: `words` is looked for in them, whatever their case. The rest is as in `Reason`."""

    words: re.Pattern[str]
    meaning: str
    owner: Owner
    action: str
    retry_safe: bool | None
    sources: tuple[str, ...]
    other_owners: tuple[Owner, ...] = ()


_ROWS: Final = (
    Reason(
        "ASSUME_ROLE_FAILED",
        "HealthOmics may not assume the role that the run was started with.",
        "iam",
        "Let omics.amazonaws.com assume the role, in the role's trust policy; then start the run again.",
        False,
        (ERRORS_PAGE,),
    ),
    Reason(
        "CANNOT_START_CONTAINER_ERROR",
        "The container of a task could not be started from its image.",
        "workflow",
        "See that the image of the task exists, is not damaged, and is built for linux/amd64.",
        False,
        (ERRORS_PAGE,),
    ),
    Reason(
        "CANNOT_START_CONTAINER_SIZE_ERROR",
        "The image of a task is too large: over 45 GiB, or 95 GiB for a task with a GPU.",
        "workflow",
        "Make the image smaller, or divide the task.",
        False,
        (ERRORS_PAGE,),
    ),
    Reason(
        "ECR_PERMISSION_ERROR",
        "HealthOmics may not read the image: its repository in Amazon ECR is not there, or not open to the service.",
        "iam",
        "See that the repository exists, and let omics.amazonaws.com read it in the repository's policy.",
        False,
        (ERRORS_PAGE,),
        ("workflow",),
    ),
    Reason(
        "EXPORT_FAILED",
        "The outputs could not be written: the bucket is not there, or the run's role may not write into it.",
        "iam",
        "Let the run's role write to the output location (s3:PutObject), and see that the bucket exists.",
        False,
        (ERRORS_PAGE,),
        ("user_input",),
    ),
    Reason(
        "FILE_SYSTEM_OUT_OF_SPACE",
        "The storage of the run was full.",
        "user_input",
        "Start the run with more storageCapacity, or with DYNAMIC storage, which grows by itself.",
        False,
        (ERRORS_PAGE, STORAGE_PAGE),
        ("workflow",),
    ),
    Reason(
        "IMAGE_VERIFICATION_FAILURE",
        "The image of a task could not be verified.",
        "workflow",
        "Pull the image and push it to its repository again.",
        False,
        (ERRORS_PAGE,),
    ),
    Reason(
        "IMPORT_FAILED",
        "An input could not be read: it is not there, or the run's role may not read it.",
        "user_input",
        "See that each input exists, and that the run's role may read it (s3:GetObject, and its key if encrypted).",
        False,
        (ERRORS_PAGE,),
        ("iam",),
    ),
    Reason(
        "INACTIVE_OMICS_STORAGE_RESOURCE",
        "A read set among the inputs is archived.",
        "user_input",
        "Activate the read set, wait until it is ACTIVE, and start the run again.",
        False,
        (ERRORS_PAGE,),
    ),
    Reason(
        "INPUT_URI_NOT_FOUND",
        "An input is not where the run's parameters say.",
        "user_input",
        "Correct the address in the parameters, or put the file there; the role must be able to see it, too.",
        False,
        (ERRORS_PAGE,),
        ("iam",),
    ),
    Reason(
        "INSTANCE_RESERVATION_FAILED",
        "There was no machine to be had of the size that a task asks for.",
        "service",
        "Start the run again later; if it stays so, ask for another instance type, or another region.",
        True,
        (ERRORS_PAGE,),
    ),
    Reason(
        "INVALID_ECR_IMAGE_URI",
        "The address of an image has the wrong form.",
        "workflow",
        "Write the image as account.dkr.ecr.region.amazonaws.com/repository:tag.",
        False,
        (ERRORS_PAGE,),
        ("user_input",),
    ),
    Reason(
        "INVALID_TASK_RESOURCE_VALUE",
        "A task asks for less than one CPU, GPU or GiB of memory, or for more than any machine has.",
        "workflow",
        "Correct what the task asks for in the workflow's definition.",
        False,
        (ERRORS_PAGE, TASKS_PAGE),
        ("user_input",),
    ),
    Reason(
        "INVALID_URI_INPUT",
        "An address among the inputs has the wrong form.",
        "user_input",
        "Correct the address in the run's parameters.",
        False,
        (ERRORS_PAGE,),
        ("workflow",),
    ),
    Reason(
        "MODIFIED_INPUT_RESOURCE",
        "An input was changed while the run was reading it.",
        "user_input",
        "Start the run again, and let nothing change its inputs meanwhile.",
        True,
        (ERRORS_PAGE,),
    ),
    Reason(
        "OUT_OF_MEMORY_ERROR",
        "A task needed more memory than it had asked for.",
        "workflow",
        "Raise the memory of the task in the workflow's definition.",
        False,
        (ERRORS_PAGE,),
        ("user_input",),
    ),
    Reason(
        "RUN_TASK_FAILED",
        "A task failed, and the code does not say why.",
        "unknown",
        "Read the message and the log of the task.",
        None,
        (ERRORS_PAGE, DEBUG_PAGE),
    ),
    Reason(
        "RUN_TIMED_OUT",
        "The run took longer than it may: than its run group allows, or than the account's longest duration.",
        "quota",
        "If the run is not stuck, raise maxDuration of its run group, or the quota of the account.",
        False,
        (ERRORS_PAGE, GROUPS_PAGE),
        ("workflow",),
    ),
    Reason(
        "SERVICE_ERROR",
        "HealthOmics had a passing fault.",
        "service",
        "Start the run again.",
        True,
        (ERRORS_PAGE,),
    ),
    Reason(
        "TASK_TIMED_OUT",
        "A task took longer than its definition allows.",
        "workflow",
        "If the task is not stuck, raise its time limit in the workflow's definition.",
        False,
        (ERRORS_PAGE,),
        ("user_input",),
    ),
    Reason(
        "UNSUPPORTED_GPU_INSTANCE_TYPE",
        "A task asks for a kind of GPU that this region does not have.",
        "workflow",
        "Ask for a kind that the region has (the run's message names them), or run it in another region.",
        False,
        (ERRORS_PAGE,),
    ),
    Reason(
        "UNSUPPORTED_INPUT_SIZE",
        "The inputs are too large in sum.",
        "user_input",
        "Give the run less, or divide it into several.",
        False,
        (ERRORS_PAGE,),
    ),
    Reason(
        "WORKFLOW_RUN_FAILED",
        "The workflow engine gave up, and the code does not say why.",
        "unknown",
        "Read the log of the engine: it names the line of the workflow, or the task.",
        None,
        (ERRORS_PAGE, DEBUG_PAGE),
    ),
    Reason(
        "WORKFLOW_VER_VALIDATION_FAILED",
        "The workflow asks for a version of Nextflow that HealthOmics does not have.",
        "workflow",
        "Ask for a version that it has: the run's message names the latest one.",
        False,
        (ERRORS_PAGE,),
    ),
)

REASONS: Final[Mapping[str, Reason]] = {row.code: row for row in _ROWS}
"""By the service's code."""

GENERIC: Final = frozenset({"RUN_TASK_FAILED", "WORKFLOW_RUN_FAILED"})
"""Codes that only say that something failed: what it was, the task or the log has to say."""


def _exit_code(number: int) -> str:
    return rf"\bexit(?:ed)?(?:\s+with)?\s*(?:code|status)?\s*[:=(]?\s*{number}\b"


CAUSES: Final = (
    Cause(
        re.compile(r"exec format error", re.IGNORECASE),
        "The image holds programs for another kind of processor, or a script whose first line names no interpreter.",
        "workflow",
        "Build the image for linux/amd64 and push it again.",
        False,
        (EXECVE_PAGE,),
    ),
    Cause(
        re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE),
        "The storage of the run was full.",
        "user_input",
        "Start the run with more storageCapacity, or with DYNAMIC storage, which grows by itself.",
        False,
        (ERRNO_PAGE, STORAGE_PAGE),
        ("workflow",),
    ),
    Cause(
        re.compile(r"out of memory|cannot allocate memory|OutOfMemoryError|\bOOM\b|oom-?kill", re.IGNORECASE),
        "A task needed more memory than it had asked for.",
        "workflow",
        "Raise the memory of the task in the workflow's definition.",
        False,
        (ERRNO_PAGE, ERRORS_PAGE),
        ("user_input",),
    ),
    Cause(
        re.compile(_exit_code(137), re.IGNORECASE),
        "The task was killed (exit code 137), most often since it needed more memory than it had asked for.",
        "workflow",
        "Look at the memory that the task used, and raise what it asks for.",
        False,
        (EXIT_STATUS_PAGE, SIGNAL_PAGE),
        ("user_input",),
    ),
    Cause(
        re.compile(r"access ?denied|not authorized to perform|\b403\b.{0,20}forbidden", re.IGNORECASE),
        "Something that the task asked AWS for is not permitted to the run's role.",
        "iam",
        "Give the run's role the permission that the message names.",
        False,
        (ACCESS_PAGE,),
    ),
    Cause(
        re.compile(r"\bNoSuchKey\b|\bNoSuchBucket\b|specified (?:key|bucket) does not exist", re.IGNORECASE),
        "A file that the task reads from Amazon S3 is not there.",
        "user_input",
        "Correct the address, or put the file there.",
        False,
        (S3_ERRORS_PAGE,),
        ("workflow",),
    ),
    Cause(
        re.compile(rf"command not found|executable file not found|{_exit_code(127)}", re.IGNORECASE),
        "A program that the task calls is not in its image.",
        "workflow",
        "Put the program into the image, or correct its name or path in the task.",
        False,
        (EXIT_STATUS_PAGE,),
    ),
    Cause(
        re.compile(rf"segmentation fault|{_exit_code(139)}", re.IGNORECASE),
        "A program of the task crashed.",
        "workflow",
        "Try another version of the program; if one input alone does it, look at that input.",
        None,
        (EXIT_STATUS_PAGE, SIGNAL_PAGE),
        ("user_input",),
    ),
    Cause(
        re.compile(rf"permission denied|{_exit_code(126)}", re.IGNORECASE),
        "The task may not run a program, or not write a file, within its container.",
        "workflow",
        "See that the program is executable; write into the task's working directory, not over its inputs.",
        False,
        (EXIT_STATUS_PAGE, ERRNO_PAGE, TASKS_PAGE),
    ),
    Cause(
        re.compile(r"no such file or directory", re.IGNORECASE),
        "A file that the task expects is not there.",
        "workflow",
        "See that the task is given the file as an input, and that an earlier step really made it.",
        False,
        (ERRNO_PAGE, TASKS_PAGE),
        ("user_input",),
    ),
)
"""The first whose words are found counts: the more specific ones come first."""


def reason_of(code: str) -> Reason:
    """What a code means; of one that is not in the table that this version does not know it."""
    known = REASONS.get(code)
    if known is not None:
        return known
    return Reason(
        code,
        "Unknown to this version: the service has added it since.",
        "unknown",
        f"Read the run's message, and look the code up in {ERRORS_PAGE}",
        None,
        (ERRORS_PAGE,),
    )


def cause_of(message: str) -> Cause | None:
    """What a task's own words tell of the cause; None if nothing that is known stands in them."""
    return next((cause for cause in CAUSES if cause.words.search(message)), None)
