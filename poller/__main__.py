"""`python -m poller` is `omics-poller`."""

import sys

from poller.app.cli.start import main

if __name__ == "__main__":
    sys.exit(main())
