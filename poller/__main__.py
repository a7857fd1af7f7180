"""`python -m poller` is `omics-poller`."""

import sys

from poller.app.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
