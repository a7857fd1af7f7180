"""Whose data `forget` does not erase yet, since an answer would bring it back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from poller.app.cli.commands.forget import _refuse_if_followed
from poller.core.errors import ConfigError
from poller.core.runs import KnownRun, Verdict
from poller.core.vanishing import LATE_FOR
from poller.ports.records import RunRow


def row(verdict: Verdict, ago: timedelta) -> RunRow:
    return RunRow("us-east-1", KnownRun("1", verdict=verdict), {}, datetime.now(UTC) - ago)


async def test_a_run_whose_manifest_may_still_come_is_refused() -> None:
    record: Any = None  # what the watches say does not matter here
    with pytest.raises(ConfigError, match="its manifest may still come: try again after"):
        await _refuse_if_followed(record, row(Verdict.VANISHED, LATE_FOR / 2))
    await _refuse_if_followed(record, row(Verdict.VANISHED, LATE_FOR * 1.1))
    await _refuse_if_followed(record, row(Verdict.ENDED, timedelta(0)))
