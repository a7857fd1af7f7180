"""How fast, how small and how cheap the poller is, against what one would write without it: `python -m benchmarks`."""
