"""The command `omics-poller`: `main.py` parses and runs; a file per command, each from options to an exit code."""
