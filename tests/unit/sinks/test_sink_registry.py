"""Sinks of other packages: found, loaded when named, and clear about what is wrong with them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from poller.clock import SystemClock
from poller.core.errors import ConfigError
from poller.core.values import SinkSettings
from poller.sinks.registry import load_sink, make_sink, sink_types
from poller.sinks.toolbox import Tools

GOOD = """
from poller.core.values import SinkSettings
class Sink:
    settings_model = SinkSettings
    def __init__(self, settings, tools): ...
    async def send(self, events): ...
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package: a module, and the entry points of it."""

    def install(package: str, code: str, **types: str) -> None:
        directory = tmp_path / package
        metadata = directory / f"{package}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        points = "\n".join(f"{name} = {value}" for name, value in types.items())
        (metadata / "entry_points.txt").write_text(f"[poller.sinks]\n{points}\n")
        (directory / f"{package}.py").write_text(code)
        monkeypatch.syspath_prepend(str(directory))

    return install


def test_our_own_sinks_load_and_say_what_their_tables_hold() -> None:
    ours = {"apprise", "callback", "eventbridge", "exec", "file", "slack", "sns", "sqs", "stdout", "webhook"}
    assert ours <= sink_types().keys()
    for name in ours:
        sink = load_sink(name)
        assert sink.__name__ == name.capitalize() + "Sink"
        assert sink.settings_model.__doc__ == f'`type = "{name}"`.'


def test_a_sink_of_another_package_is_found(install: Install) -> None:
    install("a_pager", GOOD, pager="a_pager:Sink")
    assert "pager" in sink_types()
    assert load_sink("pager").__module__ == "a_pager"


def test_an_unknown_type_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r'no sink type "webhok"; did you mean "webhook"\? \(installed: apprise, '):
        load_sink("webhok")
    with pytest.raises(ConfigError, match=r'no sink type "carrier-pigeon" \(installed: '):
        load_sink("carrier-pigeon")


def test_two_packages_with_one_name_are_both_named(install: Install) -> None:
    install("pager_one", GOOD, pager="pager_one:Sink", only_one="pager_one:Sink")
    install("pager_two", GOOD, pager="pager_two:Sink", webhook="pager_two:Sink")
    with pytest.raises(ConfigError, match="two packages claim") as caught:
        load_sink("pager")
    assert "pager_one (pager_one:Sink)" in str(caught.value)
    assert "pager_two (pager_two:Sink)" in str(caught.value)
    with pytest.raises(ConfigError, match=r"healthomics-poller \(poller\.sinks\.webhook:WebhookSink\)"):
        load_sink("webhook")
    assert load_sink("only_one").__module__ == "pager_one"
    assert load_sink("sns").__name__ == "SnsSink"


@pytest.mark.parametrize(
    ("code", "value", "says"),
    [
        ("import no_such_library", "broken:Sink", "does not load: broken:Sink: ModuleNotFoundError: .*no_such_library"),
        ("1 / 0", "broken:Sink", "does not load: broken:Sink: ZeroDivisionError"),
        ("", "broken:Sink", "does not load: broken:Sink: AttributeError"),
        ("Sink = 1", "broken:Sink", "is no sink: broken:Sink is no class"),
        ("class Sink: ...", "broken:Sink", "has no settings_model that derives from poller.SinkSettings"),
        (GOOD.replace("async def send", "async def deliver"), "broken:Sink", "has no coroutine `send`"),
    ],
)
def test_a_package_that_is_broken(
    code: str, value: str, says: str, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(__import__("sys").modules, "broken", raising=False)
    install("broken", code, broken=value)
    assert "broken" in sink_types(), "it is there"
    with pytest.raises(ConfigError, match=says) as caught:
        load_sink("broken")
    assert str(caught.value).startswith('the sink type "broken" of broken ')
    assert load_sink("stdout").__name__ == "StdoutSink", "and hurts nobody else"


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ('ValueError("no such room")', 'sink "mine" cannot be made: ValueError: no such room'),
        ('ConfigError("room: there is none")', 'sink "mine": room: there is none'),
    ],
)
async def test_what_the_constructor_of_a_sink_raises_is_a_mistake_that_names_the_sink(
    install: Install, tmp_path: Path, raised: str, said: str
) -> None:
    code = f"from poller.core.errors import ConfigError\n{GOOD}".replace("...", f"raise {raised}", 1)
    name = f"odd_{raised.partition('(')[0].lower()}"
    install(name, code, **{name: f"{name}:Sink"})
    tools = Tools(SystemClock(), tmp_path)
    with pytest.raises(ConfigError) as caught:
        make_sink(SinkSettings(name="mine", type=name), tools)
    assert str(caught.value) == said
    await tools.close()
