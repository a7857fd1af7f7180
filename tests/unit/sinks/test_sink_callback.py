"""Callables as sinks."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from poller.core.errors import ConfigError, Rejected
from poller.core.events import Event
from poller.core.samples import sample_event
from poller.sinks.callback import CallbackSettings, CallbackSink
from poller.sinks.toolbox import Tools

EVENT = sample_event()


async def test_async_and_plain_callables_are_called_with_the_event() -> None:
    got: list[Any] = []

    async def tell(event: Event) -> None:
        got.append(("async", event))

    async def tell_whom(whom: str, event: Event) -> None:
        got.append((whom, event))

    class Teller:
        async def __call__(self, event: Event) -> None:
            got.append(("object", event))

    for callback in (tell, partial(tell_whom, "partial"), Teller(), lambda event: got.append(("plain", event))):
        await CallbackSink.wrapping(callback).send([EVENT])
    assert got == [(word, EVENT) for word in ("async", "partial", "object", "plain")]


async def test_what_the_callable_raises_passes() -> None:
    for error in (ValueError("mine"), Rejected("never")):

        async def tell(event: Event, error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            await CallbackSink.wrapping(tell).send([EVENT])
        assert caught.value is error


def test_the_name_of_a_sink_is_made_of_the_callables() -> None:
    async def tell(event: Event) -> None: ...

    sink = CallbackSink.wrapping(tell, events=("failed",))
    assert sink.settings.name == "test_the_name_of_a_sink_is_made_of_the_callables.tell"
    assert sink.settings.events == ("failed",)
    assert CallbackSink.wrapping(tell, name="mine").settings.name == "mine"
    assert CallbackSink.wrapping(lambda event: None).settings.name.endswith("lambda")


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigError, match="str cannot be called"):
        CallbackSink.wrapping("tell")  # type: ignore[arg-type]


async def test_a_target_is_imported(tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hooks_of_mine.py").write_text(
        "GOT = []\nasync def tell(event): GOT.append(event)\nclass Bot:\n    tell = staticmethod(tell)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for target in ("hooks_of_mine:tell", "hooks_of_mine:Bot.tell"):
        await CallbackSink(CallbackSettings(name="a", type="callback", target=target), tools).send([EVENT])
    assert sys.modules["hooks_of_mine"].GOT == [EVENT, EVENT]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("no_such_module:tell", "no_such_module cannot be imported .ModuleNotFoundError.*PYTHONPATH"),
        ("broken_hooks:tell", "broken_hooks cannot be imported .ZeroDivisionError"),
        ("json:no_such", "module 'json' has no attribute 'no_such'"),
        ("json:__doc__", "it cannot be called, it is a str"),
    ],
)
async def test_targets_that_are_refused(
    target: str, says: str, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_hooks.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match=says) as caught:
        CallbackSink(CallbackSettings(name="a", type="callback", target=target), tools)
    assert target in str(caught.value)


@pytest.mark.parametrize("target", ["tell", "module.tell", "mod ule:tell", ":tell", "module:", "-m:os"])
def test_what_is_no_target(target: str) -> None:
    with pytest.raises(ValueError, match="String should match pattern"):
        CallbackSettings(name="a", type="callback", target=target)
