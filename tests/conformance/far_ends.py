"""What the rigs of all sinks share."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from poller.sinks.toolbox import Tools
from poller.testing.rigs import Rig

RigMaker = Callable[[type[Any], Path], AbstractAsyncContextManager[Rig]]


def made(kind: type[Any], table: Mapping[str, Any], tools: Tools) -> Any:
    return kind(kind.settings_model.model_validate(dict(table)), tools)
