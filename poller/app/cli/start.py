"""Where the command begins: signals first, since the imports of everything else take a tenth of a second.

`run` promises exit code 0 for a stop. Until the daemon hears signals itself nothing runs that would have to be drained.
"""

import signal
import sys
from types import FrameType


def main() -> int:
    """The command `omics-poller`; its exit code."""
    if sys.argv[1:2] == ["run"]:
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, _stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from poller.app.cli.main import main as run_command_line

    return run_command_line()


def _stop(_: int, __: FrameType | None) -> None:
    raise SystemExit(0)
