"""What `check --probe` says of an answer that does not come: whose time it was that was up."""

from pathlib import Path

import anyio
import pytest

from poller.app.cli.commands import check as module
from poller.app.cli.commands.check import _tried, _unmade
from poller.settings.load import load_settings


async def test_its_own_limit_is_named_by_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.01)
    found = await _tried("sink lims", anyio.sleep_forever, said="webhook")
    assert (found.verdict, found.detail) == ("failed", "webhook: no answer within 0.01 s")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError("the far end took 3 s to connect"), "the far end took 3 s to connect"),
        (TimeoutError(), "timed out"),
    ],
)
async def test_a_limit_of_the_sink_is_not_told_as_its_own(error: TimeoutError, said: str) -> None:
    async def gives_up() -> str | None:
        raise error

    assert (await _tried("sink lims", gives_up, said="webhook")).detail == f"webhook: {said}"


async def test_a_sink_that_cannot_be_made_is_warned_of_by_name(tmp_path: Path) -> None:
    table = '[[sinks]]\nname = "{}"\ntype = "callback"\ntarget = "{}"\n'
    config = tmp_path / "config.toml"
    config.write_text(table.format("good", "json:dumps") + table.format("bad", "json:nothing"))
    (found,) = await _unmade(load_settings(config))
    assert (found.what, found.verdict) == ("sink bad", "warning")
    assert "has no attribute 'nothing'" in found.detail
    assert found.detail.endswith("`run` would not start here")
