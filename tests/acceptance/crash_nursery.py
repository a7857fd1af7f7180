"""A process that has imported the daemon and forks it for each start: what kills are about begins after the imports.

Reads one order after the other from stdin, a line of JSON: the directory, the environment, the log. Answers with two
lines: the daemon's process id, and once it has ended its exit code. Forked before anything runs, it shares nothing.
"""

import json
import os
import sys
from typing import Any, NoReturn

# all that a daemon with a webhook imports by the time that it looks for the first time
import poller.app.cli.commands.run
import poller.app.daemon
import poller.aws
import poller.healthomics.service
import poller.settings.checks
import poller.sinks.registry
import poller.sinks.toolbox
import poller.sinks.webhook
import poller.store.store  # noqa: F401
from poller.app.cli.start import main
from tests.acceptance import crash_patches


def become_the_daemon(order: dict[str, Any]) -> NoReturn:
    os.chdir(order["directory"])
    os.environ.clear()
    os.environ.update(order["environment"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for end, stream in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(end, stream)
    sys.argv = ["omics-poller", "run", "-c", "config.toml"]
    crash_patches.prepare()
    sys.exit(main())


def fork_as_ordered() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become_the_daemon(order)
        print(pid, flush=True)  # noqa: T201 - the answer
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    fork_as_ordered()
