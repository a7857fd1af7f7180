"""`python -m benchmarks [--only lag|knowing|delivery|backlog|memory|looks|scale] [--quick]`: measure and print."""

import argparse
import os
import platform
import time
from collections.abc import Callable
from typing import Final

from benchmarks import backlog, delivery, knowing, lag, memory, scale

PARTS: Final[dict[str, Callable[..., None]]] = {
    "lag": lag.report,
    "knowing": knowing.report,
    "delivery": delivery.report,
    "backlog": backlog.report,
    "memory": memory.report_memory,
    "looks": memory.report_looks,
    "scale": scale.report,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the poller.")
    parser.add_argument("--only", choices=[*PARTS], help="one part alone")
    parser.add_argument("--quick", action="store_true", help="smaller and less sure, in well under a minute")
    options = parser.parse_args()
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load average {load} at the start")
    begun = time.monotonic()
    for name, report in PARTS.items():
        if options.only in (None, name):
            report(quick=options.quick)
    print(f"\nTook {time.monotonic() - begun:.0f} s.")


if __name__ == "__main__":
    main()
