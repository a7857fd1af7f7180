"""The table of reasons: whole, sourced, and honest about what it does not know."""

import pytest

from poller.core.reasons import CAUSES, GENERIC, OWNERS, REASONS, Cause, Reason, cause_of, reason_of

DOCUMENTED = {
    "ASSUME_ROLE_FAILED", "CANNOT_START_CONTAINER_ERROR", "CANNOT_START_CONTAINER_SIZE_ERROR", "ECR_PERMISSION_ERROR",
    "EXPORT_FAILED", "FILE_SYSTEM_OUT_OF_SPACE", "IMAGE_VERIFICATION_FAILURE", "IMPORT_FAILED",
    "INACTIVE_OMICS_STORAGE_RESOURCE", "INPUT_URI_NOT_FOUND", "INSTANCE_RESERVATION_FAILED", "INVALID_ECR_IMAGE_URI",
    "INVALID_TASK_RESOURCE_VALUE", "INVALID_URI_INPUT", "MODIFIED_INPUT_RESOURCE", "OUT_OF_MEMORY_ERROR",
    "RUN_TASK_FAILED", "RUN_TIMED_OUT", "SERVICE_ERROR", "TASK_TIMED_OUT", "UNSUPPORTED_GPU_INSTANCE_TYPE",
    "UNSUPPORTED_INPUT_SIZE", "WORKFLOW_RUN_FAILED", "WORKFLOW_VER_VALIDATION_FAILED",
}  # fmt: skip
"""The codes of the user guide's page "workflows-run-errors", read in 2026."""


def test_every_documented_code_is_there_and_no_other() -> None:
    assert set(REASONS) == DOCUMENTED
    assert all(code == reason.code for code, reason in REASONS.items())


@pytest.mark.parametrize("row", [*REASONS.values(), *CAUSES], ids=lambda row: getattr(row, "code", None) or "cause")
def test_every_row_has_all_its_columns(row: Reason | Cause) -> None:
    for sentence in (row.meaning, row.action):
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert len(sentence) < 160
    assert row.owner in OWNERS
    assert row.retry_safe in (True, False, None)
    assert row.owner not in row.other_owners
    assert set(row.other_owners) <= set(OWNERS) - {"unknown"}
    assert row.sources
    assert all(source.startswith("https://") for source in row.sources)


def test_only_the_generic_codes_have_no_owner_and_leave_it_open_whether_to_retry() -> None:
    assert {code for code, reason in REASONS.items() if reason.owner == "unknown"} == GENERIC
    assert {code for code, reason in REASONS.items() if reason.retry_safe is None} == GENERIC


def test_what_may_go_well_unchanged_is_what_the_service_calls_passing() -> None:
    assert {code for code, reason in REASONS.items() if reason.retry_safe} == {
        "INSTANCE_RESERVATION_FAILED", "MODIFIED_INPUT_RESOURCE", "SERVICE_ERROR",
    }  # fmt: skip


def test_a_code_that_is_not_in_the_table_is_said_to_be_unknown_to_this_version() -> None:
    reason = reason_of("QUANTUM_FLUX_ERROR")
    assert (reason.code, reason.owner, reason.retry_safe) == ("QUANTUM_FLUX_ERROR", "unknown", None)
    assert "Unknown to this version" in reason.meaning
    assert reason.sources


@pytest.mark.parametrize(
    ("message", "owner", "part"),
    [
        ("exec /bin/bash: exec format error", "workflow", "another kind of processor"),
        ("standard_init_linux.go:228: exec user process caused: Exec format error", "workflow", "another kind"),
        ("Task failed with exit code 137", "workflow", "exit code 137"),
        ("container exited with status: 137", "workflow", "exit code 137"),
        ("java.lang.OutOfMemoryError: Java heap space", "workflow", "more memory"),
        ("write error: No space left on device", "user_input", "storage"),
        ("bash: samtools: command not found", "workflow", "not in its image"),
        ("Essential container exited (exit code 127)", "workflow", "not in its image"),
        ("Segmentation fault (core dumped)", "workflow", "crashed"),
        (
            "An error occurred (AccessDenied) when calling the GetObject operation: Access Denied",
            "iam",
            "not permitted",
        ),
        ("User: arn:aws:sts::1:assumed-role/x is not authorized to perform: s3:GetObject", "iam", "not permitted"),
        ("fatal error: An error occurred (NoSuchKey)", "user_input", "not there"),
        ("/usr/bin/run.sh: Permission denied", "workflow", "may not"),
        ("cat: reads.fq: No such file or directory", "workflow", "not there"),
    ],
)
def test_the_words_of_a_task_tell_the_cause(message: str, owner: str, part: str) -> None:
    cause = cause_of(message)
    assert cause is not None
    assert cause.owner == owner
    assert part in cause.meaning


@pytest.mark.parametrize(
    "message",
    ["", "The task failed.", "processed 137 samples", "exit code 1370", "read group 126 of 139", "exited with code 1"],
)
def test_words_that_tell_nothing_are_not_interpreted(message: str) -> None:
    assert cause_of(message) is None
