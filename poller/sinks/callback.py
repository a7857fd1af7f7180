"""An async callable of the user's program: it is called with each event, and has it once it returns.

The library wraps what `Poller(sinks=[…])` is given; a configuration names one by `target = "package.module:function"`.
"""

import inspect
import re
from collections.abc import Sequence
from functools import partial, reduce
from importlib import import_module
from typing import Any, Final

from pydantic import Field

from poller.core.errors import ConfigError
from poller.core.events import Event
from poller.core.values import SinkSettings
from poller.ports.sinks import Callback, Toolbox

TARGET: Final = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"


class CallbackSettings(SinkSettings, hide_input_in_errors=True):
    """`type = "callback"`."""

    target: str = Field(
        pattern=TARGET,
        examples=["our_package.events:tell"],
        description='The callable, "package.module:function"; it is called with each event.',
    )


class CallbackSink:
    """Calls with each event and awaits what comes back; what it raises means what it means of any sink: try again.

    A plain callable is called in the event loop, and must not block it.
    """

    settings_model = CallbackSettings

    def __init__(self, settings: CallbackSettings, tools: Toolbox) -> None:
        """Raises: ConfigError if the target cannot be imported, or cannot be called."""
        self.settings = settings
        self.callback = _imported(settings.target)

    @classmethod
    def wrapping(cls, callback: Callback, *, name: str | None = None, **options: Any) -> "CallbackSink":
        """The sink for a callable at hand; `options` are keys of the settings, such as `events`.

        `name` is the sink's identity in the record; without it the name is made of the callable's own.
        Raises: ConfigError if it cannot be called.
        """
        called = callback.func if isinstance(callback, partial) else callback
        module = getattr(called, "__module__", None) or "callback"
        function = getattr(called, "__qualname__", None) or type(called).__qualname__
        if not callable(callback):
            raise ConfigError(f"a sink is an async callable that takes an event; {function} cannot be called")
        sink = cls.__new__(cls)
        sink.callback = callback
        sink.settings = CallbackSettings(
            name=name or _as_name(function),
            type="callback",
            target=f"{_identifier(module)}:{_identifier(function)}",
            **options,
        )
        return sink

    async def send(self, events: Sequence[Event]) -> None:
        """Call with each event, one after the other. Raises: what the callable raises."""
        for event in events:
            outcome = self.callback(event)
            if inspect.isawaitable(outcome):
                await outcome


def _imported(target: str) -> Callback:
    module_name, _, path = target.partition(":")
    try:
        module = import_module(module_name)
    except Exception as error:  # whatever a module of the user's raises while it is imported
        raise ConfigError(
            f'target "{target}": {module_name} cannot be imported ({type(error).__name__}: {error}); '
            "install it beside healthomics-poller, or name its directory in PYTHONPATH"
        ) from error
    try:
        found: Any = reduce(getattr, path.split("."), module)
    except AttributeError as error:
        raise ConfigError(f'target "{target}": {error}') from error
    if not callable(found):
        raise ConfigError(f'target "{target}": it cannot be called, it is a {type(found).__name__}')
    callback: Callback = found
    return callback


def _as_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text.replace("<locals>.", "")).strip("-_.")[:60] or "callback"


def _identifier(text: str) -> str:
    return re.sub(r"[^\w.]", "_", text, flags=re.ASCII)
