"""A file per command: a coroutine from options to an exit code."""
